"""The command line: argv in, an `Invocation` out."""

from __future__ import annotations

import argparse
import string
from collections.abc import Sequence
from enum import Enum
from typing import Any, NoReturn

from syncron_lib import __version__
from syncron_lib.cli.catalog import OPTIONS, VERIFY
from syncron_lib.cli.draft import Draft
from syncron_lib.cli.foreign import FOREIGN, HELD, Foreign, Held, OptionRefused
from syncron_lib.cli.option import Kind, Option
from syncron_lib.cli.secrets.options import GROUP as SECURE_GROUP
from syncron_lib.cli.secrets.options import add_about_keys
from syncron_lib.cli.settings import Settings
from syncron_lib.errors import UsageError
from syncron_lib.record import NamedTuple

SYNOPSIS = """\
syncron [OPTIONS] SRC... DST          make DST like SRC
       syncron [OPTIONS] --verify SRC DST    are they the same, by content?
       syncron [OPTIONS] SRC                 what is in it, as a list
       syncron [OPTIONS] --root DIR          the Merkle root of a tree
       syncron [OPTIONS] --job NAME...       jobs from the configuration; or: --all-jobs
       syncron --rsync ARGUMENTS             a command line of rsync, as rsync takes it
       syncron --demo                        all of it, against an SSH server of its own"""

EPILOG = """\
SRC, DST and DIR are local paths, host:path, user@host:path or ssh://user@host:port/path.
A path names a root: the contents of SRC become the contents of DST, with or without a trailing
slash. Every yes-or-no option has a --no- form (--no-perms), which the last one given decides.
Exit codes, patterns and the rest: man syncron; the configuration: man 5 syncron."""


SHORT_EPILOG = "These are the options that are used most; --help-all shows every one.\n"

_SHORT = frozenset(
    (
        "archive links perms times owner hard-links acls xattrs exclude include exclude-from filter"
        " gitignore one-file-system existing update max-size dry-run delete max-delete backup"
        " compress bwlimit link-dest snapshot keep timeout before after retries ping report"
        " port identity rsh verbose quiet itemize-changes stats progress json log-file"
        " verify root job all-jobs list-jobs install-schedule every history list-snapshots"
        " config demo version help help-all"
    ).split()
)


class Mode(Enum):
    """What the command line asks for."""

    COPY = "copy"
    ROOT = "root"
    SNAPSHOTS = "list-snapshots"
    LIST = "list"
    HOT = "list-hot"
    REPLICAS = "list-replicas"
    JOBS = "jobs"
    CHECK_CONFIG = "check-config"
    LIST_JOBS = "list-jobs"
    HISTORY = "history"
    SCHEDULE = "schedule"
    DEMO = "demo"
    SEAL = "seal"
    UNSEAL = "unseal"
    REKEY = "rekey"
    SECURE_CHECK = "secure check"
    KEYGEN = "keygen"
    REWRAP = "change passphrase"
    HELP = "help"
    HELP_ALL = "help-all"
    VERSION = "version"


class Scheduling(NamedTuple):
    """What is to become of a job's schedule: when it runs, and whether on changes of hot ones."""

    action: str
    job: str
    config: str | None
    every: str | None = None
    on_calendar: str | None = None
    hot: bool = False


_SCHEDULING = {
    "install-schedule": "have the job run by itself, by systemd or cron",
    "print-schedule": "show what that would write",
    "remove-schedule": "take it away again",
    "refresh-hot": "have it watch what is hot by now",
}


_ABOUT = ("root", "history", "list-hot", "list-snapshots", "list-replicas", "forget-replica")


class Invocation(NamedTuple):
    """One command line, understood. ``operands`` are the paths as written."""

    mode: Mode
    settings: Settings = Settings()
    operands: tuple[str, ...] = ()
    root: str | None = None
    history: str | None = None
    """The job whose runs are to be shown; empty for all."""
    hot: str | None = None
    snapshots: str | None = None
    """The directories whose hot ones, or snapshots, are to be listed."""
    replica: str | None = None
    """The one that is gone for good; None: list those that ``operands`` know of."""
    rescan: float | None = None
    """To watch, with so many seconds between two full runs; None: run once."""
    jobs: tuple[str, ...] = ()
    all_jobs: bool = False
    config: str | None = None
    schedule: Scheduling | None = None
    passphrase: bool = False
    """The key that is made gets one."""


def parse(argv: Sequence[str], *, home: str | None) -> Invocation:
    """Understand a command line (without the program's name). UsageError where it cannot be
    carried out as written. Reads the files that ``--exclude-from`` and ``--include-from`` name."""
    if list(argv) == ["-h"]:  # rsync's rule: help when alone
        return Invocation(Mode.HELP)
    options, operands = _cut(argv)
    parser = build_parser()
    namespace = argparse.Namespace(draft=Draft(base=None, home=home), mode=None)
    given, rest = parser.parse_known_args(_with_values(options), namespace)
    if given.mode is not None:
        return Invocation(given.mode)
    paths: list[str] = []
    for word in rest:
        if word.startswith("-") and word != "-":
            raise UsageError(_unknown(parser, word))
        paths.append(word)
    paths.extend(operands)
    return _invocation(given, tuple(paths))


def wants_json(argv: Sequence[str]) -> bool:
    """Whether ``--json`` stands in a command line that could not be understood."""
    seen = [word for word in _cut(argv)[0] if word in ("--json", "--no-json")]
    return bool(seen) and seen[-1] == "--json"


def help_text(*, whole: bool) -> str:
    """What ``--help-all`` prints, or ``--help``: of each group what hands type."""
    parser = build_parser()
    if not whole:
        for action in parser._actions:
            names = {name.lstrip("-") for name in action.option_strings}
            if names.isdisjoint(_SHORT):
                action.help = argparse.SUPPRESS
        parser.epilog = f"{SHORT_EPILOG}\n{EPILOG}"
    return parser.format_help()


def build_parser() -> argparse.ArgumentParser:
    """The parser; tests hold the man page against its options."""
    parser = _Parser(
        prog="syncron",
        usage=SYNOPSIS,
        epilog=EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
        add_help=False,
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in OPTIONS:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        _add(groups[option.group], option)
    run = parser.add_argument_group("Run")
    _add(run, VERIFY)
    run.add_argument("--root", metavar="DIR", help="print the Merkle root of a tree")
    run.add_argument("--watch", action="store_true", help="stay, and bring over what changes")
    run.add_argument("--rescan", metavar="TIME", help="... all of it every TIME (default 1h)")
    run.add_argument("--list-hot", metavar="DIR", help="which directories of DIR changed often")
    run.add_argument("--list-snapshots", metavar="DIR", help="what --snapshot has made in DIR")
    run.add_argument("--list-replicas", metavar="DIR", help="which replicas DIR has heard of")
    run.add_argument("--forget-replica", metavar="ID", help="... one is gone for good; for ROOTs")
    run.add_argument(
        "--job", metavar="NAME", action="append", help="run a job; more names may follow"
    )
    run.add_argument("--all-jobs", action="store_true", help="run every job, one after the other")
    run.add_argument(
        "--history",
        metavar="JOB",
        nargs="?",
        const="",
        help="how earlier runs went, all or a job's; with --report, as a page",
    )
    run.add_argument("--config", metavar="FILE", help="read this configuration and no other")
    for action, text in _SCHEDULING.items():
        run.add_argument(f"--{action}", metavar="NAME", help=text)
    run.add_argument("--every", metavar="TIME", help="... every 15min, 6h, 1d or 1w")
    run.add_argument("--on-calendar", metavar="SPEC", help="... when systemd.time(7) says so")
    for name, mode, text in (
        ("--list-jobs", Mode.LIST_JOBS, "jobs, how they went last, and when they run next"),
        ("--check-config", Mode.CHECK_CONFIG, "read the configuration, and say what is wrong"),
    ):
        run.add_argument(name, dest="look", action="store_const", const=mode, help=text)
    for name, mode, text in (
        ("--demo", Mode.DEMO, "show all of it on this machine"),
        ("--version", Mode.VERSION, "print the version"),
        ("--help", Mode.HELP, "print the options that are used most"),
        ("--help-all", Mode.HELP_ALL, "print all of them"),
    ):
        names = ("-V", name) if mode is Mode.VERSION else (name,)
        run.add_argument(*names, dest="mode", action="store_const", const=mode, help=text)
    add_about_keys(groups[SECURE_GROUP], Mode)
    for held in HELD:
        takes = None if held.holds is not None else 0
        given = [each for each in held.names.split() if each not in parser._option_string_actions]
        if given:
            parser.add_argument(*given, action=_Hold, held=held, nargs=takes)
    _add_refusals(parser)
    return parser


def _cut(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before and after ``--``."""
    words = list(argv)
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _with_values(words: Sequence[str]) -> list[str]:
    """``words`` with each value joined to its option: argparse would take a value such as
    ``-p *.o`` for options."""
    long = {f"--{name}" for each in OPTIONS if each.takes_value for name in (each.long, each.alias)}
    short = {each.short: each for each in OPTIONS if each.short}
    joined: list[str] = []
    following = iter(words)
    for word in following:
        flags, last = word[1:-1], short.get(word[-1:])
        bundle = word.startswith("-") and all(
            flag in short and not short[flag].takes_value for flag in flags
        )
        if word in long or (bundle and last is not None and last.takes_value):
            value = next(following, None)
            if value is None:
                joined.append(word)
                continue
            if last is not None and word not in long:
                joined.extend([f"-{flags}"] * bool(flags))
                word = f"--{last.long}"
            word = f"{word}={value}"
        joined.append(word)
    return joined


def _invocation(given: argparse.Namespace, paths: tuple[str, ...]) -> Invocation:
    settings = given.draft.settings()
    if given.config == "":
        raise UsageError("--config needs the name of a file.")
    asked = {
        "--job": bool(given.job),
        "--all-jobs": given.all_jobs,
        **{f"--{each}": _of(given, each) is not None for each in _ABOUT},
        f"--{given.look.value}" if given.look else "": given.look is not None,
        **{f"--{each}": _of(given, each) is not None for each in _SCHEDULING},
    }
    both = [name for name, is_given in asked.items() if is_given]
    if len(both) > 1:
        raise UsageError(f"{both[0]} and {both[1]} exclude each other: give one of them.")
    if given.root is not None and settings.verify:
        raise UsageError("--verify compares two trees and --root reads one: give one of them.")
    for name in both if paths and not (given.job or given.forget_replica) else ():
        raise UsageError(f"{name} takes no further paths, but {paths[0]!r} was given.")
    schedule = _scheduling(given, bool(settings.hot))
    if schedule is not None:
        return Invocation(Mode.SCHEDULE, settings, config=given.config, schedule=schedule)
    if given.look is not None:
        return Invocation(given.look, settings, config=given.config)
    for mode in (Mode.ROOT, Mode.HOT, Mode.SNAPSHOTS):
        where = _of(given, mode.value)
        if where == "":
            raise UsageError(f"--{mode.value} needs the name of a directory.")
        if where is not None:
            invocation = Invocation(mode, settings, config=given.config)
            return invocation._replace(**{mode.value.removeprefix("list-"): where})
    if given.list_replicas is not None or given.forget_replica is not None:
        from syncron_lib.cli.replicas import about_replicas

        return about_replicas(given, settings, paths)
    if given.history is not None:
        return Invocation(Mode.HISTORY, settings, history=given.history, config=given.config)
    if given.sealed or given.passphrase:
        from syncron_lib.cli.secrets.modes import about_keys

        return about_keys(given, settings, paths)
    rescan = _rescan(given)
    if given.job is not None or given.all_jobs:
        jobs = (*(given.job or ()), *paths)
        if rescan is not None and (given.all_jobs or len(jobs) > 1):
            raise UsageError("--watch stays with one job: give one.")
        return Invocation(
            Mode.JOBS,
            settings,
            jobs=jobs,
            all_jobs=given.all_jobs,
            config=given.config,
            rescan=rescan,
        )
    if not paths:
        raise UsageError("SRC and DST are needed, and no paths were given: see syncron --help.")
    if (settings.list_only or len(paths) == 1) and not settings.verify:
        from syncron_lib.cli.listing import require_no_run

        require_no_run(settings, watches=rescan is not None)
        return Invocation(Mode.LIST, settings, operands=paths[:-1] or paths, config=given.config)
    if len(paths) < 2:
        raise UsageError("--verify compares two trees: give one SRC and one DST.")
    if "" in paths:
        raise UsageError('A path is empty; "." is the current directory.')
    return Invocation(Mode.COPY, settings, operands=paths, config=given.config, rescan=rescan)


def _of(given: argparse.Namespace, name: str) -> Any:
    return getattr(given, name.replace("-", "_"))


def _rescan(given: argparse.Namespace) -> float | None:
    from syncron_lib.cli.jobs.options import duration
    from syncron_lib.cli.jobs.watch import DEFAULT_RESCAN

    if not given.watch:
        if given.rescan is not None:
            raise UsageError("--rescan is about --watch: give that too.")
        return None
    if given.rescan is None:
        return DEFAULT_RESCAN
    try:
        return duration(given.rescan)
    except ValueError as error:
        raise UsageError(f"--rescan {given.rescan!r}: {error}.") from error


def _scheduling(given: argparse.Namespace, hot: bool) -> Scheduling | None:
    times = [f"--{each}" for each in ("every", "on-calendar") if _of(given, each) is not None]
    for action in _SCHEDULING:
        job = _of(given, action)
        if job is None:
            continue
        if len(times) > 1:
            raise UsageError("--every and --on-calendar exclude each other: give one of them.")
        if (action in ("remove-schedule", "refresh-hot")) == bool(times):
            wants = f"needs no {times[0]}" if times else "needs --every or --on-calendar"
            raise UsageError(f"--{action} {wants}.")
        return Scheduling(action, job, given.config, given.every, given.on_calendar, hot)
    if times:
        raise UsageError(
            f"{times[0]} says when a job runs: give --install-schedule or --print-schedule too."
        )
    return None


def _unknown(parser: argparse.ArgumentParser, word: str) -> str:
    import difflib

    name = word.partition("=")[0]
    known = [each for each in parser._option_string_actions if len(each) > 2]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    if near and near[0] in parser._option_string_actions and not _is_foreign(parser, near[0]):
        return f"Unknown option {name!r}: did you mean {near[0]}?"
    return f"Unknown option {name!r}: see syncron --help (a path that begins with - is ./{word})."


def _is_foreign(parser: argparse.ArgumentParser, name: str) -> bool:
    return isinstance(parser._option_string_actions[name], _Refuse)


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    names = [f"-{option.short}"] * bool(option.short) + [f"--{option.long}"] * bool(option.long)
    names += [f"--{option.alias}"] * bool(option.alias)
    group.add_argument(*names, action=_Set, option=option, help=option.help)
    if option.kind is Kind.SWITCH:
        off = [f"--no-{name}" for name in (option.long, option.short) if name]
        group.add_argument(*off, action=_Set, option=option, off=True, help=argparse.SUPPRESS)


def _add_refusals(parser: argparse.ArgumentParser) -> None:
    for foreign in FOREIGN:
        names = [f"-{foreign.short}"] * bool(foreign.short) + [foreign.long] * bool(foreign.long)
        parser.add_argument(*names, action=_Refuse, foreign=foreign)
    for letter in string.ascii_letters + string.digits:
        if f"-{letter}" not in parser._option_string_actions:
            parser.add_argument(f"-{letter}", action=_Refuse, foreign=None)


class _Set(argparse.Action):
    """Puts one option of the catalog into the draft."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        self._option: Option = more.pop("option")
        self._off: bool = more.pop("off", False)
        super().__init__(
            option_strings,
            argparse.SUPPRESS,
            nargs=None if self._option.takes_value else 0,
            metavar=self._option.metavar,
            **more,
        )

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        draft: Draft = namespace.draft
        written = f"{option_string} {values!r}" if self._option.takes_value else option_string
        try:
            if self._option.takes_value:
                draft.value(self._option, values)
            elif self._option.kind is Kind.COUNT:
                draft.count(self._option, 1)
            else:
                draft.switch(self._option, not self._off)
        except ValueError as error:
            raise UsageError(f"{written}: {error}.") from error


class _Hold(argparse.Action):
    """What rsync's users type, and is so in any case."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        self._held: Held = more.pop("held")
        super().__init__(option_strings, argparse.SUPPRESS, help=argparse.SUPPRESS, **more)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        held = self._held
        if held.holds is not None and not held.holds(values):
            raise OptionRefused(
                f"syncron does not have rsync's {option_string}={values}: {held.advice}."
            )
        namespace.draft.preset(held.sets)


class _Refuse(argparse.Action):
    """An option that rsync has, or a letter that nobody has: the end, by name."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        self.foreign: Foreign | None = more.pop("foreign")
        super().__init__(option_strings, argparse.SUPPRESS, nargs="?", help=argparse.SUPPRESS)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> NoReturn:
        written = option_string or self.option_strings[0]
        if self.foreign is None:
            raise UsageError(f"Unknown option {written!r}: see syncron --help.")
        raise OptionRefused(self.foreign.refusal(written))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """argparse's complaint as ours: exit 1, one sentence."""
        option, _, complaint = message.removeprefix("argument ").partition(": ")
        if complaint.startswith("expected"):
            message = f"{option} needs a value"
        elif complaint.startswith("ignored explicit argument"):
            message = f"{option} takes no value"
        raise UsageError(f"{message}: see syncron --help.")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Short: one column for names, aliases of the same thing on one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=98)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names = ", ".join(action.option_strings)
        if len(action.option_strings) == 1 and names.startswith("--"):
            names = f"    {names}"
        return f"{names}={action.metavar}" if action.nargs is None and action.metavar else names


def version_text() -> str:
    """What ``--version`` prints."""
    return f"syncron {__version__}\n"
