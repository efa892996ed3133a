"""Whatever the far side of a gate does, only a whole yes is one."""

from __future__ import annotations

import contextlib
import mmap
import threading
import time
from pathlib import Path
from typing import Any

import hostile
import loopback
import pytest
import sessions

from hgext_delegate.config import targets
from hgext_delegate.delivery import connection, gate
from hgext_delegate.state import delegation, files, verdicts

NODE = '0123456789abcdef' * 2 + '01234567'
OUT = (hostile.DATA, b'all is well\n')
EOF, CLOSE = (hostile.EOF,), (hostile.CLOSE,)
REFUSED = (hostile.FAILURE,)
LATE = [hostile.status(0), OUT, EOF]


def ask(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    behave: hostile.Behaviour,
    size: int = 100,
) -> tuple[delegation.Delegation, gate.Asking]:
    """What a gate that does BEHAVE has said, if it is sent SIZE bytes."""
    server = loopback.Hostile(folder, behave)
    monkeypatch.setattr(
        connection,
        'connect',
        lambda *_args: sessions.connect_to(folder, server.port),
    )
    (tmp_path / 'log').mkdir()
    paths = files.Paths('r', '/r', str(tmp_path), str(tmp_path / 'box'))
    row = verdicts.new('ab' * 16, 'checks', NODE, None)
    target = targets.Target(
        'checks', 'h', 1, 'u', gate='optional', idle_timeout=3.0, timeout=5.0
    )
    asking = gate.Asking(
        target, row, paths, {}, mmap.mmap(-1, size), threading.Event()
    )
    with contextlib.closing(server):
        asking.start()
        asking.join(30)
    assert not asking.is_alive()
    return asking.row, asking


def says(*messages: Any) -> hostile.Behaviour:
    def behave(transport: Any, channel: Any) -> None:
        hostile.say(transport, channel, *messages)

    return behave


@pytest.mark.once
@pytest.mark.parametrize(
    ('messages', 'reason'),
    [
        ([OUT, EOF, CLOSE], 'without an exit status'),
        ([OUT, EOF], 'no output for 3 s'),
        ([], 'no output for 3 s'),
        ([OUT, hostile.status(0)], 'without the end'),
        ([hostile.status(1), hostile.status(0), EOF], 'exit status 1'),
        ([OUT, hostile.status(256), EOF], 'exit status 256'),
        ([OUT, hostile.status(0), REFUSED, REFUSED, EOF], ''),
    ],
)
def test_what_is_no_whole_yes_is_a_no(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    messages: list[Any],
    reason: str,
) -> None:
    row, asking = ask(folder, tmp_path, monkeypatch, says(*messages))
    assert row.state == delegation.REFUSED
    assert reason in row.reason, row.reason
    # an optional one does not pass either: it may have begun to look
    assert asking.was_asked


@pytest.mark.once
def test_a_whole_yes_is_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, _asking = ask(folder, tmp_path, monkeypatch, says(*LATE))
    assert row.state == delegation.PASSED


@pytest.mark.once
@pytest.mark.parametrize('drips', [False, True])
def test_who_does_not_read_the_bundle_holds_the_push_for_no_longer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drips: bool
) -> None:
    def behave(transport: Any, channel: Any) -> None:
        while drips and transport.is_active():
            hostile.say(transport, channel, OUT)
            time.sleep(0.1)

    began = time.monotonic()
    row, _asking = ask(folder, tmp_path, monkeypatch, behave, 100 * 1024**2)
    assert row.state == delegation.REFUSED
    assert time.monotonic() - began < 20
    expected = 'not finished after 5 s' if drips else 'no output for 3 s'
    assert row.reason == expected
