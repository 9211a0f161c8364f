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
