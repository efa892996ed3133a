"""A hostile server takes hardly more of our memory than a quiet deploy."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import loopback
import pytest
from sources import CHECKOUT

MOST = 16 * 1024  # KB
QUIET = [hostile.status(0), (hostile.EOF,), (hostile.CLOSE,)]
# A process of its own has no other session's memory.
CLIENT = """\
import re, sys
from pathlib import Path
import sessions
from hgext_delegate.ssh import session
try:
    with sessions.connect_to(Path(sys.argv[1]), int(sys.argv[2])) as opened:
        opened.execute(
            'command', b'input', lambda *args: None, lambda: None,
            idle_timeout=5, timeout=5,
        )
except session.SessionError as error:
    print(error.reason, file=sys.stderr)
# ru_maxrss would count what had been forked before this was begun.
status = Path('/proc/self/status').read_text('ascii')
print(re.search(r'VmHWM:[^0-9]+([0-9]+)', status)[1])
"""


def used(
    folder: Path, behave: Callable[[Any, Any], None]
) -> subprocess.CompletedProcess[str]:
    """A session in a process of its own, which prints its memory in KB."""
    with contextlib.closing(loopback.Hostile(folder, behave)) as server:
        path = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / 'tests' / 'lib')])
        return subprocess.run(
            [sys.executable, '-c', CLIENT, str(folder), str(server.port)],
            env={**os.environ, 'PYTHONPATH': path},
            capture_output=True,
            text=True,
            check=True,
        )


def quiet(transport: Any, channel: Any) -> None:
    hostile.say(transport, channel, *QUIET)


def overrun(transport: Any, channel: Any) -> None:
    """64 MB at once, whatever the window."""
    data = [(hostile.DATA, bytes(32768))]
    hostile.say(transport, channel, *data * 2000)


def output(transport: Any, channel: Any) -> None:
    """32 MB as the window allows, without a newline."""
    for _ in range(1000):
        channel.sendall(bytes(32768))
    quiet(transport, channel)


def requests(transport: Any, channel: Any) -> None:
    asked = loopback.message(hostile.GLOBAL_REQUEST, b'x' * 30000, False)
    for _ in range(1000):
        transport._send_user_message(asked)
    quiet(transport, channel)


def channels(transport: Any, channel: Any) -> None:
    for number in range(20_000):
        transport._send_user_message(
            loopback.message(
                hostile.CHANNEL_OPEN, b'session', number, 2**31, 2**15
            )
        )
    quiet(transport, channel)


def nothing(transport: Any, channel: Any) -> None:
    """32 MB of SSH_MSG_IGNORE."""
    for _ in range(1000):
        transport._send_user_message(loopback.message(2, bytes(32000)))
    quiet(transport, channel)


def packets(transport: Any, channel: Any) -> None:
    """Packets that are as long as OpenSSH allows, and then one beyond."""
    for size in (*[250_000] * 100, 300_000):
        transport._send_user_message(loopback.message(2, bytes(size)))
    quiet(transport, channel)


@pytest.fixture(scope='module')
def usual(folder: Path) -> int:
    done = used(folder, quiet)
    assert not done.stderr
    return int(done.stdout)


@pytest.mark.parametrize(
    'behave', [overrun, output, requests, channels, nothing, packets]
)
def test_it_takes_hardly_more_than_a_quiet_deploy(
    folder: Path, usual: int, behave: Callable[[Any, Any], None]
) -> None:
    def until_it_is_cut_off(transport: Any, channel: Any) -> None:
        with contextlib.suppress(EOFError, OSError):
            behave(transport, channel)

    done = used(folder, until_it_is_cut_off)
    assert int(done.stdout) - usual <= MOST, done.stderr
