"""Several configuration files together: the machine's, the user's, and what they include."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncron_lib.cli.config import Config
from syncron_lib.cli.configfiles import load
from syncron_lib.errors import UsageError


def write(path: Path, *jobs: str, defaults: str = "{}", include: str = "[]") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"defaults: {defaults}", f"include: {include}", "jobs:"]
    lines += [f"  {job}: {{source: /a, destination: /b, exclude: {path.stem}}}" for job in jobs]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    return tmp_path / "etc"


def loaded(tmp_path: Path, named: Path | None = None) -> Config:
    return load(
        None if named is None else str(named),
        environ={"XDG_CONFIG_HOME": str(tmp_path / "user")},
        home=None,
        system=str(tmp_path / "etc"),
    )


def test_the_users_file_goes_before_the_machines(tmp_path: Path, etc: Path) -> None:
    write(etc / "syncron/config.yaml", "a", defaults="{timeout: 1, lock-wait: 1, retries: 1}")
    write(etc / "syncron.d/20-more.yaml", "c", defaults="{timeout: 3, lock-wait: 3, nice: 3}")
    write(etc / "syncron.d/10-some.yaml", "b", defaults="{lock-wait: 2, nice: 2}")
    (etc / "syncron.d/notes.txt").write_text("no YAML: [")
    (etc / "syncron.d/.hidden.yaml").write_text("no YAML: [")
    write(tmp_path / "user/syncron/config.yaml", "d", "a", defaults="{timeout: 4}")
    config = loaded(tmp_path)
    assert list(config.jobs) == ["d", "a", "b", "c"]
    assert config.job("a").settings.patterns == (b"- config",)
    assert config.job("a").file == f"{tmp_path}/user/syncron/config.yaml"
    defaults = config.defaults
    assert (defaults.timeout, defaults.lock_wait) == (4.0, 1.0)
    assert (defaults.retries, defaults.nice) == (1, 2)


def test_a_named_file_is_the_only_one(tmp_path: Path, etc: Path) -> None:
    write(etc / "syncron/config.yaml", "a", defaults="{timeout: 1}")
    config = loaded(tmp_path, write(tmp_path / "own.yaml", "b"))
    assert list(config.jobs) == ["b"]
    assert config.defaults.timeout is None


def test_a_job_in_two_of_the_machines_files_is_refused(tmp_path: Path, etc: Path) -> None:
    write(etc / "syncron/config.yaml", "a")
    write(etc / "syncron.d/x.yaml", "a")
    with pytest.raises(UsageError, match=r"'a' is in two files, .*config\.yaml and .*x\.yaml"):
        loaded(tmp_path)


def test_includes_are_relative_to_the_file_and_may_be_patterns(tmp_path: Path) -> None:
    main = write(
        tmp_path / "main.yaml", "a", include="[sub/*.yaml, other.yaml]", defaults="{nice: 1}"
    )
    write(tmp_path / "sub/one.yaml", "b", include="deeper.yaml", defaults="{nice: 2, retries: 2}")
    write(tmp_path / "sub/two.yaml")
    write(tmp_path / "sub/deeper.yaml", "c")
    write(tmp_path / "other.yaml", "d")
    (tmp_path / "sub/deeper.yaml").rename(tmp_path / "sub/deeper.yml")
    write(tmp_path / "sub/one.yaml", "b", include="deeper.yml", defaults="{nice: 2, retries: 2}")
    config = loaded(tmp_path, main)
    assert list(config.jobs) == ["a", "b", "c", "d"]
    assert (config.defaults.nice, config.defaults.retries) == (1, 2)
    assert len(config.files) == 5


def test_an_include_that_is_missing_or_a_circle_is_refused(tmp_path: Path) -> None:
    main = write(tmp_path / "main.yaml", include="gone.yaml")
    with pytest.raises(UsageError, match=r"main\.yaml: include: cannot read .*gone\.yaml: No such"):
        loaded(tmp_path, main)
    write(tmp_path / "main.yaml", include="nothing-*.yaml")
    assert loaded(tmp_path, main).jobs == {}
    write(tmp_path / "main.yaml", include="other.yaml")
    write(tmp_path / "other.yaml", include="main.yaml")
    with pytest.raises(UsageError, match=r"main\.yaml includes this file already"):
        loaded(tmp_path, main)


def test_an_error_in_any_file_names_that_file(tmp_path: Path, etc: Path) -> None:
    (etc / "syncron.d").mkdir(parents=True)
    (etc / "syncron.d/x.yaml").write_text("jobs:\n  j: {source: /a}\n")
    with pytest.raises(UsageError, match=r'x\.yaml:2: jobs\.j: "destination" is missing'):
        loaded(tmp_path)
