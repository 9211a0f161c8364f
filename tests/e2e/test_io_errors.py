"""A disk that fails or is full at any one system call: nothing is half published, nothing is
deleted that may be needed, it is said in a sentence, and the next run makes both sides equal."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.deep import DEEP, spread
from tests.e2e.conftest import Ended
from tests.e2e.faults import WORKLOADS, Bench, Point, assert_nothing_deleted
from tests.e2e.forking import DESTINATION, SOURCE, Forked
from tests.trees import assert_same

pytestmark = pytest.mark.timeout(3600 if DEEP else 120)

_READS = ("read", "readv", "pread64", "preadv", "getdents64")
_WRITES = ("write", "pwrite64", "copy_file_range")
_NAMES = (
    *("openat", "mkdirat", "linkat", "renameat", "unlinkat", "symlinkat", "mknodat"),
    *("fchmod", "fchown", "fchownat", "utimensat", "ftruncate", "unlink", "mkdir"),
)
_SYNCS = ("fsync", "fdatasync", "syncfs")


@pytest.fixture(params=WORKLOADS)
def bench(request: pytest.FixtureRequest, forked: Forked, tmp_path: Path) -> Bench:
    """Each workload."""
    return Bench(forked, WORKLOADS[request.param], tmp_path)


# 0: it was about what is remembered, which is told and costs time only; or it was tried again.
# 5: what is remembered cannot be read, and nothing was begun. 11 also: the files are right, and
# what was learned could not be kept. 12: a helper that cannot even begin.
@pytest.mark.parametrize(
    ("who", "calls", "error", "most", "codes"),
    [
        pytest.param(SOURCE, _READS, "EIO", 3, {0, 5, 11, 23}, id="source-read-EIO"),
        pytest.param(SOURCE, ("close",), "EIO", 1, {0, 5, 11, 12, 23}, id="source-close-EIO"),
        pytest.param(DESTINATION, _READS, "EIO", 2, {0, 5, 11, 23}, id="read-EIO"),
        pytest.param(DESTINATION, _WRITES, "EIO", 2, {0, 5, 11, 23}, id="write-EIO"),
        pytest.param(DESTINATION, _WRITES, "ENOSPC", 2, {0, 5, 11}, id="write-ENOSPC"),
        pytest.param(DESTINATION, _NAMES, "EIO", 3, {0, 5, 11, 23}, id="names-EIO"),
        pytest.param(DESTINATION, _NAMES, "ENOSPC", 2, {0, 5, 11, 23}, id="names-ENOSPC"),
        pytest.param(DESTINATION, ("close",), "EIO", 2, {0, 5, 11, 12, 23}, id="close-EIO"),
        pytest.param(DESTINATION, _SYNCS, "EIO", 2, {0, 11, 23}, id="sync-EIO"),
    ],
)
def test_a_call_fails(
    bench: Bench, who: int, calls: tuple[str, ...], error: str, most: int, codes: set[int]
) -> None:
    found = bench.points(who, calls, "--fsync")
    chosen = spread(found, most)
    ends = Counter[int]()
    for point in chosen:
        bench.reset()
        strace = ("-o", "/dev/null", *point.inject(f"error={error}"))
        ended = bench.run("--json", "--fsync", *bench.words(), who=who, strace=strace)
        assert ended.code in codes, (point, ended)
        assert_told(ended)
        if ended.code == 0:
            assert_same(bench.destination, bench.new, owner=True)
        if ended.code == 5 or (ended.code == 23 and who == SOURCE):
            assert_nothing_deleted(bench.destination, bench.before, bench.after)
        bench.assert_survived(point)
        ends[ended.code] += 1
    print(f"{bench.workload.name}: {len(chosen)} of {len(found)} calls failed; {dict(ends)}")


def assert_told(ended: Ended) -> None:
    """What went wrong is said, each in one line that says what and where."""
    for line in ended.err.splitlines():
        assert line.startswith("syncron: "), ended
        assert line.endswith("."), ended
        assert "internal error" not in line, ended
        assert "Something unexpected" not in line, ended
    if ended.code:
        summary = json.loads(ended.out.splitlines()[-1])
        assert summary["exit_code"] == ended.code
        assert ended.err or summary["errors"] or summary["warnings"], ended


def test_directories_cannot_be_listed(forked: Forked, tmp_path: Path) -> None:
    """Also that in which an interrupted run has left something."""
    bench = Bench(forked, WORKLOADS["changed files"], tmp_path)
    ends = Counter[int]()
    for number in range(1, 40):
        bench.reset()
        (bench.destination / ".syncron").mkdir()
        strace = ("-o", "/dev/null", *Point("getdents64", number).inject("error=EIO"))
        ended = bench.run("--json", *bench.words(), who=DESTINATION, strace=strace)
        assert_told(ended)
        bench.assert_survived(number)
        ends[ended.code] += 1
    assert ends[11] and ends[23], ends


def test_what_is_left_is_removed_though_there_is_nothing_to_do(
    forked: Forked, tmp_path: Path
) -> None:
    bench = Bench(forked, WORKLOADS["changed files"], tmp_path)
    bench.reset()
    (bench.destination / ".syncron").mkdir()
    bench.reset()
    assert not (bench.destination / ".syncron").exists()
    assert_same(bench.destination, bench.old, owner=True)


def test_with_fsync_a_run_with_nothing_to_do_writes_through_what_others_left(
    forked: Forked, tmp_path: Path
) -> None:
    bench = Bench(forked, WORKLOADS["new files"], tmp_path)
    bench.reset()
    trace = tmp_path / "trace"
    strace = ("-o", str(trace), "-e", "trace=syncfs")
    ended = bench.run("--fsync", bench.old, bench.destination, who=DESTINATION, strace=strace)
    assert ended.code == 0, ended.err
    assert "syncfs(" in trace.read_text()
