"""Servers that misbehave as a test says, and a session with one.

The session is that of a delegation; or, while `as_gate` is true, that of a
gate, which must take nothing but a whole yes for one.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import loopback
import pytest
import sessions
from loopback import message

from hgext_delegate.config import targets
from hgext_delegate.delivery import connection, gate
from hgext_delegate.ssh import session
from hgext_delegate.state import delegation, files, verdicts

as_gate = False

DISCONNECT, EXT_INFO, SERVICE_ACCEPT = 1, 7, 6
GLOBAL_REQUEST, CHANNEL_OPEN = 80, 90
DATA, EXTENDED_DATA, EOF, CLOSE, REQUEST, SUCCESS, FAILURE = range(94, 101)
WINDOW_ADJUST = 93

Behaviour = Callable[[Any, Any], None]


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
    with (
        contextlib.closing(server),
        sessions.connect_to(folder, server.port) as opened,
    ):
        if as_gate:
            return _ask(opened, receive, limits)
        return opened.execute(
            'command', b'input', receive, lambda: None, **limits
        )


def _ask(
    opened: session.Session,
    receive: Callable[[int, bytes], None],
    limits: dict[str, float],
) -> session.End:
    """What the session of a gate ends with, and what the gate makes of it."""
    ends: list[session.End] = []
    errors: list[session.SessionError] = []
    execute = opened.execute

    def watched(
        command: str, data: Any, hear: Any, *args: Any, **how: Any
    ) -> Any:
        def both(stream: int, data: bytes) -> None:
            hear(stream, data)
            receive(stream, data)

        try:
            ends.append(
                execute(command, data, both, *args, **{**how, **limits})
            )
        except session.SessionError as exc:
            errors.append(exc)
            raise
        return ends[0]

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(opened, 'execute', watched),
        mock.patch.object(connection, 'connect', lambda *_args: opened),
    ):
        Path(folder, 'log').mkdir()
        paths = files.Paths('r', '/r', folder, folder + '/box')
        row = verdicts.new('ab' * 16, 'checks', '0' * 40, None)
        target = targets.Target('checks', 'h', 1, 'u')
        asking = gate.Asking(
            target, row, paths, {}, b'a bundle', threading.Event()
        )
        asking.run()
    if errors:
        assert asking.row.state == delegation.REFUSED
        assert asking.was_asked == errors[0].started
        raise errors[0]
    is_whole_yes = ends == [session.End(0, None)]
    assert (asking.row.state == delegation.PASSED) == is_whole_yes
    return ends[0]


def failure(folder: Path, behave: Behaviour, **how: Any) -> Any:
    with pytest.raises(session.SessionError) as caught:
        run(folder, behave, **how)
    return sessions.printable(caught.value)


def say(transport: Any, channel: Any, *messages: Any) -> None:
    for number, *fields in messages:
        built = message(number, channel.remote_chanid, *fields)
        transport._send_user_message(built)


def status(number: int) -> tuple[Any, ...]:
    return (REQUEST, b'exit-status', False, number)
