"""Connections to what is no SSH server, or a silent one."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import loopback
import paramiko
import pytest
import sessions

from hgext_delegate.ssh import session

pytestmark = pytest.mark.usefixtures('nothing_is_left_or_said')


def refused(folder: Path, handle: Callable[[socket.socket], None]) -> Any:
    """What is said of a server that is no SSH server."""
    trouble = session.SessionError
    with loopback.bare(handle) as port, pytest.raises(trouble) as caught:
        sessions.connect_to(folder, port, connect_timeout=1)
    error = sessions.printable(caught.value)
    assert not error.started
    assert f'127.0.0.1 port {port}' in error.reason
    return error


BANNER = b'SSH-2.0-test\r\n'


def test_a_server_that_says_nothing_is_given_up(folder: Path) -> None:
    error = refused(folder, lambda there: None)
    assert error.reason.startswith(
        'timed out after 1 s while waiting for the SSH banner of'
    )


def test_a_server_that_says_only_its_name_is_given_up(folder: Path) -> None:
    error = refused(folder, lambda there: there.sendall(BANNER))
    assert error.reason.startswith(
        'timed out after 1 s while exchanging keys with'
    )


@pytest.mark.parametrize('start', [b'', BANNER + struct.pack('>IB', 252, 4)])
def test_a_server_that_says_a_byte_at_a_time_is_given_up(
    folder: Path, start: bytes
) -> None:
    def drip(there: socket.socket) -> None:
        def run() -> None:
            with contextlib.suppress(OSError):
                there.sendall(start)
                while True:
                    there.sendall(b'\4')
                    time.sleep(0.05)

        dripping.append(threading.Thread(target=run))
        dripping[-1].start()

    dripping: list[threading.Thread] = []
    error = refused(folder, drip)
    dripping[0].join()
    assert error.reason.startswith('timed out after 1 s while')


@pytest.mark.parametrize(
    'said',
    [
        b'HTTP/1.1 400 Bad Request\r\n\r\n' + b'x\n' * 100,
        b'\x1b[2J\x1b]0;title\x07\n' * 100,
        b'\xff\xfe\n',
        b'SSH-1.5-old\r\n',
        b'x' * 200_000,
        b'x\n' * 200,
    ],
)
def test_a_server_that_is_none_is_told(folder: Path, said: bytes) -> None:
    error = refused(folder, lambda there: there.sendall(said))
    assert 'does not speak SSH' in error.reason or (
        'only an old version of SSH' in error.reason and b'1.5' in said
    )


@pytest.mark.parametrize(
    ('said', 'shown'),
    [
        (b'HTTP/1.1 400 Bad Request\r\n\r\n' + b'x\n' * 100, 'HTTP/1.1 400 Ba'),
        (b'\r\n\n\x1b]0;title\x07\n' * 100, '?]0;title?\''),
        (b'x' * 200_000, 'x' * 80 + '\''),
    ],
)
def test_the_first_line_of_what_is_no_ssh_is_shown(
    folder: Path, said: bytes, shown: str
) -> None:
    error = refused(folder, lambda there: there.sendall(said))
    assert f"it says '{shown}" in error.remedy
    assert error.remedy.endswith("'; check the port")


def test_the_first_line_of_who_then_waits_is_shown(folder: Path) -> None:
    error = refused(folder, lambda there: there.sendall(b'220 mail ESMTP\r\n'))
    assert error.reason.startswith('timed out after 1 s while waiting for')
    assert error.remedy == "it says '220 mail ESMTP'"


def test_what_sshd_says_before_it_hangs_up_is_shown(folder: Path) -> None:
    def handle(there: socket.socket) -> None:
        there.sendall(b'Exceeded MaxStartups\r\n')
        there.shutdown(socket.SHUT_WR)

    error = refused(folder, handle)
    assert error.reason.startswith('connection closed while waiting for')
    assert error.remedy.startswith("it says 'Exceeded MaxStartups'; the log")


@pytest.mark.parametrize('said', [b'', b'SSH-2.0', BANNER])
def test_a_server_that_hangs_up_is_told(folder: Path, said: bytes) -> None:
    def handle(there: socket.socket) -> None:
        there.sendall(said)
        there.shutdown(socket.SHUT_WR)

    step = 'exchanging keys with' if said == BANNER else 'waiting for'
    error = refused(folder, handle)
    assert error.reason.startswith(f'connection closed while {step}')


@pytest.mark.parametrize(
    'packet',
    [
        b'',
        struct.pack('>I', 0x7FFFFFFF),
        struct.pack('>I', 0xFFFFFFFF),
        struct.pack('>I', 300_004),
        struct.pack('>I', 0),
        struct.pack('>IB', 12, 255) + bytes(11),
        struct.pack('>IB', 12, 4) + bytes(11),
        struct.pack('>IB', 12, 4) + b'\x14' + bytes(10),
        bytes(range(256)) * 10,
        b'\xff' * 1000,
    ],
)
def test_a_packet_that_is_none_ends_the_connection(
    folder: Path, packet: bytes
) -> None:
    said = BANNER + packet.ljust(40, b'\0')
    error = refused(folder, lambda there: there.sendall(said))
    assert 'broke the SSH protocol' in error.reason or (
        'no algorithm in common' in error.reason
    )


@pytest.mark.parametrize('logging', ['yes', 'no'])
def test_nothing_is_logged_to_standard_error(
    folder: Path, logging: str
) -> None:
    # With logging set up, and without, when it has a last resort.
    code = (
        'import logging, sys\n'
        'if sys.argv[4] == "yes":\n'
        '    logging.basicConfig(level=1)\n'
        'from hgext_delegate.ssh import session\n'
        'try:\n'
        '    session.open("127.0.0.1", port=int(sys.argv[1]),\n'
        '        identity=sys.argv[2], config_path="none",\n'
        '        hostkeys=[sys.argv[3]])\n'
        'except session.SessionError as error:\n'
        '    print(error)\n'
    )
    said = b'\x1b[2J\n' * 200
    with loopback.bare(lambda there: there.sendall(said)) as port:
        result = subprocess.run(
            [
                *(sys.executable, '-c', code, str(port)),
                folder / 'identity',
                loopback.public(folder / 'host_ed25519'),
                logging,
            ],
            cwd=Path(session.__file__).parents[2],
            capture_output=True,
            check=True,
        )
    assert b'does not speak SSH' in result.stdout
    assert result.stderr == b''


def test_no_thread_outlives_a_login_that_is_not_answered(folder: Path) -> None:
    asked, stop = threading.Event(), threading.Event()

    def stall(username: str, key: Any) -> int:
        asked.set()
        stop.wait(60)
        return paramiko.AUTH_FAILED

    server = loopback.Hostile(folder, lambda t, c: None)
    server.server.check_auth_publickey = stall  # type: ignore[method-assign]
    with contextlib.closing(server):
        with pytest.raises(session.SessionError) as caught:
            sessions.connect_to(folder, server.port, connect_timeout=1)
        stop.set()
    assert asked.is_set()
    assert caught.value.reason.startswith(
        'timed out after 1 s while logging in to'
    )


def test_a_session_that_is_not_opened_is_given_up(folder: Path) -> None:
    stop = threading.Event()

    def stall(kind: str, chanid: int) -> int:
        stop.wait(60)
        return paramiko.OPEN_FAILED_CONNECT_FAILED

    server = loopback.Hostile(folder, lambda t, c: None)
    server.server.check_channel_request = stall  # type: ignore[method-assign]
    with contextlib.closing(server):
        opened = sessions.connect_to(folder, server.port, connect_timeout=1)
        with opened, pytest.raises(session.SessionError) as caught:
            opened.execute(
                *('x', b'', print, print), idle_timeout=60, timeout=60
            )
        stop.set()
    assert caught.value.reason.startswith(
        'timed out after 1 s while opening a session on'
    )
    assert not caught.value.started


def test_input_that_is_never_read_does_not_outlast_the_limit(
    folder: Path,
) -> None:
    # It opens a great window, and then reads nothing from its socket.
    stop = threading.Event()

    def behave(transport: Any, channel: Any) -> None:
        def deaf(channel: Any, message: Any) -> None:
            stop.wait(60)

        transport._channel_handler_table = {
            **transport._channel_handler_table,
            hostile.DATA: deaf,
        }
        hostile.say(transport, channel, (hostile.WINDOW_ADJUST, 1 << 30))

    server = loopback.Hostile(folder, behave)
    with contextlib.closing(server):
        opened = sessions.connect_to(folder, server.port)
        with opened, pytest.raises(session.Expired) as caught:
            opened.execute(
                *('x', bytes(50_000_000), print, lambda: None),
                idle_timeout=1,
                timeout=60,
            )
        stop.set()
    assert caught.value.reason == 'no output for 1 s'
