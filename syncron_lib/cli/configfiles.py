"""Which configuration files there are, and what they say together."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence

from syncron_lib.cli.config import Config, Job, parse, shown_file
from syncron_lib.cli.settings import Settings
from syncron_lib.errors import UsageError

CONFIG_MAX = 4 << 20
"""Bytes; a configuration is written by hand, and a larger file is not one."""

SYSTEM = "/etc"

_DEEPEST = 10
"""Files that include each other in a row: more is a circle, or cannot be overlooked any more."""


def user_file(environ: Mapping[str, str], home: str | None) -> str | None:
    """Where the user's configuration is, or None where there cannot be one."""
    base = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):  # the specification: a relative one is to be ignored
        if home is None:
            return None
        base = os.path.join(home, ".config")
    return os.path.join(base, "syncron", "config.yaml")


def load(
    named: str | None, *, environ: Mapping[str, str], home: str | None, system: str = SYSTEM
) -> Config:
    """What ``--config`` names, and nothing else; or the machine's configuration, and before it
    the user's."""
    if named is not None:
        return _whole([named], home, must_exist=True)
    machines = _whole(_system_files(system), home, must_exist=False)
    users = user_file(environ, home)
    if users is None:
        return machines
    return _over(_whole([users], home, must_exist=False), machines)


def _system_files(system: str) -> list[str]:
    names = [os.path.join(system, "syncron", "config.yaml")]
    directory = os.path.join(system, "syncron.d")
    try:
        found = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return names
    except OSError as error:
        raise UsageError(f"Cannot read {shown_file(directory)}: {error.strerror}.") from error
    # An editor's backup or a package's leftover is no configuration.
    wanted = (name for name in found if name.endswith(".yaml") and not name.startswith("."))
    return names + [os.path.join(directory, name) for name in wanted]


def _whole(files: Sequence[str], home: str | None, *, must_exist: bool) -> Config:
    """Files that stand beside each other: no job may be in two of them, and of defaults those
    of the earlier file go before."""
    whole = Config()
    for file in files:
        data = _read(file, must_exist=must_exist)
        if data is not None:
            whole = _beside(whole, _with_included(data, file, home, ()))
    return whole


def _with_included(data: bytes, file: str, home: str | None, above: tuple[str, ...]) -> Config:
    config = parse(data, file=file, home=home)
    above = (*above, os.path.realpath(file))
    for pattern in config.includes:
        names = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        for name in names:
            if os.path.realpath(name) in above or len(above) == _DEEPEST:
                raise UsageError(
                    f"{shown_file(file)}: include: {shown_file(name)} includes this file already,"
                    " or files include each other too deeply."
                )
            included = _read(name, must_exist=True, by=f"{shown_file(file)}: include: ")
            if included is not None:
                config = _beside(config, _with_included(included, name, home, above))
    return config._replace(includes=())


def _read(file: str, *, must_exist: bool, by: str = "") -> bytes | None:
    try:
        with open(file, "rb") as opened:
            data = opened.read(CONFIG_MAX + 1)
    except OSError as error:
        if not must_exist and isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return None
        what = f"{by}cannot read" if by else "Cannot read"
        see = "check its path and permissions"
        raise UsageError(f"{what} {shown_file(file)}: {error.strerror}; {see}.") from error
    if len(data) > CONFIG_MAX:
        raise UsageError(f"{shown_file(file)} is too large for a configuration.")
    return data


def _beside(one: Config, other: Config) -> Config:
    for name in other.jobs:
        if name in one.jobs:
            raise UsageError(
                f"The job {name!r} is in two files, {shown_file(one.jobs[name].file)} and"
                f" {shown_file(other.jobs[name].file)}: give one of them another name."
            )
    return _over(one, other)


def _over(stronger: Config, weaker: Config) -> Config:
    others = {name: job for name, job in weaker.jobs.items() if name not in stronger.jobs}
    jobs: dict[str, Job] = {**stronger.jobs, **others}
    defaults: Settings = stronger.defaults.over(weaker.defaults)
    return Config((*stronger.files, *weaker.files), defaults, jobs)
