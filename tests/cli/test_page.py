"""The page about runs: whole in itself, and nothing in it but what was written there."""

from __future__ import annotations

import html.parser
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.cli.jobs import page
from syncron_lib.cli.jobs.treemap import Box, squarified
from tests.deep import DEEP

Run = Callable[..., "subprocess.CompletedProcess[str]"]

NASTY = "\"><script>alert(1)</script>&amp;'\u202e"


def record(number: int, **more: Any) -> dict[str, Any]:
    chosen = random.Random(number)
    counts = {
        name: chosen.randrange(1000)
        for name in "created changed moved deleted metadata source_entries conflicts".split()
    }
    return {
        "job": "home",
        "source": "/home/me",
        "destination": "nas:backup",
        "began": 1_790_000_000 + 86400.0 * number,
        "duration": 3.5,
        "exit_code": 0,
        "result": "success",
        "message": "",
        **counts,
        "bytes_sent": 123_456_789,
        "bytes_received": 1000,
        "bytes_scanned": 10**9 + 10**7 * number,
        "phases": {"scanning": 1.0, "transferring": 2.5},
        "errors": [],
        "errors_in_all": 0,
        "directories": [["photos/2026", 20, 9_000_000], ["notes", 5, 1000], ["", 1, 0]],
        **more,
    }


class Page(html.parser.HTMLParser):
    """What is on a page; a tag that is not closed, or closed twice, fails."""

    VOID = frozenset(("meta", "rect", "line", "polygon", "polyline"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if (tag not in self.VOID and tag != "circle") or tag == "circle":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_page_is_whole_and_needs_nothing_outside_of_it() -> None:
    text = page.page([record(number) for number in range(5)])
    found = Page(text)
    assert {"html", "head", "body", "svg", "table"} <= {tag for tag, _ in found.tags}
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in found.tags}
    for _, attributes in found.tags:
        assert not {"src", "href", "srcset", "onload"} & set(attributes)
    assert "url(" not in text and "@import" not in text
    words = " ".join(found.words)
    for shown in ("photos/2026", "What changed where", "transferring", "Size of the source"):
        assert shown in words
    assert len([box for box in found.of("rect") if box.get("class") == "box"]) == 3
    assert len(found.of("circle")) == 5
    assert len(found.of("tr")) == 6


def test_what_comes_from_a_tree_stays_text() -> None:
    errors = [{"message": NASTY}, "noise", {"message": NASTY}]
    run = record(
        1,
        job=NASTY,
        source=NASTY,
        message=NASTY,
        errors=errors,
        errors_in_all=9,
        exit_code=23,
        result="failure",
        directories=[[NASTY, 3, 4]],
        phases={NASTY: 1.0},
    )
    found = Page(page.page([run]))
    assert found.of("script") == []
    words = " ".join(found.words)
    assert words.count("<script>") >= 5
    assert "and 7 more" in words and "exit status 23" in words


def test_a_run_that_did_nothing_has_a_page_too() -> None:
    run = record(1, directories=[], phases={}, source_entries=0, bytes_scanned=0, result="put-off")
    assert "Nothing changed." in page.page([run])


@given(
    st.lists(st.floats(0.001, 1e12), min_size=1, max_size=40),
    st.floats(10, 2000),
    st.floats(10, 2000),
)
def test_a_treemap_fills_its_box(sizes: list[float], width: float, height: float) -> None:
    sizes.sort(reverse=True)
    boxes = squarified(sizes, Box(0, 0, width, height))
    assert len(boxes) == len(sizes)
    whole = width * height
    for size, box in zip(sizes, boxes):
        assert box.width * box.height == pytest.approx(
            whole * size / sum(sizes), rel=1e-3, abs=1e-3
        )
        assert box.x >= -1e-6 and box.x + box.width <= width * (1 + 1e-6) + 1e-3
        assert box.y >= -1e-6 and box.y + box.height <= height * (1 + 1e-6) + 1e-3


def test_runs_are_shown_and_reported(syncron: Run, tmp_path: Path) -> None:
    source, report = tmp_path / "src", tmp_path / "report.html"
    (source / "photos/2026").mkdir(parents=True)
    (source / "photos/2026/a").write_bytes(b"a" * 5000)
    config = tmp_path / "config.yaml"
    config.write_text("jobs: {home: {source: src, destination: dst}}\n")
    words = ("--config", config)
    assert syncron(*words, "--job", "home", "--report", report).returncode == 0
    assert "photos" in " ".join(Page(report.read_text()).words)
    (source / "new").write_bytes(b"n" * 300)
    (source / "photos/2026/a").write_bytes(b"b" * 6000)
    assert syncron(*words, "--job", "home", "--report", report).returncode == 0
    found = Page(report.read_text())
    assert len(found.of("circle")) == 2
    titles = [word for word in found.words if " entries, " in word]
    assert titles == ["photos/2026: 1 entries, 6.00 kB", ".: 2 entries, 300 B"]
    assert syncron(source, tmp_path / "other").returncode == 0
    assert syncron(*words, "--job", "home", "--before=exit 1").returncode == 3
    table = syncron("--history").stdout.splitlines()
    assert len(table) == 5 and table[0].split()[:2] == ["WHEN", "JOB"]
    assert f"{source} -> {tmp_path}/other" in table[3]
    of_job = syncron("--history", "home").stdout.splitlines()
    assert [line[18:].split()[0] for line in of_job] == ["RESULT", "ok", "ok", "failed"]
    lines = syncron("--history", "home", "--json").stdout.splitlines()
    assert [json.loads(line)["exit_code"] for line in lines] == [0, 0, 3]
    report.unlink()
    assert syncron("--history", "home", "--report", report).returncode == 0
    assert "failed" in " ".join(Page(report.read_text()).words)
    done = syncron("--history", "nobody")
    assert done.returncode == 1 and "No run of 'nobody' is remembered" in done.stderr
    done = syncron(source, tmp_path / "dst", "--report=/nowhere/x.html")
    assert done.returncode == 0 and "warning: The report cannot be written" in done.stderr


if DEEP:

    def test_a_real_browser_shows_the_page(tmp_path: Path) -> None:
        """Its own process, no network; what is drawn is looked at in the document it made."""
        file = tmp_path / "report.html"
        page.write(str(file), [record(number) for number in range(9)])
        words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        done = subprocess.run(
            [*words, f"--user-data-dir={tmp_path}/profile", f"file://{file}"],
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0
        assert done.stdout.count("<circle") == 9
        assert "photos/2026" in done.stdout
        shot = tmp_path / "shot.png"
        words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--screenshot={shot}"]
        subprocess.run(
            [*words, f"--user-data-dir={tmp_path}/profile", f"file://{file}"],
            capture_output=True,
            timeout=100,
            check=True,
        )
        assert shot.read_bytes().startswith(b"\x89PNG") and shot.stat().st_size > 10_000
