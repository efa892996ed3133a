"""What is heard and said on a session channel, without a connection."""

from __future__ import annotations

import struct
import time
import tracemalloc
from typing import Any

import pytest

from hgext_delegate.ssh import channel, channel_receiver

WINDOW = 2 * 1024 * 1024


def string(data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + data


def say(
    inbox: channel_receiver.ChannelReceiver, stream: int, data: bytes
) -> None:
    if stream == 1:
        inbox.hear(channel_receiver.DATA, string(data))
    else:
        code = struct.pack('>I', 1)
        inbox.hear(channel_receiver.EXTENDED_DATA, code + string(data))


def test_output_is_taken_in_the_order_of_its_arrival() -> None:
    inbox = channel_receiver.ChannelReceiver(WINDOW)
    for stream, data in ((1, b'a'), (1, b'b'), (2, b'c'), (1, b'd')):
        say(inbox, stream, data)
    assert list(inbox.take(0)) == [(1, b'ab'), (2, b'c'), (1, b'd')]
    assert list(inbox.take(0)) == []


def test_nothing_is_over_while_output_is_left() -> None:
    inbox = channel_receiver.ChannelReceiver(WINDOW)
    say(inbox, 2, b'x')
    inbox.hear(channel_receiver.CLOSE, b'')
    assert not inbox.over()
    assert list(inbox.take(0)) == [(2, b'x')]
    assert inbox.over()


def test_memory_is_bounded_for_the_smallest_pieces() -> None:
    window = 200_000
    inbox = channel_receiver.ChannelReceiver(window)
    tracemalloc.start()
    for _ in range(window // 2):
        say(inbox, 1, b'x')
        say(inbox, 2, b'x')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Enlarging a buffer takes it twice for a moment.
    assert peak < 8 * window
    assert sum(len(data) for _, data in inbox.take(0)) == window


def test_what_is_taken_must_be_credited_before_more_may_come() -> None:
    inbox = channel_receiver.ChannelReceiver(100)
    say(inbox, 1, bytes(100))
    list(inbox.take(0))
    with pytest.raises(channel_receiver.ViolationError):
        say(inbox, 1, b'x')


def test_the_window_is_granted_again_in_large_pieces() -> None:
    inbox = channel_receiver.ChannelReceiver(100)
    say(inbox, 1, bytes(100))
    assert [inbox.credit(10) for _ in range(6)] == [0, 0, 30, 0, 0, 30]
    say(inbox, 1, bytes(60))
    with pytest.raises(channel_receiver.ViolationError):
        say(inbox, 1, b'x')


def test_no_more_is_sent_than_there_is_room_for() -> None:
    inbox = channel_receiver.ChannelReceiver(WINDOW)
    assert inbox.send(10) == 0
    inbox.hear(channel_receiver.WINDOW_ADJUST, struct.pack('>I', 15))
    assert [inbox.send(10), inbox.send(10), inbox.send(10)] == [10, 5, 0]


@pytest.mark.parametrize('heard', [[], ['eof'], ['end']])
def test_one_half_of_an_end_is_none(heard: list[str]) -> None:
    inbox = channel_receiver.ChannelReceiver(WINDOW)
    if 'eof' in heard:
        inbox.hear(channel_receiver.EOF, b'')
    if 'end' in heard:
        status = string(b'exit-status') + b'\0' + bytes(4)
        inbox.hear(channel_receiver.REQUEST, status)
    assert not inbox.over()


class Server:
    """The far side of a Command: hears what is sent, and answers."""

    def __init__(self, room: int):
        self.inbox = channel_receiver.ChannelReceiver(WINDOW)
        self.sent: list[tuple[int, bytes]] = []
        if room:
            self.adjust(room)

    def adjust(self, room: int) -> None:
        self.inbox.hear(channel_receiver.WINDOW_ADJUST, struct.pack('>I', room))

    def send(self, message: bytes) -> None:
        number, remote = struct.unpack('>BI', message[:5])
        assert remote == 7
        self.sent.append((number, message[5:]))
        if number == channel_receiver.EOF:
            self.end()

    def end(self) -> None:
        self.inbox.hear(channel_receiver.EOF, b'')
        status = string(b'exit-status') + b'\0' + bytes(4)
        self.inbox.hear(channel_receiver.REQUEST, status)

    def run(self, stdin: bytes, **how: Any) -> None:
        run = channel.Command(self.inbox, self.send, 7, 10)
        run.ask(b'command')
        run.run(stdin, how.get('receive', print), lambda: None)

    def data(self) -> list[bytes]:
        return [body[4:] for number, body in self.sent if number == 94]


def test_the_command_is_asked_for_first_and_wants_an_answer() -> None:
    server = Server(100)
    server.run(b'')
    request = string(b'exec') + b'\1' + string(b'command')
    assert server.sent == [
        (channel_receiver.REQUEST, request),
        (channel_receiver.EOF, b''),
        (channel_receiver.CLOSE, b''),
    ]


def test_input_is_sent_in_pieces_that_the_far_side_takes() -> None:
    server = Server(1000)
    server.run(bytes(range(25)))
    assert server.data() == [
        bytes(range(10)),
        bytes(range(10, 20)),
        bytes(range(20, 25)),
    ]


def test_output_is_taken_while_input_is_still_to_be_sent() -> None:
    # It makes room for a byte only when its last word has been heard.
    server = Server(1)
    say(server.inbox, 1, b'more')

    def receive(stream: int, data: bytes) -> None:
        if len(server.data()) < 25:
            say(server.inbox, 1, b'more')
            server.adjust(1)

    server.run(bytes(25), receive=receive)
    assert server.data() == [b'\0'] * 25


def test_the_caller_is_called_back_between_pieces_of_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, 'monotonic', lambda: clock[0])
    server = Server(1)
    for number in range(20):
        say(server.inbox, 1 + number % 2, b'x')
    happened = []

    def receive(stream: int, data: bytes) -> None:
        happened.append('received')
        clock[0] += 0.1

    run = channel.Command(server.inbox, server.send, 7, 10)
    run.run(b'', receive, lambda: happened.append('called'))
    assert happened.count('received') == 20
    assert 'called' in happened[:5]
    assert happened.count('called') >= 6


@pytest.mark.parametrize('closed', [True, False])
def test_the_channel_is_closed_at_the_end(closed: bool) -> None:
    server = Server(0)
    server.end()
    if closed:
        server.inbox.hear(channel_receiver.CLOSE, b'')
    server.run(b'never sent')
    assert [number for number, _ in server.sent] == [
        channel_receiver.REQUEST,
        channel_receiver.CLOSE,
    ]
