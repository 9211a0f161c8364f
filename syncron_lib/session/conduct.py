"""Doing a run's work where no signal can disturb it.

`Halted` is raised wherever the main thread is. In the midst of a send it could leave a lock
of paramiko's held for ever, or be taken for a failure of the connection; so the main thread only
waits, and the work is done beside it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as NotYet
from typing import TYPE_CHECKING, TypeVar

from syncron_lib.core.location import Location
from syncron_lib.core.options import RunOptions
from syncron_lib.errors import ConnectionLost, Halted, TimedOut
from syncron_lib.session.pool import Pool
from syncron_lib.transport.beside import beside
from syncron_lib.transport.settings import ConnectOptions

if TYPE_CHECKING:
    from concurrent.futures import Future

    from syncron_lib.session.keyholder import KeyHolder

T = TypeVar("T")

_HURRY = 1.0
"""Seconds that helpers have to end after a signal, and those that are left after one was lost: the
whole end must come within two."""

_LAST_REPORT = 0.5
"""Seconds after that in which the work notices, and leaves its report."""


def with_pool(
    connect: ConnectOptions,
    options: RunOptions,
    sides: Sequence[Location],
    work: Callable[[Pool], T],
    key: KeyHolder | None = None,
) -> T:
    """What ``work`` returns or raises; its helpers have ended. ``sides``: where it begins. ``key``:
    which of them has one."""
    pool = Pool(connect, options.timeout, options.bwlimit, key)
    outcome: Future[T] | None = None

    def carry_out() -> T:
        pool.wait_until_asked()
        return work(pool)

    try:
        pool.start(sides)
        outcome = beside(carry_out, "run")
        result = outcome.result()
    except (ConnectionLost, TimedOut):
        pool.close(within=_HURRY)
        raise
    except Halted as halt:
        pool.close(within=_HURRY)
        if outcome is not None:
            with contextlib.suppress(NotYet):
                error = outcome.exception(_LAST_REPORT)
                halt.report = getattr(error, "report", None)  # type: ignore[attr-defined]
        raise
    finally:
        pool.close()
    return result
