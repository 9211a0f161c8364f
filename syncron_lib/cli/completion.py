"""Completion for shells, made from the table of options: ``python -m syncron_lib.cli.completion``
writes ``completions/`` anew, and a test holds what is there against it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from syncron_lib.cli.catalog import OPTIONS
from syncron_lib.cli.option import Kind
from syncron_lib.cli.parser import build_parser
from syncron_lib.record import NamedTuple

_CHOICES = {
    "compress-choice": ("auto", "zstd", "zlib", "none"),
    "zc": ("auto", "zstd", "zlib", "none"),
    "checksum-choice": ("auto", "xxh128", "sha256"),
    "outbuf": ("None", "Line", "Block"),
    "ionice": ("idle", "best-effort", "best-effort:7"),
    "info": (
        *("all", "none", "name0", "name2", "del", "del0", "flist", "flist0", "nonreg", "nonreg0"),
        *("progress2", "progress0", "skip", "skip0", "stats1", "stats2", "stats0", "symsafe"),
    ),
    "every": ("15min", "1h", "6h", "1d", "1w"),
}
_FILES = ("config", "exclude-from", "include-from", "files-from")
_TREES = ("root", "list-snapshots", "list-hot", "list-replicas")
_JOBS = ("job", "install-schedule", "print-schedule", "remove-schedule", "refresh-hot", "history")

FILES = {"bash": "syncron", "zsh": "_syncron", "fish": "syncron.fish"}
TOP = Path(__file__).parents[2] / "completions"


class Word(NamedTuple):
    """An option as shells see it. ``takes``: nothing, ``value``, ``file``, ``tree``, ``job``."""

    names: tuple[str, ...]
    help: str
    takes: str
    choices: tuple[str, ...] = ()


def options() -> list[Word]:
    """Every option that `--help-all` names, and its form with --no-."""
    files = {each.long for each in OPTIONS if each.kind in (Kind.FILE, Kind.FILES)} | set(_FILES)
    switches = {each.long for each in OPTIONS if each.kind is Kind.SWITCH}
    found: list[Word] = []
    for action in build_parser()._actions:
        if action.help is argparse.SUPPRESS or not action.option_strings:
            continue
        longs = [name[2:] for name in action.option_strings if name.startswith("--")]
        name = longs[0] if longs else ""
        takes = "" if action.nargs == 0 else "value"
        for kind, names in (("file", files), ("tree", _TREES), ("job", _JOBS)):
            takes = kind if name in names else takes
        told = (action.help or "").replace("%%", "%")
        choices = _CHOICES.get(name, ())
        found.append(Word(tuple(action.option_strings), told, takes, choices))
        if name in switches:
            found.append(Word((f"--no-{name}",), f"not --{name}", ""))
    return found


_REMOTE = """\
    # What is there, asked without a question and without waiting long.
    ssh -o BatchMode=yes -o ConnectTimeout=3 "$1" "ls -1dp -- $(printf '%q' "$2")*" 2>/dev/null"""

_BASH = """\
# bash completion for syncron; made by: python -m syncron_lib.cli.completion

_syncron_jobs() { syncron --list-jobs 2>/dev/null | awk 'NR > 1 { print $1 }'; }

_syncron_hosts() {
    [ -r ~/.ssh/config ] && awk 'tolower($1) == "host" {
        for (i = 2; i <= NF; i++) if ($i !~ /[*?!]/) print $i ":" }' ~/.ssh/config
}

_syncron_remote() {
REMOTE
}

_syncron_paths() {  # CURRENT
    local cur=$1 host
    if [[ $cur == *:* && $cur != /* && $cur != .* ]]; then
        host=${cur%%:*}
        _syncron_remote "$host" "${cur#*:}" | while IFS= read -r each; do
            printf '%s:%s\\n' "$host" "$each"
        done
        return
    fi
    compgen -W "$(_syncron_hosts)" -- "$cur"
    compgen -f -- "$cur" | while IFS= read -r each; do
        [ -d "$each" ] && each=$each/
        printf '%s\\n' "$each"
    done
}

_syncron() {
    local line=${COMP_LINE:0:COMP_POINT} cur prev words
    read -ra words <<< "$line"
    # Bash breaks words at colons and equal signs; a path on a host, or a value, is one.
    [[ $line == *' ' ]] && words+=('')
    cur=${words[-1]} prev=
    [ ${#words[@]} -gt 1 ] && prev=${words[-2]}
    local prefix=
    if [[ $cur == --*=* ]]; then
        prev=${cur%%=*} prefix=$prev= cur=${cur#*=}
    fi
    local -a found=()
    case $prev in
CASES
    *)
        if [[ $cur == -* && -z $prefix ]]; then
            mapfile -t found < <(compgen -W "OPTIONS" -- "$cur")
        else
            mapfile -t found < <(_syncron_paths "$cur")
        fi ;;
    esac
    # What bash has before the last break stays; it is not to be repeated.
    local last=${COMP_WORDS[COMP_CWORD]} whole=$prefix$cur keep
    [[ $last == [=:] ]] && last=
    keep=${whole%"$last"}
    keep=${keep#"$prefix"}
    COMPREPLY=()
    local each
    for each in "${found[@]}"; do
        COMPREPLY+=("${each#"$keep"}")
    done
    [[ ${#COMPREPLY[@]} -eq 1 && ( ${COMPREPLY[0]} == */ || ${COMPREPLY[0]} == *: ) ]] &&
        compopt -o nospace 2>/dev/null
    return 0
}

complete -F _syncron syncron
"""


def bash() -> str:
    """For bash."""
    cases = []
    for word in options():
        names = "|".join(word.names)
        if word.choices:
            what = f'compgen -W "{" ".join(word.choices)}" -- "$cur"'
        elif word.takes == "file":
            what = 'compgen -f -- "$cur"'
        elif word.takes == "tree":
            what = '_syncron_paths "$cur"'
        elif word.takes == "job":
            what = 'compgen -W "$(_syncron_jobs)" -- "$cur"'
        elif word.takes:
            what = ""
        else:
            continue
        run = f"mapfile -t found < <({what}) ;;" if what else ";;"
        cases.append(f"    {names}) {run}")
    names = " ".join(name for word in options() for name in word.names if name.startswith("--"))
    text = _BASH.replace("REMOTE", _REMOTE).replace("CASES", "\n".join(cases))
    return text.replace("OPTIONS", names)


_ZSH = """\
#compdef syncron
# zsh completion for syncron; made by: python -m syncron_lib.cli.completion

_syncron_jobs() {
    local -a jobs
    jobs=(${(f)"$(syncron --list-jobs 2>/dev/null | awk 'NR > 1 { print $1 }')"})
    compadd -a jobs
}

_syncron_hosts() {
    local -a hosts
    [[ -r ~/.ssh/config ]] && hosts=(${(f)"$(awk 'tolower($1) == "host" {
        for (i = 2; i <= NF; i++) if ($i !~ /[*?!]/) print $i }' ~/.ssh/config)"})
    compadd -S : -a hosts
}

_syncron_remote() {
REMOTE
}

_syncron_paths() {
    if compset -P '*:'; then
        local -a found
        found=(${(f)"$(_syncron_remote "${IPREFIX%:}" "$PREFIX")"})
        compadd -f -S '' -a found
    else
        _files
        _syncron_hosts
    fi
}

_arguments -s \\
ARGUMENTS
    '*:path:_syncron_paths'
"""


def zsh() -> str:
    """For zsh."""
    lines = []
    actions = {"file": "_files", "tree": "_syncron_paths", "job": "_syncron_jobs", "value": " "}
    for word in options():
        told = word.help.replace("'", "'\\''")
        for mark in "[]:":
            told = told.replace(mark, f"\\{mark}")
        action = f"({' '.join(word.choices)})" if word.choices else actions.get(word.takes, "")
        for name in word.names:
            value = "=" if name.startswith("--") and word.takes else "+" if word.takes else ""
            takes = f":{word.takes}:{action}" if word.takes else ""
            lines.append(f"    '*{name}{value}[{told}]{takes}' \\")
    return _ZSH.replace("REMOTE", _REMOTE.replace("%q", "%q")).replace(
        "ARGUMENTS", "\n".join(lines)
    )


_FISH = """\
# fish completion for syncron; made by: python -m syncron_lib.cli.completion

function __syncron_jobs
    syncron --list-jobs 2>/dev/null | awk 'NR > 1 { print $1 }'
end

function __syncron_paths
    set -l word (commandline -ct)
    if string match -qr '^[^/.:][^/:]*:' -- $word
        set -l host (string split -m 1 : -- $word)[1]
        set -l path (string split -m 1 : -- $word)[2]
        # What is there, asked without a question and without waiting long.
        for each in (ssh -o BatchMode=yes -o ConnectTimeout=3 $host \\
                "ls -1dp -- "(string escape -- $path)"*" 2>/dev/null)
            echo $host:$each
        end
    else if test -r ~/.ssh/config
        awk 'tolower($1) == "host" {
            for (i = 2; i <= NF; i++) if ($i !~ /[*?!]/) print $i ":" }' ~/.ssh/config
    end
end

complete -c syncron -a '(__syncron_paths)'
"""


def fish() -> str:
    """For fish."""
    lines = [_FISH]
    for word in options():
        parts = ["complete -c syncron"]
        for name in word.names:
            long = name.startswith("--")
            parts.append(f"-l {name[2:]}" if long else f"-s {name[1:]}")
        if word.choices:
            parts.append(f"-x -a '{' '.join(word.choices)}'")
        elif word.takes == "file":
            parts.append("-r -F")
        elif word.takes == "tree":
            parts.append("-r -F -a '(__syncron_paths)'")
        elif word.takes == "job":
            parts.append("-x -a '(__syncron_jobs)'")
        elif word.takes:
            parts.append("-x")
        told = word.help.replace("\\", "\\\\").replace("'", "\\'")
        lines.append(" ".join([*parts, f"-d '{told}'"]) + "\n")
    return "".join(lines)


def texts() -> dict[str, str]:
    """Every file, by name."""
    return {FILES["bash"]: bash(), FILES["zsh"]: zsh(), FILES["fish"]: fish()}


def main() -> int:
    """Write them."""
    TOP.mkdir(exist_ok=True)
    for name, text in texts().items():
        (TOP / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
