"""Fixtures of the contract: a test that takes ``ends`` is run for every kind of endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from syncron_lib.endpoint.base import Endpoint
from tests.endpoint.ends import KINDS, EndpointOpener

NewEndpoint = Callable[[], Endpoint]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def ends(request: pytest.FixtureRequest) -> Iterator[NewEndpoint]:
    """Makes endpoints of one kind; they are closed in the end."""
    kind: EndpointOpener = request.param
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(kind())


@pytest.fixture
def end(ends: NewEndpoint) -> Endpoint:
    """One endpoint of each kind."""
    return ends()


@pytest.fixture(params=KINDS[:3], ids=lambda kind: kind.__name__)
def quick_end(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """The same without the kind that starts an interpreter, for tests of many cases."""
    kind: EndpointOpener = request.param
    with kind() as endpoint:
        yield endpoint
