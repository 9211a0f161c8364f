"""Command lines, made from a seed."""

from __future__ import annotations

import os
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Case:
    """One command line. ``words``: without the program's name; both are run in a directory that
    holds ``dst`` perhaps, beside ``src`` in the one above."""

    seed: int
    words: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)

    def has(self, *flags: str) -> bool:
        """Whether one of the options is given."""
        return any(flag in self.flags for flag in flags)


_BASES = (
    (5, "-a"),
    (1, "-rlt"),
    (1, "-rltp"),
    (1, "-rtD"),
    (1, "-r"),
    (1, "-rl"),
    (1, "-rlD"),
    (1, "-lt"),
    (1, "-a --no-perms"),
    (1, "-a --no-o --no-g"),
    (1, "-a --no-links"),
    (1, "-a --no-devices --no-specials"),
    (1, "-a --no-times"),
    (1, "-rlpgo"),
)
_SHORT = {"--no-devices": "D", "--no-specials": "D"}
_LEAVING = (
    "-u",
    "--existing",
    "--ignore-existing",
    "--max-size=5k",
    "--min-size=8",
    "--safe-links",
)
_RULES = (
    "--exclude=*.o",
    "--exclude=a",
    "--exclude=/src/a",
    "--exclude=/sub/",
    "--exclude=sub/a",
    "--include=*/ --exclude=*.?",
    "--include=keep --exclude=[a-c]",
    "--exclude=/src/dir/***",
    "--filter=-_y~ --exclude=dir/",
    "--filter=P_b",
    "--filter=H_c",
    "-C",
    "--exclude=**/b",
)


def case(seed: int) -> Case:
    """The command line of a case, as far as it does not depend on what is in the source."""
    choice = random.Random(f"options {seed}")

    def luck(chance: float) -> bool:
        return choice.random() < chance

    weights, bases = zip(*_BASES)
    words = choice.choices(bases, weights)[0].split()
    base = words[0]
    flags = set("rlptgoD") if base == "-a" else set(base[1:])
    for word in words[1:]:
        flags -= {_SHORT.get(word, word[5:6])}
    made = Case(seed, words, flags)

    def give(option: str, *more: str) -> None:
        words.extend(option.split())
        made.flags.update(more or (option,))

    # What rsync names without times says nothing of what is in it, see `lines`.
    give("-i") if luck(0.8) or "t" not in flags else give("-v")
    if luck(0.15):
        give("-n")
    leaves = luck(0.35)
    for option in choice.sample(_LEAVING, choice.randint(1, 2)) if leaves else ():
        give(option)
    no_links = "l" not in flags or "D" not in flags
    links = luck(0.25) and not leaves and not no_links
    if links:
        give("-H", "H")
    # Without -p rsync gives what has other attributes the source's permissions too.
    if luck(0.25) and "p" in flags:
        give("-X", "X")
    if luck(0.1):
        give("-c", "c")
    elif luck(0.1):
        give("-I", "I")
    elif luck(0.1) and not links:
        give("--size-only")
    if luck(0.15) and "t" in flags:
        give("-O", "O")
    if luck(0.1) and "t" in flags:
        give("-J", "J")
    if "r" in flags and luck(0.5):
        give(choice.choice(("--delete", "--delete", "--del", "--delete-after", "--delete-before")))
        made.flags.add("delete")
        if luck(0.15):
            give("--delete-excluded")
    if luck(0.1):
        give("--force")
    # In a dry run rsync says that it deletes directories which hold what is left out, and so do
    # those that backups stay in.
    if luck(0.35) and not (made.has("-n") and made.has("delete")):
        words.extend(each.replace("_", " ") for each in choice.choice(_RULES).split())
    if luck(0.12) and not links and not (made.has("-n") and made.has("delete")):
        # A file of another time is brought over by rsync whatever is in it, and leaves a backup.
        give("-b", "b")
        give("-c", "c")
        if luck(0.5):
            give("--backup-dir=../old", "--backup-dir")
        elif luck(0.5):
            give("--suffix=.old")
    if luck(0.1):
        give("-S")
    if luck(0.1):
        give(choice.choice(("-W", "--no-whole-file", "-W" if made.has("b") else "--inplace")))
    if luck(0.12) and not links and not no_links and not leaves:
        give(choice.choice(("-L", "-k", "--copy-unsafe-links", "--munge-links")))
    follows = made.has("-L", "-k", "--copy-unsafe-links")
    if luck(0.1) and "r" in flags and not follows:
        give("-m", "m")
    if luck(0.1):
        give("--numeric-ids")
    if luck(0.15) and not links and "p" in flags:
        give(choice.choice(("--chmod=Dg-w,Fo=", "--chmod=F640", "--chmod=u+x,go-w")))
    if luck(0.1) and "p" not in flags:
        give("-E")
    chooses = leaves or made.has("X", "H", "I", "--size-only", "b", "m") or no_links
    # A destination that is made is told by rsync as what it was in the other directory.
    if luck(0.2) and seed % 4 and not chooses and {"r", "t", "p", "o", "g"} <= flags:
        give(choice.choice(("--link-dest=../prev", "--copy-dest=../prev")), "prev")
    elif luck(0.1) and "r" in flags and not made.has("m"):
        give("-R")
    # What was chosen before stays what it is. rsync uses no directory on the way to which is "..".
    apart = random.Random(f"scratch {seed}")
    if apart.random() < 0.15:
        give(apart.choice((f"--temp-dir={tempfile.gettempdir()}", "-T /dev/shm")))
    if made.has("prev"):  # in which -v names what is made anew
        words[:] = ["-i" if word == "-v" else word for word in words]
    if "-i" in words and apart.random() < 0.5:
        words[words.index("-i")] = "-ii"
    _add_more(made)
    return made


def _add_more(made: Case) -> None:
    """Options that came later, so that what was chosen before stays what it is."""
    luck = random.Random(f"more {made.seed}").random
    flags = made.flags
    others = made.has("-L", "-k", "--copy-unsafe-links", "--munge-links")
    if luck() < 0.12 and set("rlptgoD") <= flags and not others:
        flags.add("fake")
        made.words.append("-M--fake-super" if luck() < 0.7 else "--fake-super")
    if luck() < (0.5 if "fake" in flags else 0.1) and "p" in flags and not made.has("prev"):
        flags.add("A")
        made.words.append("-A")
    if luck() < 0.15 and made.has("H") and not made.has("c", "I"):
        flags.add("--size-only")
        made.words.append("--size-only")
    if luck() < 0.2:
        flags.add("vv")
        made.words[:] = ["-vv" if word == "-v" else word for word in made.words]
        if "-vv" not in made.words:
            made.words.append("-vv")


def add_places(made: Case, source: Path) -> list[str]:
    """Add SRC and DST to a command line; the names under which sources go there."""
    choice = random.Random(f"places {made.seed}")
    inside = sorted(os.listdir(source))
    # rsync leaves out a source too that holds no file.
    how = 0 if made.has("m") else choice.random()
    if made.has("-R") and inside:
        names = choice.sample(inside, 1)
        made.words += [f"../src/./{names[0]}", "dst/"]
        return names
    destination = choice.choice(("dst", "dst/", "./dst"))
    if how < 0.45 or not inside:
        made.words += ["../src/", destination]
        made.flags.add("contents")
        return []
    if how < 0.75:
        made.words += ["../src", destination]
        return ["src"]
    # Names of one file in two sources are not one file at the destination.
    most = 1 if made.has("H") else choice.choice((1, 2, 3))
    names = choice.sample(inside, min(len(inside), most))
    made.words += [f"../src/{name}" for name in names]
    made.words.append("dst/" if how < 0.9 else destination)
    return names
