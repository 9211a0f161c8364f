"""``--report``: one page about a run and those before it, with nothing outside of itself.

Everything is drawn here: no script, no font, no picture is loaded. Whatever comes from a tree or
from another machine is text, escaped where it is written.
"""

from __future__ import annotations

import html
import os
import time
from collections.abc import Iterator, Sequence

from syncron_lib.cli.jobs.history import Record
from syncron_lib.cli.jobs.treemap import Box, squarified
from syncron_lib.cli.wording import duration, in_units

_MAP = Box(0, 0, 960, 320)
_CHART = Box(0, 0, 960, 200)
_LABEL_WIDTH = 7.6
"""Of a letter in a box, in the units of the drawing."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_RUNS_SHOWN = 200
_COLOURS = {"success": "good", "failure": "bad", "put-off": "idle"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6b7e; --line: #d8dee7; --page: #fff;
  --card: #f6f8fb; --good: #2f9e6e; --bad: #d1495b; --idle: #98a4b3; --accent: #2f6fde; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf2; --soft: #9aa7b8; --line: #323c4a;
  --page: #12171f; --card: #1a212c; --good: #49c08d; --bad: #ef6f7f; --accent: #6a9cf5; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); } code { overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem;
  margin: 1.2rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .8rem; } .card b { display: block; font-size: 1.25rem; }
.pill { border-radius: 1rem; padding: .1rem .7rem; color: #fff; font-size: .85rem; }
.pill.good { background: var(--good); } .pill.bad { background: var(--bad); }
.pill.idle { background: var(--idle); }
svg { width: 100%; height: auto; display: block; } svg text { font: 12px system-ui, sans-serif; }
.box { stroke: var(--page); stroke-width: 2; } .boxes text { fill: #fff; }
.axis { stroke: var(--line); } .label { fill: var(--soft); }
.area { fill: var(--accent); fill-opacity: .15; }
.curve { fill: none; stroke: var(--accent); stroke-width: 2; }
.good { fill: var(--good); } .bad { fill: var(--bad); } .idle { fill: var(--idle); }
.phase { fill: var(--accent); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid var(--line); }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left; } th { color: var(--soft);
  font-weight: 500; } .scroll { overflow-x: auto; }
li { overflow-wrap: anywhere; }
"""


def write(file: str, runs: Sequence[Record]) -> None:
    """Write the page about the last of ``runs``, and the others, to ``file``, atomically. Raises
    OSError."""
    temporary = f"{file}.{os.getpid()}.new"
    new = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with open(new, "w", encoding="utf-8", errors="backslashreplace") as opened:
            opened.write(page(runs))
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def page(runs: Sequence[Record]) -> str:
    """The whole page, about the last of ``runs``, of which there is at least one."""
    last = runs[-1]
    title = _text(last["job"] or f"{last['source']} to {last['destination']}")
    sides = _text(last["source"]), _text(last["destination"])
    ended = f"exit status {last['exit_code']}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>syncron: {title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title} {_pill(last)}</h1>",
        f'<p class="soft"><code>{sides[0]}</code> to <code>{sides[1]}</code></p>',
        f'<p class="soft">{_moment(last)}, {duration(last["duration"])}, {ended}</p>',
        *([f"<p>{_text(last['message'])}</p>"] if last["message"] else []),
        _cards(last),
        *_where(last),
        *_phases(last),
        *_errors(last),
        *_over_time(runs[-_RUNS_SHOWN:]),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _text(value: object) -> str:
    return html.escape(str(value))


def _moment(run: Record) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(run["began"]))


def _pill(run: Record) -> str:
    words = {"success": "ok", "failure": "failed", "put-off": "put off"}
    colour = _COLOURS.get(run["result"], "idle")
    return f'<span class="pill {colour}">{words.get(run["result"], "?")}</span>'


def _cards(run: Record) -> str:
    cards = [
        *((name, f"{run[name]:,}") for name in ("created", "changed", "moved", "deleted")),
        ("metadata only", f"{run['metadata']:,}"),
        ("sent", in_units(run["bytes_sent"])),
        ("received", in_units(run["bytes_received"])),
        ("entries of the source", f"{run['source_entries']:,}"),
        ("size of the source", in_units(run["bytes_scanned"])),
        ("errors", f"{run['errors_in_all']:,}"),
        ("conflicts", f"{run.get('conflicts', 0):,}"),
    ]
    inside = "".join(f'<div class="card"><b>{value}</b>{name}</div>' for name, value in cards)
    return f'<div class="cards">{inside}</div>'


def _where(run: Record) -> Iterator[str]:
    yield "<h2>What changed where</h2>"
    places = [
        (str(path), int(entries), int(size)) for path, entries, size in run.get("directories", [])
    ]
    if not places:
        yield '<p class="soft">Nothing changed.</p>'
        return
    by_size = any(size for _, _, size in places)
    # What moved no bytes is seen all the same.
    least = sum(size for _, _, size in places) / 400 if by_size else 0
    weighed = [
        (max(float(size), least) if by_size else entries, path, entries, size)
        for path, entries, size in places
    ]
    weighed.sort(key=lambda each: (-each[0], each[1]))
    yield f'<svg class="boxes" viewBox="0 0 {_MAP.width:g} {_MAP.height:g}" role="img">'
    boxes = squarified([weight for weight, *_ in weighed], _MAP)
    for at, (box, (_, path, entries, size)) in enumerate(zip(boxes, weighed)):
        shade = f"hsl({215 + at * 37 % 120} 45% {38 + at * 7 % 16}%)"
        told = f"{path or '.'}: {entries:,} entries, {in_units(size)}"
        yield (
            f'<g><title>{_text(told)}</title><rect class="box" x="{box.x:.1f}" y="{box.y:.1f}"'
            f' width="{box.width:.1f}" height="{box.height:.1f}" fill="{shade}"/>'
        )
        room = int((box.width - 10) / _LABEL_WIDTH)
        if room >= 4 and box.height > 20:
            yield f'<text x="{box.x + 6:.1f}" y="{box.y + 16:.1f}">{_text(_cut(path, room))}</text>'
            if box.height > 36 and room >= 8:
                what = in_units(size) if by_size else f"{entries:,}"
                yield f'<text x="{box.x + 6:.1f}" y="{box.y + 31:.1f}">{_text(what)}</text>'
        yield "</g>"
    yield "</svg>"
    yield f'<p class="soft">Areas by {"bytes of new content" if by_size else "entries"}.</p>'


def _cut(path: str, room: int) -> str:
    """The end of a path, which tells more than its beginning."""
    path = path or "."
    return path if len(path) <= room else "\N{HORIZONTAL ELLIPSIS}" + path[len(path) - room + 1 :]


def _phases(run: Record) -> Iterator[str]:
    phases = [(str(name), float(took)) for name, took in run["phases"].items()]
    if not phases:
        return
    longest = max(took for _, took in phases) or 1.0
    yield "<h2>How long each phase took</h2>"
    yield f'<svg viewBox="0 0 960 {26 * len(phases)}" role="img">'
    for at, (name, took) in enumerate(phases):
        y = 26 * at
        yield (
            f'<text class="label" x="0" y="{y + 16}">{_text(name)}</text>'
            f'<rect class="phase" x="120" y="{y + 4}" height="16" rx="3"'
            f' width="{max(2.0, 700 * took / longest):.1f}"/>'
            f'<text class="label" x="{128 + max(2.0, 700 * took / longest):.1f}" y="{y + 16}">'
            f"{duration(took)}</text>"
        )
    yield "</svg>"


def _errors(run: Record) -> Iterator[str]:
    errors = [str(each.get("message", "")) for each in run["errors"] if isinstance(each, dict)]
    if not errors:
        return
    yield "<h2>Errors</h2><ul>"
    yield from (f"<li>{_text(error)}</li>" for error in errors)
    yield "</ul>"
    more = run["errors_in_all"] - len(errors)
    if more > 0:
        yield f'<p class="soft">and {more:,} more</p>'


def _over_time(runs: Sequence[Record]) -> Iterator[str]:
    done = [run for run in runs if run["result"] != "put-off" and run["source_entries"]]
    if len(done) > 1:
        yield "<h2>Size of the source over time</h2>"
        yield from _curve(done)
    yield "<h2>Runs</h2>"
    yield '<div class="scroll"><table><tr>'
    names = ("when", "result", "took", "created", "changed", "deleted", "sent", "received", "size")
    yield "".join(f"<th>{name}</th>" for name in names) + "</tr>"
    for run in reversed(runs):
        cells = [
            _moment(run),
            _pill(run) + (f" {run['exit_code']}" if run["exit_code"] else ""),
            duration(run["duration"]),
            *(f"{run[name]:,}" for name in ("created", "changed", "deleted")),
            *(in_units(run[name]) for name in ("bytes_sent", "bytes_received", "bytes_scanned")),
        ]
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield "</table></div>"


def _curve(runs: Sequence[Record]) -> Iterator[str]:
    sizes = [float(run["bytes_scanned"]) for run in runs]
    most = max(sizes) or 1.0
    width, height = _CHART.width, _CHART.height
    step = width / (len(runs) - 1)
    points = [
        (at * step, height - 20 - (height - 50) * size / most) for at, size in enumerate(sizes)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    floor = height - 20
    yield f'<svg viewBox="-6 0 {width + 12:g} {height:g}" role="img">'
    yield f'<line class="axis" x1="0" y1="{floor:g}" x2="{width:g}" y2="{floor:g}"/>'
    yield f'<polygon class="area" points="0,{floor:g} {line} {width:g},{floor:g}"/>'
    yield f'<polyline class="curve" points="{line}"/>'
    for (x, y), run in zip(points, runs):
        colour = _COLOURS.get(run["result"], "idle")
        told = f"{_moment(run)}: {in_units(run['bytes_scanned'])}"
        yield f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4">'
        yield f"<title>{_text(told)}</title></circle>"
    yield f'<text class="label" x="0" y="14">{in_units(most)}</text>'
    yield f'<text class="label" x="0" y="{height - 4:g}">{_moment(runs[0])}</text>'
    yield f'<text class="label" x="{width:g}" y="{height - 4:g}" text-anchor="end">'
    yield f"{_moment(runs[-1])}</text></svg>"
