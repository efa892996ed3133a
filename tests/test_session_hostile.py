"""Sessions with an other side that means harm, or is broken."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import loopback
import paramiko
import pytest
from loopback import message

from hgext_delegate import guard, inbox, session

DISCONNECT, EXT_INFO, SERVICE_ACCEPT = 1, 7, 6
GLOBAL_REQUEST, CHANNEL_OPEN = 80, 90
DATA, EXTENDED_DATA, EOF, CLOSE, REQUEST, SUCCESS, FAILURE = range(94, 101)
WINDOW_ADJUST = 93

Behaviour = Callable[[Any, Any], None]


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('keys')
    loopback.keygen(folder / 'host_ed25519')
    loopback.keygen(folder / 'identity')
    return folder


@pytest.fixture(autouse=True)
def nothing_is_left_or_said(
    capfd: pytest.CaptureFixture[str],
) -> Iterator[None]:
    threads, open_ = threading.active_count(), loopback.descriptors()
    yield
    assert threading.active_count() == threads
    assert loopback.descriptors() == open_
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ('', '')


def connect(folder: Path, port: int, **how: Any) -> session.Session:
    keywords: dict[str, Any] = {
        'port': port,
        'user': 'somebody',
        'identity': str(folder / 'identity'),
        'hostkeys': [loopback.public(folder / 'host_ed25519')],
        'config_path': str(folder / 'none'),
        **how,
    }
    return session.open('127.0.0.1', **keywords)


def run(
    folder: Path,
    behave: Behaviour,
    receive: Callable[[int, bytes], None] = lambda stream, data: None,
    prepare: Callable[[loopback.Hostile], None] = lambda server: None,
    **how: Any,
) -> session.End:
    limits = {'idle_timeout': 60.0, 'timeout': 60.0, **how}
    server = loopback.Hostile(folder, behave)
    prepare(server)
    with contextlib.closing(server), connect(folder, server.port) as opened:
        return opened.execute(
            'command', b'input', receive, lambda: None, **limits
        )


def failure(folder: Path, behave: Behaviour, **how: Any) -> Any:
    with pytest.raises(session.SessionError) as caught:
        run(folder, behave, **how)
    return printable(caught.value)


def printable(error: Any) -> Any:
    for words in (error.reason, error.remedy, error.detail):
        assert words.isascii() and words.isprintable() and len(words) <= 500
    return error


def say(transport: Any, channel: Any, *messages: Any) -> None:
    for number, *fields in messages:
        built = message(number, channel.remote_chanid, *fields)
        transport._send_user_message(built)


def status(number: int) -> tuple[Any, ...]:
    return (REQUEST, b'exit-status', False, number)


def test_a_second_status_does_not_replace_the_first(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        say(transport, channel, status(3), status(0), (EOF,), (CLOSE,))

    assert run(folder, behave) == session.End(3, None)


def test_a_status_does_not_replace_a_signal(folder: Path) -> None:
    signal = (REQUEST, b'exit-signal', False, b'TERM', False, b'', b'')

    def behave(transport: Any, channel: Any) -> None:
        say(transport, channel, signal, status(0), (EOF,))

    assert run(folder, behave) == session.End(None, 'TERM')


def test_the_greatest_status_is_a_status(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        say(transport, channel, (EOF,), status(0xFFFFFFFF))

    assert run(folder, behave) == session.End(0xFFFFFFFF, None)


@pytest.mark.parametrize('name', [b'\x1b[2J', b'', b'X' * 1000, b'\xff'])
def test_the_name_of_a_signal_cannot_be_anything(
    folder: Path, name: bytes
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        signal = (REQUEST, b'exit-signal', False, name, False, b'', b'')
        say(transport, channel, signal, (EOF,))

    assert run(folder, behave) == session.End(None, 'unknown')


@pytest.mark.parametrize(
    'messages',
    [[(EOF,), status(0)], [status(0), (EOF,)], [status(0), (CLOSE,)]],
)
def test_status_and_end_may_come_in_any_order(
    folder: Path, messages: list[tuple[Any, ...]]
) -> None:
    seen = []

    def behave(transport: Any, channel: Any) -> None:
        say(transport, channel, (DATA, b'last words'), *messages)

    def receive(stream: int, data: bytes) -> None:
        seen.append((stream, data))

    assert run(folder, behave, receive).status == 0
    assert seen == [(1, b'last words')]


@pytest.mark.parametrize('messages', [[(CLOSE,)], [(EOF,), (CLOSE,)]])
def test_an_end_without_a_status_is_no_success(
    folder: Path, messages: list[tuple[Any, ...]]
) -> None:
    error = failure(folder, lambda t, c: say(t, c, *messages))
    assert error.reason.endswith('without an exit status')
    assert error.started


@pytest.mark.parametrize(
    'messages', [[], [status(0)], [(EOF,)], [(DATA, b'x'), status(0)]]
)
def test_a_connection_that_breaks_before_the_end_is_no_success(
    folder: Path, messages: list[tuple[Any, ...]]
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        say(transport, channel, *messages)
        transport.close()

    error = failure(folder, behave)
    assert error.reason.endswith('lost midway')
    assert error.started


def test_a_connection_that_breaks_after_the_end_is_success(
    folder: Path,
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        say(transport, channel, (DATA, b'x'), status(0), (EOF,), (CLOSE,))
        transport.sock.shutdown(socket.SHUT_WR)

    seen = []
    for _ in range(20):
        end = run(folder, behave, lambda stream, data: seen.append(data))
        assert end.status == 0
    assert seen == [b'x'] * 20


def refuse(server: loopback.Hostile) -> None:
    server.server.accept = False


def test_a_command_that_is_refused_has_not_started(folder: Path) -> None:
    error = failure(folder, lambda t, c: None, prepare=refuse)
    assert error.reason.startswith('session refused by 127.0.0.1 port')
    assert not error.started


@pytest.mark.parametrize(
    'before', [(SUCCESS,), (DATA, b'x'), status(0), (EXTENDED_DATA, 1, b'x')]
)
def test_what_has_started_cannot_be_refused(
    folder: Path, before: tuple[Any, ...]
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        say(transport, channel, before, (FAILURE,))

    assert failure(folder, behave).started


def test_no_answer_to_the_command_is_a_limit_too(folder: Path) -> None:
    def stall(server: loopback.Hostile) -> None:
        def check(channel: Any, command: bytes) -> bool:
            while channel.transport.is_active():
                time.sleep(0.01)
            return True

        server.server.check_channel_exec_request = check  # type: ignore[method-assign]

    error = failure(folder, lambda t, c: None, prepare=stall, idle_timeout=1)
    assert isinstance(error, session.Expired)
    assert error.started


def test_more_output_than_the_window_allows_ends_the_session(
    folder: Path,
) -> None:
    flooded = threading.Event()

    def behave(transport: Any, channel: Any) -> None:
        with contextlib.suppress(EOFError):
            say(transport, channel, *[(DATA, bytes(32768))] * 200)
            # Sent though nothing was asked of it, until it is cut off.
            while transport.is_active():
                time.sleep(0.01)
        flooded.set()

    error = failure(folder, behave, receive=lambda *args: flooded.wait())
    assert error.reason.endswith(
        'broke the SSH protocol by more data than its window allows'
    )
    assert error.started


@pytest.mark.parametrize(
    'bad',
    [
        (DATA,),
        (DATA, (b'\x00\x0f\xff\xff',)),
        (DATA, (b'\x00\x00\x00\x01ab',)),
        (EXTENDED_DATA, 1),
        (EXTENDED_DATA, 2, b'x'),
        (WINDOW_ADJUST,),
        (REQUEST,),
        (REQUEST, b'exit-status'),
        (REQUEST, b'exit-status', False),
        (REQUEST, b'exit-status', False, (b'\x00\x00\x00',)),
        (REQUEST, b'exit-status', False, 0, 0),
        (REQUEST, b'exit-signal', False),
    ],
)
def test_a_damaged_message_ends_the_session(
    folder: Path, bad: tuple[Any, ...]
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        say(transport, channel, bad, status(0), (EOF,), (CLOSE,))

    error = failure(folder, behave)
    assert 'broke the SSH protocol' in error.reason
    assert error.started


def test_a_window_without_limit_ends_the_session(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        say(transport, channel, *[(WINDOW_ADJUST, 0xFFFFFFFF)] * 2)

    assert 'a window beyond its limit' in failure(folder, behave).reason


# Long enough to be a packet, and nothing that was encrypted with these keys.
FORGED = struct.pack('>I', 64) + bytes(200)


def test_a_forged_packet_ends_the_session(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        transport.sock.sendall(FORGED)
        say(transport, channel, status(0), (EOF,), (CLOSE,))

    error = failure(folder, behave)
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
        connect(folder, server.port)
    assert 'broke the SSH protocol' in caught.value.reason
    assert not caught.value.started


def test_a_host_key_that_changes_midway_ends_the_session(
    folder: Path,
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        # The server has answered the request once it reads the input.
        channel.recv(1)
        other = str(folder / 'identity')
        transport.add_server_key(paramiko.Ed25519Key(filename=other))
        transport.renegotiate_keys()

    error = failure(folder, behave)
    assert error.reason.endswith('is not the one that is pinned')
    assert error.started


def test_a_jump_host_is_held_to_its_window_too() -> None:
    buffer = paramiko.buffered_pipe.BufferedPipe()
    opened = types.SimpleNamespace(in_buffer=buffer)
    for _ in range(guard.WINDOW // 32768):
        guard._feed(opened, paramiko.Message(b'\0\0\x80\0' + bytes(32768)))
    with pytest.raises(inbox.ViolationError):
        guard._feed(opened, paramiko.Message(b'\0\0\0\1x'))
    assert len(buffer) == guard.WINDOW


@pytest.mark.parametrize(
    'fields',
    [
        (EXT_INFO, 0xFFFFFFFF),
        (SERVICE_ACCEPT, b'ssh-userauth'),
        (51, b'publickey', False),
        (52,),
        (200,),
        (GLOBAL_REQUEST, b'\xff\xfe', True),
        (CHANNEL_OPEN, b'\xff', 0, 0, 0),
        (DATA, 77, b'x'),
        (20, (bytes(17),)),
        (DISCONNECT, 2, b'\x1b[2J\xff', b''),
        (DISCONNECT, 2, b'\x1b[2J bye', b''),
    ],
)
def test_what_makes_no_sense_ends_the_session(
    folder: Path, fields: tuple[Any, ...]
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        transport._send_user_message(message(*fields))

    error = failure(folder, behave)
    assert error.started
    words = ('broke', 'lost midway', 'no algorithm in common')
    assert any(word in error.reason for word in words)


def test_what_means_nothing_is_passed_over(folder: Path) -> None:
    def behave(transport: Any, channel: Any) -> None:
        for fields in (
            (2, b'ignore'),
            (31, b'no key exchange is going on'),
            (4, True, b'\x1b[2Jdebug\xff', b''),
            (GLOBAL_REQUEST, b'hostkeys-00@openssh.com', False),
            (CHANNEL_OPEN, b'x11', 9, 1, 1, b'', 1),
            (CHANNEL_OPEN, b'auth-agent@openssh.com', 9, 1, 1),
            (CHANNEL_OPEN, b'forwarded-tcpip', 9, 1, 1, b'', 1, b'', 1),
            (EXT_INFO, 1, b'server-sig-algs', b''),
        ):
            transport._send_user_message(message(*fields))
        unknown = (REQUEST, b'eow@openssh.com', False)
        say(transport, channel, unknown, status(0), (EOF,))

    assert run(folder, behave).status == 0


def test_a_question_whether_we_live_is_answered(folder: Path) -> None:
    answers = []

    def behave(transport: Any, channel: Any) -> None:
        answered = threading.Event()

        def count(channel: Any, message: Any) -> None:
            answers.append(channel)
            answered.set()

        transport._channel_handler_table = {
            **transport._channel_handler_table,
            FAILURE: count,
        }
        ask = (REQUEST, b'keepalive@openssh.com', True)
        for _ in range(3):
            say(transport, channel, ask)
            answered.wait(60)
            answered.clear()
        say(transport, channel, status(0), (EOF,))

    assert run(folder, behave).status == 0
    assert len(answers) == 3


def test_questions_without_end_are_too_many(folder: Path) -> None:
    hold = threading.Event()

    def behave(transport: Any, channel: Any) -> None:
        ask = (REQUEST, b'keepalive@openssh.com', True)
        with contextlib.suppress(EOFError):
            say(transport, channel, (DATA, b'x'), *[ask] * 2000)
            while transport.is_active():
                time.sleep(0.01)
        hold.set()

    error = failure(folder, behave, receive=lambda *args: hold.wait())
    assert 'too many requests' in error.reason


def test_what_comes_after_the_end_of_file_is_not_heard(
    folder: Path,
) -> None:
    seen = []

    def behave(transport: Any, channel: Any) -> None:
        late = (DATA, b'late')
        say(transport, channel, (DATA, b'x'), (EOF,), late, status(0))

    run(folder, behave, lambda stream, data: seen.append(data))
    assert seen == [b'x']


def test_a_key_that_is_only_a_part_of_the_login_is_refused(
    folder: Path,
) -> None:
    def part(server: loopback.Hostile) -> None:
        server.server.result = paramiko.AUTH_PARTIALLY_SUCCESSFUL

    error = failure(folder, lambda t, c: None, prepare=part)
    assert error.reason == '127.0.0.1 refused the key as somebody'


def test_output_a_byte_at_a_time_is_whole(folder: Path) -> None:
    seen = []

    def behave(transport: Any, channel: Any) -> None:
        for number in range(500):
            byte = bytes([number % 256])
            say(transport, channel, (DATA, byte), (EXTENDED_DATA, 1, byte))
        say(transport, channel, status(0), (EOF,))

    run(folder, behave, lambda stream, data: seen.append((stream, data)))
    wanted = bytes(number % 256 for number in range(500))
    for stream in (1, 2):
        assert b''.join(data for n, data in seen if n == stream) == wanted


def refused(folder: Path, handle: Callable[[socket.socket], None]) -> Any:
    """What is said of a server that is no SSH server."""
    trouble = session.SessionError
    with loopback.bare(handle) as port, pytest.raises(trouble) as caught:
        connect(folder, port, connect_timeout=1)
    error = printable(caught.value)
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
        'no algorithm in common' in error.reason and b'1.5' in said
    )


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
        'from hgext_delegate import session\n'
        'try:\n'
        '    session.open("127.0.0.1", port=int(sys.argv[1]),\n'
        '        identity=sys.argv[2], config_path="/dev/null/none",\n'
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
            cwd=Path(session.__file__).parent.parent,
            capture_output=True,
            check=True,
        )
    assert b'does not speak SSH' in result.stdout
    assert result.stderr == b''


def test_no_thread_outlives_a_login_that_is_not_answered(
    folder: Path,
) -> None:
    asked, stop = threading.Event(), threading.Event()

    def stall(username: str, key: Any) -> int:
        asked.set()
        stop.wait(60)
        return paramiko.AUTH_FAILED

    server = loopback.Hostile(folder, lambda t, c: None)
    server.server.check_auth_publickey = stall  # type: ignore[method-assign]
    with contextlib.closing(server):
        with pytest.raises(session.SessionError) as caught:
            connect(folder, server.port, connect_timeout=1)
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
        opened = connect(folder, server.port, connect_timeout=1)
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
            DATA: deaf,
        }
        say(transport, channel, (WINDOW_ADJUST, 1 << 30))

    server = loopback.Hostile(folder, behave)
    with contextlib.closing(server):
        opened = connect(folder, server.port)
        with opened, pytest.raises(session.Expired) as caught:
            opened.execute(
                *('x', bytes(50_000_000), print, lambda: None),
                idle_timeout=1,
                timeout=60,
            )
        stop.set()
    assert caught.value.reason == 'no output for 1 s'
