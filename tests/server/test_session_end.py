"""How a command ended, whatever the other side says of it."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import hostile
import loopback
import pytest

from hgext_delegate.ssh import session

pytestmark = pytest.mark.usefixtures(
    'nothing_is_left_or_said', 'for_gates_as_well'
)


def test_a_second_status_does_not_replace_the_first(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        hostile.say(
            transport,
            channel,
            hostile.status(3),
            hostile.status(0),
            (hostile.EOF,),
            (hostile.CLOSE,),
        )

    assert hostile.run(folder, behave) == session.End(3, None)


def test_a_status_does_not_replace_a_signal(folder: Path) -> None:
    signal = (hostile.REQUEST, b'exit-signal', False, b'TERM', False, b'', b'')

    def behave(transport: Any, channel: Any) -> None:
        hostile.say(
            transport, channel, signal, hostile.status(0), (hostile.EOF,)
        )

    assert hostile.run(folder, behave) == session.End(None, 'TERM')


def test_the_greatest_status_is_a_status(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        hostile.say(
            transport, channel, (hostile.EOF,), hostile.status(0xFFFFFFFF)
        )

    assert hostile.run(folder, behave) == session.End(0xFFFFFFFF, None)


@pytest.mark.parametrize('name', [b'\x1b[2J', b'', b'X' * 1000, b'\xff'])
def test_the_name_of_a_signal_cannot_be_anything(
    folder: Path, name: bytes
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        signal = (hostile.REQUEST, b'exit-signal', False, name, False, b'', b'')
        hostile.say(transport, channel, signal, (hostile.EOF,))

    assert hostile.run(folder, behave) == session.End(None, 'unknown')


@pytest.mark.parametrize(
    'messages',
    [
        [(hostile.EOF,), hostile.status(0)],
        [hostile.status(0), (hostile.EOF,)],
        [hostile.status(0), (hostile.CLOSE,)],
    ],
)
def test_status_and_end_may_come_in_any_order(
    folder: Path, messages: list[tuple[Any, ...]]
) -> None:
    seen = []

    def behave(transport: Any, channel: Any) -> None:
        hostile.say(
            transport, channel, (hostile.DATA, b'last words'), *messages
        )

    def receive(stream: int, data: bytes) -> None:
        seen.append((stream, data))

    assert hostile.run(folder, behave, receive).status == 0
    assert seen == [(1, b'last words')]


@pytest.mark.parametrize(
    'messages', [[(hostile.CLOSE,)], [(hostile.EOF,), (hostile.CLOSE,)]]
)
def test_an_end_without_a_status_is_no_success(
    folder: Path, messages: list[tuple[Any, ...]]
) -> None:
    error = hostile.failure(folder, lambda t, c: hostile.say(t, c, *messages))
    assert error.reason.endswith('without an exit status')
    assert error.started


@pytest.mark.parametrize(
    'messages',
    [
        [],
        [hostile.status(0)],
        [(hostile.EOF,)],
        [(hostile.DATA, b'x'), hostile.status(0)],
    ],
)
def test_a_connection_that_breaks_before_the_end_is_no_success(
    folder: Path, messages: list[tuple[Any, ...]]
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        hostile.say(transport, channel, *messages)
        transport.close()

    error = hostile.failure(folder, behave)
    assert error.reason.endswith('lost midway')
    assert error.started


def test_a_connection_that_breaks_after_the_end_is_success(
    folder: Path,
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        hostile.say(
            transport,
            channel,
            (hostile.DATA, b'x'),
            hostile.status(0),
            (hostile.EOF,),
            (hostile.CLOSE,),
        )
        transport.sock.shutdown(socket.SHUT_WR)

    seen = []
    for _ in range(20):
        end = hostile.run(
            folder, behave, lambda stream, data: seen.append(data)
        )
        assert end.status == 0
    assert seen == [b'x'] * 20


def refuse(server: loopback.Hostile) -> None:
    server.server.accept = False


def test_a_command_that_is_refused_has_not_started(folder: Path) -> None:
    error = hostile.failure(folder, lambda t, c: None, prepare=refuse)
    assert error.reason.startswith('session refused by 127.0.0.1 port')
    assert not error.started


@pytest.mark.parametrize(
    'before',
    [
        (hostile.SUCCESS,),
        (hostile.DATA, b'x'),
        hostile.status(0),
        (hostile.EXTENDED_DATA, 1, b'x'),
    ],
)
def test_what_has_started_cannot_be_refused(
    folder: Path, before: tuple[Any, ...]
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        hostile.say(transport, channel, before, (hostile.FAILURE,))

    assert hostile.failure(folder, behave).started


def test_no_answer_to_the_command_is_a_limit_too(folder: Path) -> None:
    def stall(server: loopback.Hostile) -> None:
        def check(channel: Any, command: bytes) -> bool:
            while channel.transport.is_active():
                time.sleep(0.01)
            return True

        server.server.check_channel_exec_request = check  # type: ignore[method-assign]

    error = hostile.failure(
        folder, lambda t, c: None, prepare=stall, idle_timeout=1
    )
    assert isinstance(error, session.Expired)
    assert error.started


# with what a command has left running, which keeps its output open


def test_silence_after_the_status_is_an_end(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        hostile.say(
            transport, channel, (hostile.DATA, b'early '), hostile.status(3)
        )
        time.sleep(1)
        hostile.say(transport, channel, (hostile.DATA, b'late'))
        while transport.is_active():
            time.sleep(0.01)

    heard: list[bytes] = []
    end = hostile.run(folder, behave, lambda stream, data: heard.append(data))
    assert end == session.End(3, None, is_kept_open=True)
    assert b''.join(heard) == b'early late'


def test_what_never_falls_silent_is_not_waited_for(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        hostile.say(transport, channel, hostile.status(0))
        while transport.is_active():
            hostile.say(transport, channel, (hostile.DATA, b'x'))
            time.sleep(0.1)

    end = hostile.run(folder, behave, timeout=30)
    assert end == session.End(0, None, is_kept_open=True)


def test_a_dead_connection_is_not_taken_for_silence(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        hostile.say(transport, channel, hostile.status(0))
        # it hears nothing more, and answers nothing
        transport._channel_handler_table = {
            **transport._channel_handler_table,
            hostile.REQUEST: lambda channel, message: None,
        }
        while transport.is_active():
            time.sleep(0.01)

    error = hostile.failure(folder, behave, idle_timeout=4)
    assert isinstance(error, session.Expired)
    assert error.remedy == (
        'the command has ended, but what it started keeps its output open'
    )


def test_an_answer_that_nobody_has_asked_for_is_none(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        hostile.say(transport, channel, hostile.status(0), (hostile.SUCCESS,))
        transport._channel_handler_table = {
            **transport._channel_handler_table,
            hostile.REQUEST: lambda channel, message: None,
        }
        while transport.is_active():
            time.sleep(0.01)

    assert isinstance(
        hostile.failure(folder, behave, idle_timeout=4), session.Expired
    )
