"""Sessions with an SSH server that means harm, or is broken."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from pathlib import Path
from typing import Any

import hostile
import loopback
import paramiko
import pytest
import sessions
from loopback import message

from hgext_delegate.ssh import session

pytestmark = pytest.mark.usefixtures(
    'nothing_is_left_or_said', 'for_gates_as_well'
)


def test_more_output_than_the_window_allows_ends_the_session(
    folder: Path,
) -> None:
    flooded = threading.Event()

    def behave(transport: Any, channel: Any) -> None:
        with contextlib.suppress(EOFError):
            hostile.say(
                transport, channel, *[(hostile.DATA, bytes(32768))] * 200
            )
            # Sent though nothing was asked of it, until it is cut off.
            while transport.is_active():
                time.sleep(0.01)
        flooded.set()

    error = hostile.failure(
        folder, behave, receive=lambda *args: flooded.wait()
    )
    assert error.reason.endswith(
        'broke the SSH protocol by more data than its window allows'
    )
    assert error.started


@pytest.mark.parametrize(
    'bad',
    [
        (hostile.DATA,),
        (hostile.DATA, (b'\x00\x0f\xff\xff',)),
        (hostile.DATA, (b'\x00\x00\x00\x01ab',)),
        (hostile.EXTENDED_DATA, 1),
        (hostile.EXTENDED_DATA, 2, b'x'),
        (hostile.WINDOW_ADJUST,),
        (hostile.REQUEST,),
        (hostile.REQUEST, b'exit-status'),
        (hostile.REQUEST, b'exit-status', False),
        (hostile.REQUEST, b'exit-status', False, (b'\x00\x00\x00',)),
        (hostile.REQUEST, b'exit-status', False, 0, 0),
        (hostile.REQUEST, b'exit-signal', False),
    ],
)
def test_a_damaged_message_ends_the_session(
    folder: Path, bad: tuple[Any, ...]
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        hostile.say(
            transport,
            channel,
            bad,
            hostile.status(0),
            (hostile.EOF,),
            (hostile.CLOSE,),
        )

    error = hostile.failure(folder, behave)
    assert 'broke the SSH protocol' in error.reason
    assert error.started


def test_a_window_without_limit_ends_the_session(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        hostile.say(
            transport, channel, *[(hostile.WINDOW_ADJUST, 0xFFFFFFFF)] * 2
        )

    assert 'a window beyond its limit' in hostile.failure(folder, behave).reason


# Long enough to be a packet, and nothing that was encrypted with these keys.
FORGED = struct.pack('>I', 64) + bytes(200)


def test_a_forged_packet_ends_the_session(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        transport.sock.sendall(FORGED)
        hostile.say(
            transport,
            channel,
            hostile.status(0),
            (hostile.EOF,),
            (hostile.CLOSE,),
        )

    error = hostile.failure(folder, behave)
    assert 'broke the SSH protocol' in error.reason
    assert error.started


def test_a_forged_packet_ends_the_login(folder: Path) -> None:
    def forge(username: str, key: Any) -> int:
        server.transports[0].sock.sendall(FORGED)
        return paramiko.AUTH_SUCCESSFUL

    server = loopback.Hostile(folder, lambda t, c: None)
    server.server.check_auth_publickey = forge  # type: ignore[method-assign]
    trouble = session.SessionError
    with contextlib.closing(server), pytest.raises(trouble) as caught:
        sessions.connect_to(folder, server.port)
    assert 'broke the SSH protocol' in caught.value.reason
    assert not caught.value.started


def test_a_host_key_that_changes_midway_ends_the_session(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        # The server has answered the request once it reads the input.
        channel.recv(1)
        other = str(folder / 'identity')
        transport.add_server_key(paramiko.Ed25519Key(filename=other))
        transport.renegotiate_keys()

    error = hostile.failure(folder, behave)
    assert error.reason.endswith('is not the one that is pinned')
    assert error.started


@pytest.mark.parametrize(
    'fields',
    [
        (hostile.EXT_INFO, 0xFFFFFFFF),
        (hostile.SERVICE_ACCEPT, b'ssh-userauth'),
        (51, b'publickey', False),
        (52,),
        (200,),
        (hostile.GLOBAL_REQUEST, b'\xff\xfe', True),
        (hostile.CHANNEL_OPEN, b'\xff', 0, 0, 0),
        (hostile.DATA, 77, b'x'),
        (20, (bytes(17),)),
        (hostile.DISCONNECT, 2, b'\x1b[2J\xff', b''),
        (hostile.DISCONNECT, 2, b'\x1b[2J bye', b''),
    ],
)
def test_what_makes_no_sense_ends_the_session(
    folder: Path, fields: tuple[Any, ...]
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        transport._send_user_message(message(*fields))

    error = hostile.failure(folder, behave)
    assert error.started
    words = ('broke', 'lost midway', 'no algorithm in common')
    assert any(word in error.reason for word in words)


def test_what_means_nothing_is_passed_over(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        for fields in (
            (2, b'ignore'),
            (31, b'no key exchange is going on'),
            (4, True, b'\x1b[2Jdebug\xff', b''),
            (hostile.GLOBAL_REQUEST, b'hostkeys-00@openssh.com', False),
            (hostile.CHANNEL_OPEN, b'x11', 9, 1, 1, b'', 1),
            (hostile.CHANNEL_OPEN, b'auth-agent@openssh.com', 9, 1, 1),
            (hostile.CHANNEL_OPEN, b'forwarded-tcpip', 9, 1, 1, b'', 1, b'', 1),
            (hostile.EXT_INFO, 1, b'server-sig-algs', b''),
        ):
            transport._send_user_message(message(*fields))
        unknown = (hostile.REQUEST, b'eow@openssh.com', False)
        hostile.say(
            transport, channel, unknown, hostile.status(0), (hostile.EOF,)
        )

    assert hostile.run(folder, behave).status == 0


def test_a_question_whether_we_live_is_answered(folder: Path) -> None:
    answers = []

    def behave(transport: Any, channel: Any) -> None:
        answered = threading.Event()

        def count(channel: Any, message: Any) -> None:
            answers.append(channel)
            answered.set()

        transport._channel_handler_table = {
            **transport._channel_handler_table,
            hostile.FAILURE: count,
        }
        ask = (hostile.REQUEST, b'keepalive@openssh.com', True)
        for _ in range(3):
            hostile.say(transport, channel, ask)
            answered.wait(60)
            answered.clear()
        hostile.say(transport, channel, hostile.status(0), (hostile.EOF,))

    assert hostile.run(folder, behave).status == 0
    assert len(answers) == 3


def test_questions_without_end_are_too_many(folder: Path) -> None:
    hold = threading.Event()

    def behave(transport: Any, channel: Any) -> None:
        ask = (hostile.REQUEST, b'keepalive@openssh.com', True)
        with contextlib.suppress(EOFError):
            hostile.say(transport, channel, (hostile.DATA, b'x'), *[ask] * 2000)
            while transport.is_active():
                time.sleep(0.01)
        hold.set()

    error = hostile.failure(folder, behave, receive=lambda *args: hold.wait())
    assert 'too many requests' in error.reason


def test_what_comes_after_the_end_of_file_is_not_heard(folder: Path) -> None:
    seen = []

    def behave(transport: Any, channel: Any) -> None:
        late = (hostile.DATA, b'late')
        hostile.say(
            transport,
            channel,
            (hostile.DATA, b'x'),
            (hostile.EOF,),
            late,
            hostile.status(0),
        )

    hostile.run(folder, behave, lambda stream, data: seen.append(data))
    assert seen == [b'x']


def test_a_key_that_is_only_a_part_of_the_login_is_refused(
    folder: Path,
) -> None:
    def part(server: loopback.Hostile) -> None:
        server.server.result = paramiko.AUTH_PARTIALLY_SUCCESSFUL

    error = hostile.failure(folder, lambda t, c: None, prepare=part)
    assert error.reason == '127.0.0.1 refused the key as somebody'


def test_output_a_byte_at_a_time_is_whole(folder: Path) -> None:
    seen = []

    def behave(transport: Any, channel: Any) -> None:
        for number in range(500):
            byte = bytes([number % 256])
            hostile.say(
                transport,
                channel,
                (hostile.DATA, byte),
                (hostile.EXTENDED_DATA, 1, byte),
            )
        hostile.say(transport, channel, hostile.status(0), (hostile.EOF,))

    hostile.run(
        folder, behave, lambda stream, data: seen.append((stream, data))
    )
    wanted = bytes(number % 256 for number in range(500))
    for stream in (1, 2):
        assert b''.join(data for n, data in seen if n == stream) == wanted
