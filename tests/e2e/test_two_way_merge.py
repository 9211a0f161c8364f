"""``--merge``: what both sides changed in one file, put together by a command."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from tests.e2e.conftest import Command
from tests.e2e.forking import Forked
from tests.session.twoway import files
from tests.sshd import Sshd
from tests.trees import make

GIT = "*.txt=git merge-file -p {a} {base} {b}"
LINES = b"".join(b"%d\n" % n for n in range(10))
ONES = LINES.replace(b"2", b"two")
OTHERS = LINES.replace(b"7", b"seven")
BOTH = ONES.replace(b"7", b"seven")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two directories, one of them empty."""
    one, other = tmp_path / "one", tmp_path / "other"
    make(one, {"f.txt": LINES, "d": {"g.txt": LINES}, "h": LINES})
    make(other, {})
    return one, other


def synchronise(run: Command | Forked, *words: str | Path, merge: str = GIT, code: int = 0) -> str:
    """A run that ends so; what it said."""
    ended = run("--two-way", "--merge", merge, *words)
    assert ended.code == code, (ended.out, ended.err)
    return ended.err


def edit(pair: tuple[Path, Path], name: str = "f.txt") -> None:
    """Both sides change one file."""
    (pair[0] / name).write_bytes(ONES)
    (pair[1] / name).write_bytes(OTHERS)


def assert_nothing_lost(run: Forked, pair: tuple[Path, Path]) -> None:
    """Both versions are somewhere, and on both sides."""
    assert {ONES, OTHERS} <= set(files(pair[0]).values())
    assert files(pair[0]) == files(pair[1])
    assert synchronise(run, *pair) == ""


def test_what_both_sides_changed_is_merged(
    syncron: Command, hosts: Sshd, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    one, other = pair
    third = tmp_path / "third"
    make(third, {})
    words = [str(one), f"target:{other}"]
    assert synchronise(syncron, *words) == ""
    synchronise(syncron, one, third)
    edit(pair)
    edit(pair, "d/g.txt")
    (other / "f.txt").chmod(0o600)
    ended = syncron("--two-way", "--merge", GIT, "--json", *words)
    assert (ended.code, ended.err) == (0, "")
    said = [each for each in ended.messages if each["message_type"] == "conflict"]
    assert [(each["path"], each["what"]) for each in said] == [
        ("d/g.txt", "merged"),
        ("f.txt", "merged"),
    ]
    assert said[0]["first_digest"] != said[0]["second_digest"]
    assert ended.summary["match"] is True
    expected = {"f.txt": BOTH, "d": None, "d/g.txt": BOTH, "h": LINES}
    assert files(one) == files(other) == expected
    assert {stat.S_IMODE((root / "f.txt").stat().st_mode) for root in pair} == {0o600}
    # It is what others get, and what the next versions are merged from.
    assert synchronise(syncron, one, third) == ""
    assert files(third) == expected
    (one / "f.txt").write_bytes(BOTH.replace(b"4", b"four"))
    (third / "f.txt").write_bytes(BOTH.replace(b"9", b"nine"))
    assert "f.txt: changed on both sides, and merged" in synchronise(syncron, one, third)
    expected["f.txt"] = BOTH.replace(b"4", b"four").replace(b"9", b"nine")
    synchronise(syncron, *words)
    assert files(one) == files(other) == files(third) == expected


def test_contents_to_merge_from_are_private_and_few(
    forked: Forked, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (pair[0] / "large.txt").write_bytes(b"l" * ((1 << 20) + 1))
    synchronise(forked, *pair)
    (kept,) = (tmp_path / "syncron").glob("*.bases")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.stat().st_size < 100_000
    assert not any(path.endswith(".bases") for path in files(pair[0]))


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("git merge-file {a} {base} {b}", "the command gave nothing"),
        ("sh -c 'echo x; exit 3' {a} {b}", "ended with status 3"),
        ("true {a} {b} {out}", "wrote no result"),
        ("ln -s {a} {out} {b}", "ended with status 1"),
        ("not-a-command {a} {b}", "cannot be run"),
        ("yes {a} {b}", "made too much"),
    ],
)
def test_what_is_not_clean_is_a_conflict_as_ever(
    forked: Forked, pair: tuple[Path, Path], command: str, why: str
) -> None:
    merge = f"*.txt={command}"
    synchronise(forked, *pair, merge=merge)
    edit(pair)
    assert why in synchronise(forked, "-v", *pair, merge=merge, code=4)
    assert_nothing_lost(forked, pair)


def test_a_result_may_be_written_to_a_file(forked: Forked, pair: tuple[Path, Path]) -> None:
    merge = "/d/*.txt=sh -c 'git merge-file -p $0 $1 $2 > $3' {a} {base} {b} {out}"
    synchronise(forked, *pair, merge=merge)
    edit(pair, "d/g.txt")
    synchronise(forked, *pair, merge=merge)
    assert files(pair[0]) == files(pair[1])
    assert files(pair[0])["d/g.txt"] == BOTH


def test_nothing_is_merged_from_what_not_both_were_made_of(
    forked: Forked, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    one, other = pair
    synchronise(forked, *pair)
    backup = tmp_path / "backup"
    shutil.copytree(one, backup)
    (other / "f.txt").write_bytes(BOTH)
    synchronise(forked, *pair)  # both have it, and what is kept is this
    shutil.rmtree(one)
    backup.rename(one)
    (one / "f.txt").write_bytes(LINES + b"end\n")
    (other / "f.txt").write_bytes(BOTH + b"another end\n")
    said = synchronise(forked, "-v", *pair, code=4)
    assert "not what both versions were made of" in said
    kept = set(files(one).values())
    assert {LINES + b"end\n", BOTH + b"another end\n"} <= kept
    assert files(one) == files(other)


def test_without_a_content_to_merge_from_there_is_no_merging(
    forked: Forked, pair: tuple[Path, Path]
) -> None:
    assert forked("--two-way", *pair).code == 0
    edit(pair)
    assert "nothing is kept" in synchronise(forked, "-v", *pair, code=4)
    assert_nothing_lost(forked, pair)


def test_what_changes_while_it_is_merged_is_not_replaced(
    forked: Forked, pair: tuple[Path, Path]
) -> None:
    synchronise(forked, *pair)
    edit(pair)
    late = pair[0] / "f.txt"
    command = f"sh -c 'echo later >> {late}; git merge-file -p $0 $1 $2' {{a}} {{base}} {{b}}"
    synchronise(forked, *pair, merge=f"*.txt={command}", code=23)
    assert late.read_bytes() == ONES + b"later\n"
    assert (pair[1] / "f.txt").read_bytes() == OTHERS
    synchronise(forked, *pair)
    assert files(pair[0])["f.txt"] == files(pair[1])["f.txt"] == BOTH + b"later\n"


def test_a_dry_run_starts_no_command(forked: Forked, pair: tuple[Path, Path]) -> None:
    synchronise(forked, *pair)
    edit(pair)
    before = files(pair[0]), files(pair[1])
    synchronise(forked, "-n", *pair, merge=f"*.txt=touch {pair[0]}/began {{a}} {{b}}", code=4)
    assert (files(pair[0]), files(pair[1])) == before


def test_a_job_merges(forked: Forked, pair: tuple[Path, Path], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"jobs:\n  both:\n    replicas: [one, other]\n    merge: ['{GIT}']\n")
    assert forked("--config", config, "--job", "both").code == 0
    edit(pair)
    assert forked("--config", config, "--job", "both").code == 0
    assert files(pair[0])["f.txt"] == files(pair[1])["f.txt"] == BOTH


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--two-way", "--merge=*.txt"], "PATTERN=COMMAND"),
        (["--two-way", "--merge=*.txt=cat {a}"], "PATTERN=COMMAND"),
        (["--two-way", "--merge=*.txt=cat '{a} {b}"], "taken apart"),
        ([f"--merge={GIT}"], "--two-way"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    forked: Forked, pair: tuple[Path, Path], words: list[str], said: str
) -> None:
    ended = forked(*words, *pair)
    assert ended.code == 1
    assert said in ended.err
    assert files(pair[1]) == {}


@pytest.mark.parametrize("damage", ["header", "pages", "directory"])
def test_contents_that_are_damaged_cost_a_merge_and_no_more(
    syncron: Command,
    pair: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "kept"))
    for number in range(200):
        (pair[0] / f"{number}.txt").write_bytes(b"%d\n" % number * 50)
    synchronise(syncron, *pair)
    (kept,) = (tmp_path / "kept/syncron").glob("*.bases")
    whole = kept.read_bytes()
    if damage == "header":
        kept.write_bytes(b"x" * 100 + whole[100:])
    elif damage == "pages":
        kept.write_bytes(whole[:4096] + b"\x55" * (len(whole) - 4096))
    else:
        kept.unlink()
        kept.mkdir()
    edit(pair)
    if damage in ("header", "pages"):
        said = synchronise(syncron, "-v", *pair, code=4)
        assert "f.txt is not merged" in said
        assert {ONES, OTHERS} <= set(files(pair[0]).values())
        assert files(pair[0]) == files(pair[1])
        # It is built anew.
        synchronise(syncron, *pair)
        edit(pair, "d/g.txt")
        assert "d/g.txt: changed on both sides, and merged" in synchronise(syncron, *pair)
    else:
        said = synchronise(syncron, *pair, code=5)
        assert "unexpected" not in said and str(kept) in said
        assert (pair[0] / "f.txt").read_bytes() == ONES
