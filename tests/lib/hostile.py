"""Servers that misbehave as a test says, and a session with one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loopback
import pytest
import sessions
from loopback import message

from hgext_delegate.ssh import session

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
        return opened.execute(
            'command', b'input', receive, lambda: None, **limits
        )


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
