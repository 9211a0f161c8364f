"""The command line: what is understood, and what is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncron_lib.cli.catalog import OPTIONS
from syncron_lib.cli.foreign import FOREIGN, HELD
from syncron_lib.cli.parser import _SHORT, Mode, build_parser, help_text, parse, wants_json
from syncron_lib.cli.settings import Settings
from syncron_lib.cli.told import Told, told
from syncron_lib.core.options import DeleteCap, Keep, RunOptions
from syncron_lib.errors import Exit, UsageError


def settings(*words: str) -> Settings:
    return parse([*words, "a", "b"], home="/home/u").settings


def refusal(*words: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(words, home="/home/u")
    assert caught.value.exit_code == Exit.USAGE
    assert "\n" not in caught.value.message
    return caught.value.message


RSYNC_FILTER = b": /.rsync-filter"


def test_nothing_said_is_the_default() -> None:
    assert settings().run_options() == RunOptions()
    assert RunOptions().keep == Keep(permissions=True, times=True, owner=None, group=None)


def test_a_level_asks_for_compression_and_is_one_that_the_way_has() -> None:
    assert settings("--compress-level=5").run_options().compress == "always"
    assert settings("--compress-level=5", "--zc=auto").run_options().compress == "auto"
    assert settings("--zc=zlib", "--zl=9").run_options().compress_level == 9
    with pytest.raises(UsageError, match="zlib has levels from 1 to 9"):
        settings("--zc=zlib", "--zl=10").run_options()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-p"], {"perms": True}),
        (["--no-perms"], {"perms": False}),
        (["--no-p", "--no-t"], {"perms": False, "times": False}),
        (["--no-perms", "--perms"], {"perms": True}),
        (["-n"], {"dry_run": True}),
        (["-n", "--no-dry-run"], {"dry_run": False}),
        (["--delete", "--force", "--mkpath"], {"delete": True, "force": True, "mkpath": True}),
        (["--max-delete=7"], {"max_delete": DeleteCap(entries=7)}),
        (["--max-delete", "2.5%"], {"max_delete": DeleteCap(percent=2.5)}),
        (["-c", "-x"], {"checksum": True, "one_file_system": True}),
        (["-z"], {"compress": "always"}),
        (["--zc=zlib", "--zl=9"], {"compress": "zlib", "compress_level": 9}),
        (["--compress-level=22"], {"compress_level": 22}),
        (["--bwlimit=100"], {"bwlimit": 100 << 10}),
        (["--bwlimit=1.5m"], {"bwlimit": 3 << 19}),
        (["--bwlimit=2MB"], {"bwlimit": 2_000_000}),
        (["--bwlimit=0.5"], {"bwlimit": 512}),
        (["--bwlimit=1GiB"], {"bwlimit": 1 << 30}),
        (["--bwlimit=700b"], {"bwlimit": 700}),
        (["--bwlimit=0"], {"bwlimit": 0}),
        (["--max-size=2g-1"], {"max_size": (2 << 30) - 1}),
        (["--max-size=1.5KB", "--min-size=0-1"], {"max_size": 1500, "min_size": 0}),
        (["-@-1"], {"modify_window": -1}),
        (["--modify-window=2"], {"modify_window": 2}),
        (["-uI"], {"update": True, "ignore_times": True}),
        (["--ignore-non-existing"], {"existing": True}),
        (["--no-compress"], {"compress": "none"}),
        (["-z", "--compress-choice=auto"], {"compress": "auto"}),
        (["--timeout=0"], {"timeout": 0.0}),
        (["--lock-wait", "1.5"], {"lock_wait": 1.5}),
        (["--port=2222"], {"port": 2222}),
        (["--identity=k1", "--identity", "~/k2"], {"identity": ("k1", "/home/u/k2")}),
        (["-e", "ssh -p 22"], {"rsh": "ssh -p 22"}),
        (["-e", "--weird"[2:]], {"rsh": "weird"}),
        (["-vv", "-v"], {"verbose": 3}),
        (["-qi", "--stats"], {"quiet": True, "itemize_changes": True, "stats": True}),
        (["--no-progress"], {"progress": False}),
        (["--json", "--verify"], {"json": True, "verify": True}),
        (["--exclude", "- not a prefix"[2:]], {"patterns": (b"- not a prefix",)}),
        (["-f", "hide,p_*.o", "-f+rs x"], {"patterns": (b"-ps *.o", b"+rs x")}),
        (["-f:e .x", "-f", ": .x"], {"patterns": (b"- .x", b": .x")}),
        (["-FF"], {"patterns": (b": /.rsync-filter", b"- .rsync-filter")}),
        (["-F", "-f-!p a", "-F"], {"patterns": (RSYNC_FILTER, b"-!p a", b"- .rsync-filter")}),
        (["-vf", "-s *.o", "-f", "-,p x"], {"verbose": 1, "patterns": (b"-s *.o", b"-p x")}),
        (["-f", "- a", "-f", "clear"], {"patterns": ()}),
    ],
)
def test_options_become_settings(words: list[str], expected: dict[str, object]) -> None:
    assert settings(*words) == Settings(**expected)  # type: ignore[arg-type]


def test_cvs_rules_come_last_and_one_side_is_left_when_what_is_left_out_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CVSIGNORE", "mine")
    found = settings("-C", "--exclude=a", "-f+r b").run_options()
    assert found.rules.patterns[:3] == (b"- a", b"+r b", b":Cn .cvsignore")
    assert found.rules.patterns[3] == b"-p RCS"
    assert found.rules.patterns[-1] == b"-p mine"
    assert not found.delete
    sided = settings("--delete-excluded", "-f:C", "-C", "--exclude=a", "-f+r b").run_options()
    assert sided.rules.patterns[:4] == (b":Cdn .cvsignore", b"-s a", b"+r b", b"-ps RCS")
    assert sided.delete


def test_archive_says_the_default_again() -> None:
    kept = settings("--no-perms", "--no-owner", "-rltavn").run_options()
    assert kept.keep == Keep()
    assert kept.dry_run
    assert settings("-a", "--no-o", "--no-g").run_options().keep == Keep(owner=False, group=False)
    assert settings("-og").run_options().keep == Keep(owner=True, group=True)


def test_patterns_keep_their_order_across_options(tmp_path: Path) -> None:
    (tmp_path / "ex").write_bytes(b"# comment\n\nx1\n+ x2\n; comment\nx\xff3\r\n")
    (tmp_path / "in").write_bytes(b"i1\n- i2")
    found = settings(
        "--include=one",
        f"--exclude-from={tmp_path}/ex",
        "--exclude",
        "two",
        f"--include-from={tmp_path}/in",
        "--exclude=three",
    )
    assert found.patterns == (
        b"+ one",
        b"- x1",
        b"+ x2",
        b"- x\xff3",
        b"- two",
        b"+ i1",
        b"- i2",
        b"- three",
    )


def test_a_pattern_may_be_any_bytes() -> None:
    assert settings("--exclude", os.fsdecode(b"caf\xe9")).patterns == (b"- caf\xe9",)


def test_a_missing_pattern_file_is_named() -> None:
    assert "/nowhere/ex: No such file" in refusal("--exclude-from=/nowhere/ex", "a", "b")


def test_options_and_paths_may_be_mixed_and_a_double_dash_ends_the_options() -> None:
    found = parse(["a", "-v", "b", "--delete", "--", "-c", "--"], home=None)
    assert found.operands == ("a", "b", "-c", "--")
    assert found.settings == Settings(verbose=1, delete=True)


def test_whenever_deletes_are_asked_for_they_are() -> None:
    for word in ("before", "during", "delay", "after"):
        assert settings(f"--delete-{word}") == Settings(delete=True, deletes=word)
    assert settings("--del") == Settings(delete=True, deletes="during")
    assert settings("--del", "--no-delete").delete is False


def test_what_hands_type() -> None:
    assert settings("-avhP") == settings("--archive", "-v", "-h", "--progress", "--partial")
    assert settings("-hh").human_readable == 2
    both = settings("--info=progress2,stats", "--info=NAME0,flist0,del,mount0")
    assert both.info == {"progress": 2, "stats": 1, "name": 0, "flist": 0, "delete": 1}
    assert settings("-ii", "-i").itemize_changes == 3
    assert settings("-i", "--no-i").itemize_changes == 0


def test_what_is_told() -> None:
    def levels(*words: str) -> Told:
        return told(settings(*words))

    assert levels() == levels("-v", "--info=none") == levels("-vv", "--info=all0") == Told()
    assert levels("-v") == Told(delete=1, flist=1, name=1, stats=1, symsafe=1)
    assert levels("-vv").name == levels("--info=name2").name == 2
    assert levels("--stats") == levels("--info=stats2") == Told(stats=2)
    assert levels("--info=stats1", "--stats").stats == 1
    assert set(levels("--info=ALL2")) == {2}


def test_modes() -> None:
    assert parse(["--root", "d", "-c"], home=None).root == "d"
    assert parse(["--root", "d"], home=None).mode is Mode.ROOT
    assert parse(["--job", "x", "--job=y", "-n", "z"], home=None).jobs == ("x", "y", "z")
    assert parse(["--demo"], home=None).mode is Mode.DEMO
    assert parse(["-V"], home=None).mode is Mode.VERSION
    assert parse(["--help"], home=None).mode is Mode.HELP
    assert parse(["-h"], home=None).mode is Mode.HELP
    assert parse(["a", "b", "--config", "f"], home=None).config == "f"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "SRC and DST"),
        (["a", "--verify"], "one SRC and one DST"),
        (["a", ""], "empty"),
        (["--frobnicate", "a", "b"], "--frobnicate"),
        (["--frobnicate=3", "a", "b"], "--frobnicate"),
        (["-avQ", "a", "b"], "-Q"),
        (["--delet", "a", "b"], "did you mean --delete"),
        (["--dry", "a", "b"], "--dry"),
        (["--port=0", "a", "b"], "--port"),
        (["--port=65536", "a", "b"], "--port"),
        (["--max-delete=101%", "a", "b"], "--max-delete"),
        (["--timeout=-1", "a", "b"], "--timeout"),
        (["--timeout=nan", "a", "b"], "--timeout"),
        (["--two-way", "--merge=*.txt", "a", "b"], "expected PATTERN=COMMAND"),
        (["--two-way", "--merge=*.txt=cat {a}", "a", "b"], "{a} and {b} in the command"),
        (["--two-way", "--merge=*.txt=cat {a} {b} '", "a", "b"], "cannot be taken apart"),
        (["--two-way", "--merge=[=cat {a} {b}", "a", "b"], "can match nothing"),
        (["--compress-choice=lz4", "a", "b"], "--compress-choice"),
        (["--compress-level=0", "a", "b"], "--compress-level '0': expected a level from 1"),
        (["--zl=23", "a", "b"], "--zl '23'"),
        (["--bwlimit=0.1", "a", "b"], "at least 512 bytes"),
        (["--bwlimit=5ib", "a", "b"], "--bwlimit"),
        (["--bwlimit=-5", "a", "b"], "--bwlimit"),
        (["--bwlimit=fast", "a", "b"], "--bwlimit"),
        (["--exclude=+ ", "a", "b"], "--exclude"),
        (["--delete=yes", "a", "b"], "--delete takes no value"),
        (["a", "b", "--port"], "--port needs a value"),
        (["--all-jobs", "a"], "--all-jobs"),
        (["--all-jobs", "--list-jobs"], "--all-jobs and --list-jobs"),
        (["--retries=many", "a", "b"], "--retries"),
        (["--max-duration=0h", "a", "b"], "--max-duration"),
        (["--nice=20", "a", "b"], "--nice"),
        (["--ionice=realtime", "a", "b"], "--ionice"),
        (["--root", "d", "a"], "--root"),
        (["--root", "d", "--job", "j"], "--root"),
        (["--root", "d", "--verify"], "--root"),
        (["--root="], "--root"),
        (["-avN", "a", "b"], "-N (--crtimes)"),
        (["-f", "x y", "a", "b"], "Unknown filter rule 'x y'"),
        (["-f", "-e y", "a", "b"], "an unknown modifier, 'e'"),
        (["-f", "Hs y", "a", "b"], "an unknown modifier, 's'"),
        (["-f-xs user.*", "a", "b"], "names of extended attributes are for both sides"),
        (["-f", "-", "a", "b"], "has no pattern"),
        (["-f", ". ", "a", "b"], "names no file"),
        (["-f", ". /nowhere", "a", "b"], "cannot read /nowhere"),
        (["-avN", "--delete", "a", "b"], "rsync's -N (--crtimes)"),
        (["--max-alloc=100", "a", "b"], "rsync's --max-alloc"),
        (["--two-way", "a"], "--two-way is about a run"),
        (["--two-way", "--list-only", "a", "b"], "--two-way is about a run"),
        (["--snapshot", "a"], "--snapshot is about a run"),
        (["--watch", "a"], "--watch is about a run"),
        (["--hot", "a"], "--hot is about a run"),
        (["--before=mount x", "a"], "--before is about a run"),
        (["--report=x.html", "a"], "--report is about a run"),
        (["--info=help", "a", "b"], "none of del, flist, name, nonreg"),
        (["--info=name,copy", "a", "b"], "'copy' cannot be told"),
    ],
)
def test_refused_by_name(words: list[str], named: str) -> None:
    assert named in refusal(*words)


def test_every_option_of_rsync_is_known(rsync_options: set[str]) -> None:
    ours = {f"--{each.long}" for each in OPTIONS} | {"--version", "--help"}
    ours |= {f"--{each.alias}" for each in OPTIONS if each.alias}
    known = ours | {each.long for each in FOREIGN} | {n for h in HELD for n in h.names.split()}
    assert {each for each in rsync_options if each not in known} == set()


def test_tilde_without_a_home_is_refused() -> None:
    with pytest.raises(UsageError, match="set HOME"):
        parse(["--identity=~/key", "a", "b"], home=None)


def test_json_is_seen_in_a_command_line_that_is_not_understood() -> None:
    assert wants_json(["--json", "--frobnicate"])
    assert not wants_json(["--", "--json"])
    assert not wants_json(["--json", "--no-json"])


def test_help_fits_two_screens_and_names_every_option() -> None:
    text = help_text(whole=True)
    assert max(map(len, text.splitlines())) <= 100
    assert len(text.splitlines()) < 240
    for each in OPTIONS:
        assert (f"--{each.long}" if each.long else f"-{each.short}") in text


def test_the_short_help_is_short_and_leads_to_the_whole() -> None:
    short, whole = help_text(whole=False), help_text(whole=True)
    assert len(short.splitlines()) < 95
    assert "--help-all" in short and "--exclude=PATTERN" in short
    assert "--omit-link-times" not in short and "--omit-link-times" in whole
    # What is called short is there.
    assert {f"--{name}" for name in _SHORT} <= set(build_parser()._option_string_actions)
