"""The configuration: strict, and every error names the file, the line and the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.cli.catalog import CONFIGURABLE
from syncron_lib.cli.config import Config, parse
from syncron_lib.cli.configfiles import load, user_file
from syncron_lib.cli.parser import parse as parse_argv
from syncron_lib.cli.settings import Ownership, Settings
from syncron_lib.core.location import Local, Remote
from syncron_lib.core.options import DeleteCap
from syncron_lib.errors import UsageError

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


def read(text: str, home: str | None = "/home/u") -> Config:
    return parse(text.encode(), file="/etc/s/config.yaml", home=home)


def refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert "\n" not in caught.value.message
    return caught.value.message.removeprefix("/etc/s/config.yaml:")


def job(lines: str) -> str:
    return f"jobs:\n  j:\n    source: /a\n    destination: /b\n    {lines}\n"


@pytest.mark.parametrize("text", ["", "# nothing\n", "defaults:\njobs:\n", "{}"])
def test_an_empty_configuration_says_nothing(text: str) -> None:
    assert read(text) == Config(("/etc/s/config.yaml",), Settings(), {})


def test_a_job() -> None:
    found = read(
        "defaults: {timeout: 30, exclude: d}\n"
        "jobs:\n"
        "  home:\n"
        "    source: ~/docs\n"
        "    destination: me@host:back up\n"
        "    delete: true\n"
        "    owner: false\n"
        "    max-delete: 10%\n"
        "    include: x\n"
        "    exclude: [a, 'b c']\n"
        "    verbose: 2\n"
        "    identity: ~/.ssh/key\n"
    )
    home = found.job("home")
    assert home.sources == (Local(b"/home/u/docs"),)
    assert home.destination == Remote("host", "me", None, b"back up")
    assert home.settings == Settings(
        delete=True,
        owner=Ownership.NEVER,
        max_delete=DeleteCap(percent=10.0),
        verbose=2,
        patterns=(b"+ x", b"- a", b"- b c"),
        identity=("/home/u/.ssh/key",),
    )
    assert found.defaults == Settings(timeout=30.0, patterns=(b"- d",))


def test_relative_paths_are_relative_to_the_file_and_remote_ones_are_left_alone() -> None:
    found = read("jobs: {j: {sources: [x, 'h:y', ./z:w], destination: ../b}}").job("j")
    assert found.sources == (
        Local(b"/etc/s/x"),
        Remote("h", None, None, b"y"),
        Local(b"/etc/s/./z:w"),
    )
    assert found.destination == Local(b"/etc/s/../b")


def test_command_line_over_job_over_defaults() -> None:
    config = read(
        "defaults: {delete: true, timeout: 1, lock-wait: 9, exclude: d}\n"
        + job("timeout: 2\n    delete: false\n    exclude: j")
    )
    said = parse_argv(["--job", "j", "--timeout=3", "--exclude=c"], home=None).settings
    merged = said.over(config.job("j").settings).over(config.defaults)
    assert (merged.timeout, merged.delete, merged.lock_wait) == (3.0, False, 9.0)
    assert merged.patterns == (b"- c", b"- j", b"- d")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jbos: {}", '1: jbos: unknown key; did you mean "jobs"?'),
        (job("delte: true"), '5: jobs.j.delte: unknown key; did you mean "delete"?'),
        (job("no-perms: true"), '5: jobs.j.no-perms: unknown key; write "perms: false".'),
        (job("dry_run: true"), '5: jobs.j.dry_run: unknown key; did you mean "dry-run"?'),
        (job("<<: {delete: true}"), "5: jobs.j.<<: unknown key."),
        ("defaults:\n  job: x", "2: defaults.job: unknown key"),
        (job("delete: 1"), '5: jobs.j.delete: expected true or false, found "1" (int).'),
        (job("delete: 'true'"), '5: jobs.j.delete: expected true or false, found "true" (str).'),
        (job("partial: false"), "5: jobs.j.partial: this always holds"),
        (job("timeout: soon"), '5: jobs.j.timeout: expected a number, found "soon" (str).'),
        (job("timeout: -1"), "5: jobs.j.timeout: expected a number of seconds"),
        (job("port: 99999"), "5: jobs.j.port: expected a port number"),
        (job("max-delete: [1]"), "5: jobs.j.max-delete: expected a number or a text, found a list"),
        (job("verbose: 10"), "5: jobs.j.verbose: expected a number from 0 to 9"),
        (
            job("compress-choice: lz4"),
            "5: jobs.j.compress-choice: expected auto, zstd, zlib or none.",
        ),
        (job("exclude:\n    - a\n    - no"), '7: jobs.j.exclude[1]: expected a text, found "no"'),
        (job("exclude: {a: b}"), "5: jobs.j.exclude: expected a text, found keys and values."),
        (job("exclude-from: nowhere"), "5: jobs.j.exclude-from: cannot read nowhere: No such"),
        (job("delete: true\n    delete: true"), "6: jobs.j.delete: the key is there twice."),
        (job("sources: [/c]"), '5: jobs.j.sources: give "source" or "sources", not both.'),
        ("jobs:\n  j: {source: /a}", '2: jobs.j: "destination" is missing.'),
        ("jobs:\n  j: {destination: /a}", '2: jobs.j: "source" is missing.'),
        ("jobs:\n  j:\n", '2: jobs.j: "source" is missing.'),
        ("jobs:\n  j: {sources: [], destination: b}", "2: jobs.j.sources: expected at least one"),
        ("jobs:\n  j: {source: ~, destination: b}", "2: jobs.j.source: a bare ~ is YAML"),
        ("jobs:\n  j: {source: ':x', destination: b}", "2: jobs.j.source: :x: the host before"),
        ("jobs: [j]", "1: jobs: expected keys and values, found a list."),
        ("- a", "1: expected keys and values, found a list."),
        ("jobs:\n  j: [", "2: not YAML:"),
        ("a: 1\n\tb: 2", "2: not YAML:"),
        ("!!python/object:os.system {}: 1", "1: a key must be a text."),
        ("defaults: !!python/object/apply:os.system [x]", "1: defaults: expected keys and values"),
        ("a: *nowhere", "1: not YAML:"),
        ("--- {}\n--- {}", "2: not YAML:"),
        ("? {a: b}\n: c", "1: a key must be a text."),
        ("\x01", " not YAML:"),
    ],
)
def test_refused_with_line_and_key(text: str, message: str) -> None:
    assert refusal(text).startswith(message)


def test_a_broken_key_cannot_act_on_the_terminal() -> None:
    assert "\x1b" not in refusal('"\\e[2J": 1')


def test_a_recursive_alias_is_only_a_wrong_type() -> None:
    assert "expected a text" in refusal(job("exclude: &x [*x]"))
    assert "not YAML" in refusal("a: " + "[" * 5000)


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_whatever_it_is_it_is_a_configuration_or_a_usage_error(noise: str | bytes) -> None:
    data = noise.encode("utf-8", "surrogatepass") if isinstance(noise, str) else noise
    try:
        parse(b"defaults: {exclude: " + data, file="f", home=None)
    except UsageError as error:
        assert error.message.startswith("f:")


def test_where_the_configuration_is_looked_for() -> None:
    assert user_file({"XDG_CONFIG_HOME": "/x"}, "/h") == "/x/syncron/config.yaml"
    assert user_file({"XDG_CONFIG_HOME": "x"}, "/h") == "/h/.config/syncron/config.yaml"
    assert user_file({}, "/h") == "/h/.config/syncron/config.yaml"
    assert user_file({}, None) is None


def test_a_missing_configuration_matters_only_where_it_is_named(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    empty = load(None, environ=environ, home=None, system="/nowhere")
    assert empty == Config()
    with pytest.raises(UsageError, match="no configuration"):
        empty.job("home")
    with pytest.raises(UsageError, match=r"Cannot read .*nowhere"):
        load(f"{tmp_path}/nowhere", environ=environ, home=None)
    (tmp_path / "syncron").mkdir()
    (tmp_path / "syncron/config.yaml").write_text(job("delete: true"))
    found = load(None, environ=environ, home=None, system="/nowhere")
    assert found.job("j").settings.delete
    with pytest.raises(UsageError, match="no job 'k'; it has: j"):
        found.job("k")
    assert load("/dev/null", environ=environ, home=None).jobs == {}


def test_the_example_loads_and_says_everything_that_a_job_can_say(tmp_path: Path) -> None:
    (tmp_path / "home.exclude").write_text("*.bak\n")
    copy = tmp_path / "config.yaml"
    copy.write_bytes(EXAMPLE.read_bytes())
    found = load(str(copy), environ={}, home="/home/u")
    assert list(found.jobs) == ["home", "everything"]
    assert found.job("home").settings.patterns == (b"- *.tmp", b"- /Downloads/", b"- *.bak")
    text = EXAMPLE.read_text()
    everything = text[text.index("  everything:") :]
    said = {line.strip("# ").partition(":")[0] for line in everything.splitlines()}
    assert set(CONFIGURABLE) - said == set()
