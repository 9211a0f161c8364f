"""Both ways as users start it: here and elsewhere, kills, and loops as crontabs have them."""

from __future__ import annotations

import fcntl
import os
import pty
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Command, MakeWay, Way, children, eventually, is_alive
from tests.session.twoway import files
from tests.sshd import Sshd
from tests.trees import make, noise

_LOOPS = float(os.environ.get("SYNCRON_LOOPS", "12"))
"""Seconds that three loops run for; 600 is what a person should see once."""
_PATIENCE = 240.0
"""Seconds for one run of a loop; the machine may be shared with others for minutes."""
TREE: dict[str, Any] = {"f": b"f", "d": {"x": b"x", "large": noise(400_000)}, "gone": b"gone"}


def in_sync(syncron: Command, *words: str) -> dict[str, object]:
    """A run after which all are the same; its summary."""
    ended = syncron("--two-way", "--json", *words)
    assert ended.code == 0, (ended.err, ended.out)
    assert ended.summary["match"] is True
    return ended.summary


@pytest.mark.parametrize("local_is_first", [True, False])
def test_what_is_here_is_looked_at_while_the_other_machine_is_reached(
    syncron: Command, tmp_path: Path, local_is_first: bool
) -> None:
    one, other, state = tmp_path / "one", tmp_path / "other", tmp_path / "state"
    make(one, TREE)
    make(other, {"mine": b"mine"})
    rsh = tmp_path / "rsh"
    rsh.write_text(
        "#!/bin/sh\n"
        f"for try in $(seq 200); do ls {state}/syncron/*.holder >/dev/null 2>&1 && break\n"
        'sleep 0.05; done\n[ "$try" = 200 ] || XDG_STATE_HOME=$HOME/far exec sh -c "$2"\n'
    )
    rsh.chmod(0o755)
    words = [f"--rsh={rsh}", *[str(one), f"host:{other}"][:: 1 if local_is_first else -1]]
    process = syncron.start("--two-way", *words, environ={"XDG_STATE_HOME": str(state)})
    ended = syncron.end(process)
    assert ended.code == 0, ended.err
    assert files(one) == files(other)


def test_every_combination_of_here_and_elsewhere(
    syncron: Command, way: Way, tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    make(one, TREE)
    make(other, {"mine": b"mine"})
    words = way.words(one, other)
    in_sync(syncron, *words)
    assert files(one) == files(other)
    large = bytearray((one / "d/large").read_bytes())
    large[200_000:200_000] = b"inserted"
    (one / "d/large").write_bytes(large)
    (other / "f").write_bytes(b"f by other")
    (other / "gone").unlink()
    summary = in_sync(syncron, *words)
    assert files(one) == files(other)
    assert (one / "f").read_bytes() == b"f by other"
    assert not (one / "gone").exists()
    assert (summary["changed"], summary["deleted"]) == (2, 1)
    summary = in_sync(syncron, *words)
    assert (summary["changed"], summary["created"], summary["bytes_transferred"]) == (0, 0, 0)
    assert not syncron(*("--two-way", *words)).out


def test_several_replicas_are_the_same_after_one_command(
    syncron: Command, hosts: Sshd, tmp_path: Path
) -> None:
    roots = [tmp_path / name for name in "abcd"]
    for number, root in enumerate(roots):
        make(root, {f"of-{number}": b"%d" % number, "same": b"same"})
    words = [str(roots[0]), f"target:{roots[1]}", str(roots[2]), f"other:{roots[3]}"]
    in_sync(syncron, *words)
    assert all(files(root) == files(roots[0]) for root in roots)
    assert len(files(roots[0])) == 5
    (roots[3] / "same").unlink()
    (roots[1] / "new").write_bytes(b"new")
    in_sync(syncron, *words)
    assert all(files(root) == files(roots[0]) for root in roots)
    assert "same" not in files(roots[0])


def test_what_is_said_of_directions_and_conflicts(syncron: Command, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    make(one, {"f": b"f", "c.txt": b"c"})
    make(other, {})
    in_sync(syncron, str(one), str(other))
    (one / "f").write_bytes(b"longer")
    (other / "n").write_bytes(b"n")
    (one / "c.txt").write_bytes(b"one's")
    (other / "c.txt").write_bytes(b"other's")
    words = ("--two-way", "-i", str(one), str(other))
    shown = syncron("-n", *words)
    assert shown.code == 4
    lines = shown.out.splitlines()
    assert "-> >f.st...... f" in lines
    assert "<- <f+++++++++ n" in lines
    assert "c.txt: changed on both sides" in shown.err
    assert (files(one)["f"], files(other)["f"]) == (b"longer", b"f")
    ended = syncron("--json", *words)
    assert ended.code == 4
    (conflict,) = [each for each in ended.messages if each["message_type"] == "conflict"]
    assert conflict["path"] == "c.txt"
    assert conflict["what"] == "content"
    digests = {conflict["first_digest"], conflict["second_digest"]}
    assert conflict["kept"].startswith("c.syncron-conflict-")
    assert any(conflict["kept"][19:29] == digest[:10] for digest in digests)
    assert ended.summary["conflicts"] == 1
    assert files(one) == files(other)
    assert in_sync(syncron, str(one), str(other))["conflicts"] == 0


def test_a_job_has_replicas(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "one", {"f": b"f"})
    make(tmp_path / "other", {"g": b"g"})
    config = tmp_path / "config.yaml"
    config.write_text("jobs:\n  both:\n    replicas: [one, other]\n    conflicts: skip\n")
    ended = syncron("--config", config, "--job", "both")
    assert (ended.code, ended.err) == (0, "")
    assert files(tmp_path / "one") == files(tmp_path / "other") == {"f": b"f", "g": b"g"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--delete"], "--delete do not go together"),
        (["--backup"], "--backup do not go together"),
        (["-H"], "--hard-links do not go together"),
        (["--no-times"], "--no-times do not go together"),
        (["--verify"], "--verify do not go together"),
        (["-o"], "--owner do not go together"),
        (["--max-size=5"], "--max-size do not go together"),
        (["--filter=P x"], "do not go together"),
        (["--conflicts=mine"], "expected one of keep-both"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(
    syncron: Command, tmp_path: Path, options: list[str], said: str
) -> None:
    make(tmp_path / "one", {"f": b"f"})
    make(tmp_path / "other", {})
    ended = syncron("--two-way", *options, tmp_path / "one", tmp_path / "other")
    assert ended.code == 1
    assert said in ended.err
    assert files(tmp_path / "other") == {}


def test_a_way_of_conflicts_needs_both_ways(syncron: Command, tmp_path: Path) -> None:
    ended = syncron("--conflicts=skip", tmp_path / "one", tmp_path / "other")
    assert ended.code == 1
    assert "--two-way" in ended.err


def test_asking_needs_a_terminal(syncron: Command, tmp_path: Path) -> None:
    make(tmp_path / "one", {"f": b"f"})
    make(tmp_path / "other", {})
    words = "--two-way", "--conflicts=ask", tmp_path / "one", tmp_path / "other"
    ended = syncron(*words, "--before", f"touch {tmp_path}/begun")
    assert ended.code == 1
    assert "needs a terminal" in ended.err and "prefer-first" in ended.err
    assert os.listdir(tmp_path / "one") == ["f"]
    assert files(tmp_path / "other") == {}
    assert not (tmp_path / "begun").exists()


def on_a_terminal(
    syncron: Command, words: list[str], answers: list[bytes], thinks: float = 0
) -> tuple[int, str]:
    """A run on a terminal, each question answered after a while: its status, what was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        syncron.words(*words), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown, answered = b"", 0
    while True:
        try:
            more = os.read(ours, 10_000)
        except OSError:  # EIO: the other end is closed
            break
        if not more:
            break
        shown += more
        if shown.count(b"[b]: ") > answered:
            time.sleep(thinks)
            os.write(ours, answers[answered])
            answered += 1
    os.close(ours)
    assert answered == len(answers), shown
    return process.wait(30), shown.decode().replace("\r\n", "\n")


def test_a_person_chooses_for_each(syncron: Command, hosts: Sshd, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    names = ["a", "b\x1b", "c", "d", "e"]
    make(one, dict.fromkeys(names, b"f"))
    make(other, {})
    words = [str(one), f"target:{other}"]
    in_sync(syncron, *words)
    for name in names:
        (one / name).write_bytes(b"one's\x1b[2J" if name == "a" else b"one's")
        (other / name).write_bytes(b"the other's")
    words = ["--two-way", "--conflicts=ask", "--timeout=1", *words]
    # "what" is no answer; the time-out is far shorter than the thinking
    answers = [b"1\n", b"2\n", b"what\n", b"s\n", b"2!\n"]
    code, shown = on_a_terminal(syncron, words, answers, thinks=1.5)
    assert code == 4, shown  # one is skipped
    assert "b\\#033 was changed on both sides" in shown
    assert f"[1] {one}: a file of 9 bytes, 20" in shown
    assert f"[2] target:{other}: a file of 11 bytes, 20" in shown
    assert "e was changed on both sides:\n" not in shown
    assert "\n    -one's\\#033[2J\n    +the other's\n" in shown
    expected = [b"one's\x1b[2J", *[b"the other's"] * 4]
    assert [(other / name).read_bytes() for name in names] == expected
    expected[2] = b"one's"
    assert [(one / name).read_bytes() for name in names] == expected
    assert len(files(one)) == len(names) + 4
    before = files(one), files(other)
    code, shown = on_a_terminal(syncron, words, [b"\x04"])
    assert code == 4, shown
    assert (files(one), files(other)) == before
    code, shown = on_a_terminal(syncron, words, [b"\n"])
    assert code == 0, shown
    assert files(one) == files(other)


def none_is_alive(pids: list[int]) -> bool:
    return not any(map(is_alive, pids))


@pytest.mark.parametrize("victim", ["client", "helper"])
def test_whoever_is_killed_nothing_is_lost_and_the_next_run_goes_on(
    syncron: Command, make_way: MakeWay, tmp_path: Path, victim: str
) -> None:
    way = make_way("push-installed")
    chance = random.Random(victim)
    for attempt in range(6):
        one, other = tmp_path / f"{attempt}-one", tmp_path / f"{attempt}-other"
        base = {f"{n}": b"%d" % n for n in range(40)}
        make(one, {"d": base, "c": b"c", "gone": b"gone"})
        make(other, {})
        words = ("--two-way", *way.words(one, other))
        assert syncron(*words).code == 0
        for n in range(0, 40, 2):
            (one / f"d/{n}").write_bytes(b"one %d" % n)
            (other / f"d/{n + 1}").write_bytes(b"other %d" % n)
        (one / "c").write_bytes(b"c by one")
        (other / "c").write_bytes(b"c by other")
        (one / "gone").unlink()
        make(other / "new", {f"{n}": noise(40_000, seed=n) for n in range(40)})
        process = syncron.start(*words)
        time.sleep(0.25 + chance.random() * 0.6)
        helpers = children(process.pid)
        if victim == "helper":
            for pid in helpers[:1]:
                os.kill(pid, signal.SIGKILL)
            process.communicate(timeout=30)
        else:
            process.kill()
            process.communicate()
        assert eventually(partial(none_is_alive, helpers), 20)
        ended = syncron("--lock-wait=20", *words)
        assert ended.code in (0, 4), ended.err
        assert files(one) == files(other)
        found = set(files(one).values())
        assert {b"c by one", b"c by other"} <= found
        assert "gone" not in files(one)
        for n in range(0, 40, 2):
            assert files(one)[f"d/{n}"] == b"one %d" % n
            assert files(one)[f"d/{n + 1}"] == b"other %d" % n
        assert syncron(*words).code == 0


@contextmanager
def _as_its_owner(root: Path) -> Iterator[None]:
    """What is done while no run holds the root: an editor that reads, thinks and writes would
    otherwise write over what has just come, whoever brings it."""
    fd = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@pytest.mark.timeout(_LOOPS + 300)
def test_three_loops_and_random_edits_end_equal_and_lose_nothing(
    syncron: Command, hosts: Sshd, tmp_path: Path
) -> None:
    """As from three crontabs, none of which knows of the others. Every line that was ever written
    is still in some file."""
    roots = [tmp_path / name for name in "abc"]
    for root in roots:
        root.mkdir()
    until = time.monotonic() + _LOOPS
    codes: list[int] = []
    lines: set[bytes] = set()

    def loop(words: tuple[str, ...]) -> None:
        while time.monotonic() < until:
            process = syncron.start("--two-way", "--lock-wait=5", *words)
            ended = syncron.end(process, within=_PATIENCE)
            assert ended.code in (0, 4, 6, 23, 24), ended.err
            codes.append(ended.code)

    def edit(number: int) -> None:
        chance = random.Random(number)
        count = 0
        while time.monotonic() < until:
            root = roots[number]
            line = b"%d-%d\n" % (number, count)
            count += 1
            if chance.random() < 0.4:
                (root / f"new-{number}-{count}").write_bytes(line)
                lines.add(line)
            else:
                with _as_its_owner(root):
                    path = root / f"d{chance.randint(0, 2)}" / f"f{chance.randint(0, 3)}"
                    path.parent.mkdir(exist_ok=True)
                    with open(path, "ab") as file:
                        file.write(line)
                    lines.add(line)
                    if chance.random() < 0.2:
                        path.rename(path.with_name(f"moved-{number}-{count}"))
            time.sleep(chance.random() * 0.3)

    pairs = (
        (str(roots[0]), f"target:{roots[1]}"),
        (f"target:{roots[1]}", f"other:{roots[2]}"),
        (f"target:{roots[2]}", str(roots[0])),
    )
    with ThreadPoolExecutor(6) as threads:
        running = [threads.submit(loop, pair) for pair in pairs]
        running += [threads.submit(edit, number) for number in range(3)]
    for each in running:
        each.result()
    words = (str(roots[0]), f"target:{roots[1]}", f"other:{roots[2]}")
    for _ in range(3):
        ended = syncron("--two-way", "--lock-wait=20", *words)
        assert ended.code in (0, 4), ended.err
    in_sync(syncron, *words)
    trees = [files(root) for root in roots]
    assert trees[0] == trees[1] == trees[2]
    there = b"".join(value for value in trees[0].values() if isinstance(value, bytes))
    assert lines <= {line + b"\n" for line in there.split(b"\n")}
    assert len(codes) > 3
