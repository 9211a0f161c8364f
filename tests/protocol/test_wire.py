"""Every message crosses the wire unchanged, in bytes that do not change, and nothing else does."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncron_lib.core.role import Role
from syncron_lib.core.table import Table
from syncron_lib.errors import PeerViolation
from syncron_lib.protocol import messages, order
from syncron_lib.protocol.wire import (
    BY_NUMBER,
    PACK,
    RULES,
    STORE,
    Rule,
    Sender,
    decode,
    encode,
)
from tests.core.tables import normal
from tests.protocol.golden import GOLDEN, RECORDED
from tests.protocol.values import messages_of

each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind.__name__)


def _sender(rule: Rule) -> Sender:
    return Sender.CLIENT if rule.sender is Sender.BOTH else rule.sender


def _plain(value: Any) -> Any:
    """A message without the difference between lists and tuples, which the wire does not keep."""
    if isinstance(value, Table):
        return normal(value)
    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value))
    return value


@each_rule
@given(data=st.data())
def test_decode_undoes_encode(rule, data):
    message = data.draw(messages_of(rule))
    number, payload = encode(message)
    assert number == rule.number
    for view in (payload, bytearray(payload), memoryview(payload)):
        found = decode(number, view, _sender(rule))
        assert type(found) is rule.kind
        assert _plain(found) == _plain(message)


@each_rule
@given(data=st.data())
def test_damaged_messages_are_refused_or_other_messages(rule, data):
    number, payload = encode(data.draw(messages_of(rule)))
    with pytest.raises(PeerViolation):
        decode(number, payload + b"\0", _sender(rule))
    if not payload:
        return
    position = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(PeerViolation):
        decode(number, payload[:position], _sender(rule))
    mutated = bytearray(payload)
    mutated[position] = data.draw(st.integers(0, 255))
    _decodes_or_is_refused(number, bytes(mutated), _sender(rule))


@given(st.integers(0, 255), st.binary(max_size=120), st.sampled_from(Sender))
def test_noise_is_refused_or_a_message(number, payload, sender):
    _decodes_or_is_refused(number, payload, sender)


@given(st.binary(max_size=60))
def test_noise_of_every_kind_is_refused_or_a_message(payload):
    for rule in RULES:
        _decodes_or_is_refused(rule.number, payload, _sender(rule))


def _decodes_or_is_refused(number: int, payload: bytes, sender: Sender) -> None:
    try:
        message = decode(number, payload, sender)
    except PeerViolation:
        return
    # What is believed is a whole message of a known kind, which this side could have sent.
    assert type(message) is BY_NUMBER[number].kind
    encode(message)


@pytest.mark.parametrize("count", [2, 1 << 20, (1 << 32) - 1])
@pytest.mark.parametrize("kind", [messages.List, messages.Hash, messages.Delete])
def test_a_count_that_the_frame_cannot_hold_allocates_nothing(kind, count):
    number, _ = encode(kind([]))
    payload = count.to_bytes(4, "little") + bytes(4)
    tracemalloc.start()
    try:
        with pytest.raises(PeerViolation):
            decode(number, payload, Sender.CLIENT)
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "path", [b"/etc/passwd", b"../x", b"a/../../x", b"a//b", b".", b"a\0", b"x" * 256]
)
@pytest.mark.parametrize(
    "message",
    [
        lambda path: messages.List([path]),
        lambda path: messages.Hash([path]),
        lambda path: messages.Delete([path]),
        lambda path: messages.Finish([path], True),
        lambda path: messages.Expect([messages.Expected(path, False, False)]),
        lambda path: messages.Select([messages.Selected(path, False)], []),
        lambda path: messages.Select([], [messages.Arrived(path, 0, 0, 0, bytes(16))]),
        lambda path: messages.Adjust([messages.SetAttributes(path, 0, 0, 0, 0)]),
        lambda path: messages.UseIgnoreFiles([messages.IgnoreFile(path, b".gitignore", b"")]),
    ],
)
def test_paths_that_lead_out_of_the_tree_are_refused(message, path):
    number, payload = encode(message(path))
    with pytest.raises(PeerViolation, match="leads out of the tree"):
        decode(number, payload, Sender.CLIENT)


_OPEN = GOLDEN["Open"]


@pytest.mark.parametrize(
    "message",
    [
        _OPEN._replace(role=3),
        _OPEN._replace(path=b"/a\0b"),
        _OPEN._replace(only=b".."),
        _OPEN._replace(alias=b"a/b"),
        GOLDEN["Opened"]._replace(kind=4),
        messages.Listing([GOLDEN["Listing"].directories[0]._replace(problem=1 << 31)]),
    ],
)
def test_values_that_mean_nothing_are_refused(message):
    number, payload = encode(message)
    with pytest.raises(PeerViolation):
        decode(number, payload, _sender(BY_NUMBER[number]))


@each_rule
def test_a_message_from_the_wrong_side_is_refused(rule):
    if rule.sender is Sender.BOTH:
        return
    number, payload = encode(GOLDEN[rule.kind.__name__])
    wrong = Sender.HELPER if rule.sender is Sender.CLIENT else Sender.CLIENT
    with pytest.raises(PeerViolation, match="may not"):
        decode(number, payload, wrong)


# --- the format ------------------------------------------------------------------------------


@each_rule
def test_golden_bytes(rule):
    """A change here is a change of the protocol: it needs another `messages.VERSION`."""
    message = GOLDEN[rule.kind.__name__]
    number, payload = encode(message)
    assert (number, payload.hex()) == RECORDED[rule.kind.__name__]
    assert _plain(decode(number, payload, _sender(rule))) == _plain(message)


def test_numbers_do_not_change():
    recorded = {name: number for name, (number, _) in RECORDED.items()}
    assert {rule.kind.__name__: rule.number for rule in RULES} == recorded
    assert (PACK, STORE) == (0x40, 0x41)
    assert messages.VERSION == 1


def test_numbers_are_unique():
    numbers = [rule.number for rule in RULES]
    assert len({*numbers, PACK, STORE}) == len(numbers) + 2


# --- order -----------------------------------------------------------------------------------


def test_every_request_has_its_turn():
    unanswered = {messages.Hello, messages.Heartbeat}
    requests = {
        rule.kind
        for rule in RULES
        if rule.sender is not Sender.HELPER and rule.kind not in unanswered
    }
    assert set(order.TURNS) == requests | {STORE}


def test_only_a_destination_is_written_to():
    for rule in RULES:
        # Snapshots are named and removed where no root is open.
        if not rule.writes or rule.kind in messages.ABOUT_SNAPSHOTS:
            continue
        turn = order.TURNS[rule.kind]
        if rule.kind is messages.RemoveSource:
            assert turn.role is Role.SOURCE
            continue
        for phase in order.Phase:
            may = order.may_come(rule.kind, phase, Role.SOURCE)
            # A source finishes too, to save what it learned, but has nothing to write then.
            assert not may or rule.kind is messages.Finish
        written = Role.DESTINATION, Role.REPLICA
        assert turn.role in written or rule.kind is messages.Finish
    assert order.TURNS[STORE].role is Role.DESTINATION


@pytest.mark.parametrize("role", [None, *Role])
def test_nothing_but_opening_comes_before_opening(role):
    early = {kind for kind in order.TURNS if order.may_come(kind, order.Phase.CLOSED, role)}
    assert early == {
        messages.Open,
        messages.Scan,
        messages.MapIds,
        messages.Seal,
        messages.GetChanges,
        messages.UseAlternates,
        messages.GetHot,
        *messages.ABOUT_SNAPSHOTS,
        messages.Introduce,
        messages.GetManifest,
        messages.Close,
    }


def test_a_replica_takes_nothing_that_is_between_a_source_and_a_destination():
    for kind in order.NO_REPLICAS:
        turn = order.TURNS[kind]
        for phase in range(turn.earliest, turn.latest + 1):
            may = order.may_come(kind, order.Phase(phase), Role.REPLICA)
            assert not may, kind


def test_what_is_no_request_never_comes():
    for phase in order.Phase:
        for kind in (messages.Hello, messages.Heartbeat, messages.Done, int, PACK):
            assert not order.may_come(kind, phase, Role.DESTINATION)
