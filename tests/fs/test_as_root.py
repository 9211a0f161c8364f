"""What only root can bring about."""

import errno
import os
import subprocess
import sys

from tests.trees import make


def test_a_loop_by_a_bind_mount_ends(tmp_path):
    """In a mount namespace of its own, which ends with its process."""
    make(tmp_path, {"a": {"b": {}, "f": b"1"}})
    script = (
        'mount --bind "$1/a" "$1/a/b" && exec "$2" -c "'
        "import os, sys; sys.path[:0] = sys.argv[2:];"
        "from tests.fs.roots import paths_of, scanned\n"
        "with scanned(sys.argv[1]) as root:"
        " print(root.tree.nodes[b'a/b'].problem, paths_of(root.tree))"
        '" "$1" "$3"'
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", tmp_path, sys.executable, os.getcwd()],
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{errno.ELOOP} [b'a', b'a/b', b'a/f']\n", done.stderr


_MOUNTED = """
mount -t tmpfs none "$1/dst/m" && mkdir "$1/dst/m/old" && exec "$2" -c "
import os, sys; sys.path[:0] = sys.argv[2:]
from pathlib import Path
from tests.endpoint.driving import *
from tests.trees import assert_same
top = Path(sys.argv[1])
def go():
    ends = local(), local()
    outcome = synchronize(*ends, top / 'src', top / 'dst')
    assert outcome.failures == [], outcome.failures
    assert outcome.roots[0] == outcome.roots[1] != bytes(16)
    assert_same(top / 'src', top / 'dst')
    left = [str(path) for path in (top / 'dst').rglob('.syncron')]
    assert left == [], left
    for end in ends: end.close()
    return outcome
go()
assert go().plan.is_empty
(top / 'src/m/f').write_bytes(b'changed'); (top / 'src/m/big').write_bytes(b'1' * 900000)
(top / 'src/m/old/o').unlink(); (top / 'src/m/old/o').symlink_to('elsewhere')
stale = top / 'dst/m/.syncron'; stale.mkdir(); (stale / 'n0').mkdir(); (stale / 'n0/x').touch()
go()
os.utime(top / 'src/m', ns=(5, 5)); (top / 'src/m/old/new').write_bytes(b'new')
go()
end = local()
(top / 'src/m/late').mkdir()
big = b'x' * 600000
start_writing(end, top / 'dst', [expected(b'm/late.big')])
own = Attributes(0o100644, 1, os.geteuid(), os.getegid())
store_piece(end, Piece(b'm/late.big', own, 600000, 0, False, False, bytes(16), big[:300000]))
end.close()
arrived = start_writing(local(), top / 'dst').arrived
assert [(each.path, each.length) for each in arrived] == [(b'm/late.big', 300000)], arrived
print('done')
" "$1" "$3"
"""


def test_below_a_mount_point_is_published_from_a_staging_of_its_own(tmp_path, home):
    make(
        tmp_path,
        {
            "src": {
                "m": {
                    "f": b"1",
                    "big": b"0" * 800_000,
                    "new": {"g": b"2", "deep": {"h": b"3"}},
                    "old": {"o": b"4"},
                },
                "n": {"x": b"5"},
            },
            "dst": {"m": {}},
        },
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", _MOUNTED, "sh", tmp_path, sys.executable, os.getcwd()],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "done\n", done.stderr
