import socket
import threading
import time

import pytest

from tests.relay import running_relay


@pytest.fixture
def echo():
    """The port of a server that sends back what it gets, and at its end the end."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(one,), daemon=True).start()

    def answer(one):
        while data := one.recv(1 << 16):
            one.sendall(data)
        one.close()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def received(connection, size):
    data = b""
    while len(data) < size and (some := connection.recv(1 << 16)):
        data += some
    return data


def test_an_exchange_takes_the_delay_twice_and_connecting_as_long_as_an_exchange(echo):
    with running_relay(echo, delay=0.03) as relay:
        begin = time.monotonic()
        with socket.create_connection(("127.0.0.1", relay.port)) as one:
            one.sendall(b"first")
            assert received(one, 5) == b"first"
            assert 0.12 <= time.monotonic() - begin < 0.25

            begin = time.monotonic()
            one.sendall(b"second")
            assert received(one, 6) == b"second"
            assert 0.06 <= time.monotonic() - begin < 0.15
        assert (relay.bytes_up, relay.bytes_down) == (11, 11)
        assert relay.exchanges == 2


def test_what_is_sent_without_waiting_is_one_exchange(echo):
    with running_relay(echo, delay=0.05) as relay:
        with socket.create_connection(("127.0.0.1", relay.port)) as one:
            for _ in range(3):
                one.sendall(b"again")
                time.sleep(0.005)
            assert len(received(one, 15)) == 15
        assert relay.exchanges == 1


def test_a_rate_holds_however_long_the_delay(echo):
    with running_relay(echo, delay=0.05, rate=1_000_000) as relay:
        with socket.create_connection(("127.0.0.1", relay.port)) as one:
            begin = time.monotonic()
            sender = threading.Thread(target=one.sendall, args=(bytes(300_000),))
            sender.start()
            assert len(received(one, 300_000)) == 300_000
            assert 0.5 <= time.monotonic() - begin < 0.8
            sender.join()


def test_the_end_of_a_stream_passes_and_the_other_direction_goes_on(echo):
    with running_relay(echo, delay=0.01) as relay:
        with socket.create_connection(("127.0.0.1", relay.port)) as one:
            one.sendall(b"all")
            one.shutdown(socket.SHUT_WR)
            assert received(one, 100) == b"all"
