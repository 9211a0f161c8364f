"""``syncron --rsync``, or syncron by the name of rsync: a command line of rsync, carried out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from syncron_lib.cli.foreign import OptionRefused
from syncron_lib.cli.format import Run, has, prefix_of
from syncron_lib.cli.main import Command
from syncron_lib.cli.parser import Mode, help_text, parse, version_text
from syncron_lib.cli.progress import NoProgress, Progress
from syncron_lib.cli.rsync.face import RsyncFace, Telling
from syncron_lib.cli.rsync.unsupported import Unsupported
from syncron_lib.cli.settings import Ownership, Settings
from syncron_lib.cli.text import Manner, TextFace
from syncron_lib.cli.told import Told, told
from syncron_lib.core.location import Local, Location, Remote, parse_location
from syncron_lib.core.options import FileList
from syncron_lib.core.report import Report
from syncron_lib.errors import Exit, UsageError

if TYPE_CHECKING:
    from syncron_lib.cli.face import Face
    from syncron_lib.core.parts import Part
    from syncron_lib.session.each import Given

_BY_DEFAULT = Settings(
    links=False,
    devices=False,
    specials=False,
    perms=False,
    times=False,
    owner=Ownership.NEVER,
    group=Ownership.NEVER,
    # What rsync does not ask about.
    allow_empty_source=True,
    moves=False,
    info={"nonreg": 1},
)
"""What holds where nothing is said: rsync's defaults in syncron's options."""

_SIGNALLED = 20
"""rsync's exit status after a signal."""
_DAEMON = re.compile(r"rsync://|[^/]*::", re.IGNORECASE)


class RsyncCommand(Command):
    """One command line of rsync."""

    def run(self) -> int:
        """Carry it out; the exit statuses are rsync's."""
        status = super().run()
        return _SIGNALLED if status > 128 and status != Exit.SSH else status

    def _understood(self) -> int:
        try:
            invocation = parse(self._words, home=self._home)
        except OptionRefused as refused:
            raise Unsupported(refused.message) from refused
        if invocation.mode is Mode.HELP:
            self._output.write(help_text(whole=True))
            return Exit.OK
        if invocation.mode is Mode.VERSION:
            # Programs look for the number in the words of rsync.
            of = version_text().strip()
            self._output.write(f"rsync  version 3.5.0  protocol version 32 as taken by {of}\n")
            return Exit.OK
        if invocation.mode is Mode.LIST:
            settings = _as_rsync(invocation.settings, self._environ)
            return self._list(settings, _locations(invocation.operands))
        if invocation.mode is not Mode.COPY or invocation.root is not None:
            raise UsageError(
                "Called as rsync, syncron makes a copy; leave --rsync out for the rest."
            )
        settings = _as_rsync(invocation.settings, self._environ)
        *sources, destination = _locations(invocation.operands)
        return self._bring(settings, sources, destination)

    def _listed(self, settings: Settings, sources: Sequence[Location]) -> list[Part]:
        """As rsync has it: a directory without a slash behind it is listed under its name."""
        if settings.relative or settings.files_from is not None:
            return settings.parts(sources)
        from syncron_lib.cli.rsync.sources import is_contents
        from syncron_lib.core.parts import Part

        found = []
        for source in sources:
            above, name = os.path.split(source.path)
            if is_contents(source.path):
                found.extend(settings.parts([source]))
            else:
                root = source._replace(path=above or (b"." if isinstance(source, Local) else b""))
                found.append(Part(root, FileList(name, settings.recurses)))
        return found

    def _bring(self, settings: Settings, sources: Sequence[Location], destination: Location) -> int:
        face, text = self._faces(settings, sources, destination)
        blank = Report(" ".join(each.shown() for each in sources), destination.shown())
        blank.dry_run = bool(settings.dry_run)

        def carry_out() -> int:
            from syncron_lib.cli.rsync.sources import given, is_contents, is_made, make
            from syncron_lib.session.each import run_each

            options, connect = settings.run_options(), self._connect_options(settings, text)
            options = options._replace(deletes_told_first=True)
            if told(settings).stats > 1:  # what is told is counted
                options = options._replace(itemize=True)
            found = given(sources, settings, options)
            made = isinstance(destination, Local) and is_made(found, destination)

            def begin(given: Given) -> None:
                # It is known by now whether a single source on another machine is a directory.
                if made is None and not given.is_entry:
                    makes(False)
                face.source(given)

            def makes(entered: bool) -> None:
                assert isinstance(destination, Local)
                number = make(destination, settings) if settings.mkpath or not entered else 0
                face.makes(destination, number)

            if made:
                makes(bool(found) and is_contents(found[0].source.path) and found[0].trees)
            if not found:
                face.finished(blank)
                return Exit.OK
            key = self._key(settings, Mode.COPY, sources, destination, connect.ask)
            report = run_each(
                found, destination, connect, face, begin=begin, skip=face.skipped, key=key
            )
            face.finished(report)
            return report.exit_code

        face.begin()
        return self._shielded(face, blank, carry_out)

    def _faces(
        self, settings: Settings, sources: Sequence[Location], destination: Location
    ) -> tuple[RsyncFace, TextFace]:
        self._output.buffer(settings.outbuf)
        quiet, verbose = bool(settings.quiet), settings.verbose or 0
        each = Told() if quiet else told(settings)
        itemize = bool(settings.itemize_changes) and not quiet
        form = None if quiet else settings.out_format
        if form is None and each.name and not itemize:
            form = "%n%L"
        shows = itemize or form is not None
        manner = Manner(
            itemize=itemize and form is None,
            names=False,
            told=each,
            form=form,
            summary=False,
            stats=False,
            human=1,
            warnings=not quiet,
            remarks=verbose > 1 and not quiet,
            phases=False,
            verify=False,
            algorithm=False,
        )
        sends = not (
            isinstance(destination, Local) and any(isinstance(each, Remote) for each in sources)
        )
        run = Run(
            sends,
            _prefix(settings, sources),
            settings.owner is not Ownership.NEVER,
            settings.group is not Ownership.NEVER,
        )
        progress: Progress = NoProgress()
        if each.progress:
            from syncron_lib.cli.rsync.progress import RsyncProgress

            progress = RsyncProgress(self._output)
        text = TextFace(manner, progress, self._output, self._error, run=run)
        face: Face = text
        if settings.log_file is not None:
            from syncron_lib.cli.logfile import LogFace

            face = LogFace(text, settings.log_file, settings, run)
        local = all(isinstance(side, Local) for side in (*sources, destination))
        telling = Telling(
            header=_header(settings, sends) if each.flist else "",
            deltas=_deltas(settings, local) if verbose > 1 and not quiet else "",
            totals=each.stats > 0,
            stats=each.stats > 1,
            made=shows,
            skipped=not quiet,
            mark="<" if isinstance(destination, Remote) else ">",
            root=not (settings.existing and settings.dry_run),
            times=settings.times is not False,
            link_times=not settings.omit_link_times,
            quick=not (settings.checksum or settings.size_only),
            checksum=bool(settings.checksum),
            human=_human(settings),
            place=os.path.basename(destination.path),
            flags=itemize if form is None else has(form, "i"),
        )
        return RsyncFace(face, text.say, telling), text


def _as_rsync(given: Settings, environ: Mapping[str, str]) -> Settings:
    """What was given, over what rsync does by default."""
    settings = given.over(_BY_DEFAULT)
    # -o and -g are for those who can give files away, and no error for others.
    if settings.owner is Ownership.ALWAYS:
        settings = settings._replace(owner=Ownership.WHERE_ROOT)
    if settings.group is Ownership.ALWAYS:
        settings = settings._replace(group=Ownership.WHERE_ROOT)
    if settings.backup and settings.backup_dir is None:
        # Backups come into directories after these have got their times.
        settings = settings._replace(omit_dir_times=True)
    if settings.recursive is None:
        settings = settings._replace(recursive=bool(settings.archive) and not settings.files_from)
    if settings.rsh is None and environ.get("RSYNC_RSH"):
        settings = settings._replace(rsh=environ["RSYNC_RSH"])
    if settings.progress:
        # It names each file, whatever -v does.
        named = {"name": max(1, told(settings).name), "flist": 1}
        settings = settings._replace(info={**named, **settings.info})
    entered = settings.recursive or settings.dirs or settings.files_from is not None
    if (settings.delete or settings.delete_excluded) and not entered:
        raise UsageError("--delete does not work without --recursive (-r) or --dirs (-d).")
    return settings


def _locations(operands: Sequence[str]) -> list[Location]:
    found: list[Location] = []
    for operand in operands:
        if _DAEMON.match(operand):
            raise Unsupported(
                f"{operand!r} names an rsync daemon, whose protocol syncron does not speak; give"
                " HOST:PATH, to go over SSH."
            )
        # ":path" is on the machine of the one before.
        if operand.startswith(":") and found and isinstance(found[0], Remote):
            found.append(found[0]._replace(path=os.fsencode(operand[1:])))
            continue
        location = parse_location(operand)
        if isinstance(location, Remote) and operand is not operands[-1]:
            _require_plain(location)
        found.append(location)
    return found


def _require_plain(location: Remote) -> None:
    if any(each in location.path for each in (b"*", b"?", b"[")):
        raise Unsupported(
            f"{location.shown()}: syncron does not expand wildcards on the other machine; name the"
            " sources, or the directory with --include and --exclude."
        )


def _human(settings: Settings) -> int:
    """See `cli.format.human_number`: without the option numbers have separators."""
    level = settings.human_readable
    return 1 if level is None else min(3, level + (level > 0))


def _prefix(settings: Settings, sources: Sequence[Location]) -> bytes:
    """What is before the names of a local source in ``%f``: what they are below."""
    from syncron_lib.cli.rsync.sources import is_contents

    if settings.relative or not isinstance(sources[0], Local):
        return b""
    path = sources[0].path
    return prefix_of([path if is_contents(path) else os.path.dirname(path)])


def _deltas(settings: Settings, local: bool) -> str:
    whole = local if settings.whole_file is None else settings.whole_file
    how = "disabled for local transfer or --whole-file" if whole else "enabled"
    return f"delta-transmission {how}"


def _header(settings: Settings, sends: bool) -> str:
    if not (settings.recursive or settings.dirs):
        return ""
    # rsync lists all beforehand where it has to know all before it begins.
    if settings.prune_empty_dirs or settings.deletes in ("before", "after"):
        return "building file list ... done" if sends else "receiving file list ... done"
    return f"{'sending' if sends else 'receiving'} incremental file list"
