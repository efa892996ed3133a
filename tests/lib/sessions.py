"""Sessions as the tests open them, and what is common to these tests."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import loopback
import pytest

from hgext_delegate.ssh import session

Output = list[tuple[int, bytes]]


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Nothing may be left of a session, whatever became of it."""
    # What an earlier test has left to the collector is not to go just now.
    gc.collect()
    children = loopback.children()
    threads, open_ = threading.active_count(), loopback.descriptors()
    yield
    give_up = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < give_up:
        time.sleep(0.01)  # one of the other side's is about to end
    assert threading.active_count() == threads
    assert loopback.descriptors() == open_
    assert loopback.children() == children


def connect(sshd: loopback.Sshd, **changed: Any) -> session.Session:
    keywords: dict[str, Any] = {
        'port': sshd.port,
        'identity': str(sshd.identity),
        'hostkeys': [sshd.hostkey()],
        'config_path': 'none',
        **changed,
    }
    return session.open(keywords.pop('host', sshd.address), **keywords)


def run(
    sshd: loopback.Sshd,
    command: str,
    stdin: bytes = b'',
    receive: Callable[[int, bytes], None] = lambda stream, data: None,
    tick: Callable[[], None] = lambda: None,
    idle_timeout: float = 60,
    timeout: float = 60,
    **changed: Any,
) -> tuple[session.End, Output]:
    output: Output = []

    def keep(stream: int, data: bytes) -> None:
        output.append((stream, data))
        receive(stream, data)

    with connect(sshd, **changed) as opened:
        end = opened.execute(
            command,
            stdin,
            keep,
            tick,
            idle_timeout=idle_timeout,
            timeout=timeout,
        )
    return end, output


def text(output: Output, stream: int) -> bytes:
    return b''.join(data for number, data in output if number == stream)


def failure(sshd: loopback.Sshd, command: str, **how: Any) -> Any:
    with pytest.raises(session.SessionError) as caught:
        run(sshd, command, **how)
    return caught.value


def connect_to(folder: Path, port: int, **how: Any) -> session.Session:
    keywords: dict[str, Any] = {
        'port': port,
        'user': 'somebody',
        'identity': str(folder / 'identity'),
        'hostkeys': [loopback.public(folder / 'host_ed25519')],
        'config_path': 'none',
        **how,
    }
    return session.open('127.0.0.1', **keywords)


def printable(error: Any) -> Any:
    """ERROR, which nothing of the other side may have got into."""
    for words in (error.reason, error.remedy, error.detail):
        assert words.isascii() and words.isprintable() and len(words) <= 500
    return error
