# process.py - one program, and all that it starts
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''one program, in a session of its own, and the end of all that it starts'''

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

# How long a session may take to end after it was asked to, in seconds.
GRACE = 5.0

_PAUSE = 0.02
_CHUNK = 64 * 1024
# Chunks that are read after the end, which is more than a pipe holds: what
# is left running may never stop talking.
_LEFT = 32


class Process:
    '''a program that runs in ``folder``, with ``environ`` and no input

    It gets a pipe for its output, not a file: ``echo >/dev/stderr`` would
    cut that short. Raises OSError where it cannot be started.
    '''

    def __init__(
        self, argv: Sequence[str], folder: str, environ: Mapping[str, str]
    ):
        self._process = subprocess.Popen(
            argv,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdout
        self._pipe = self._process.stdout
        self._eof = False
        os.set_blocking(self._pipe.fileno(), False)
        self.session = self._process.pid

    def wait(
        self, receive: Callable[[bytes], None], check: Callable[[], None]
    ) -> int:
        '''hand its output to ``receive`` until it ends; its exit status, or
        the negative number of a signal

        ``check`` is called every 20 ms or so. If it raises, the whole session
        is ended first. ``receive`` must not raise.
        '''
        try:
            while self._process.poll() is None:
                self._read(receive, _PAUSE)
                check()
            for _ in range(_LEFT):
                if not self._read(receive, 0):
                    break
        except BaseException:
            end_session(self.session, lambda: self._reap(receive))
            raise
        return self._process.returncode

    def linger(self) -> None:
        '''take what is still printed by what it has left running

        To close the pipe would be to kill that at its next word.
        '''
        os.set_blocking(self._pipe.fileno(), True)
        while not self._eof:
            self._read(lambda data: None, None)

    def _reap(self, receive: Callable[[bytes], None]) -> None:
        self._process.poll()
        self._read(receive, _PAUSE)

    def _read(
        self, receive: Callable[[bytes], None], seconds: float | None
    ) -> bool:
        '''wait for output for ``seconds``; whether some came'''
        if self._eof:
            time.sleep(seconds or 0)
            return False
        ready, _, _ = select.select([self._pipe], [], [], seconds)
        if not ready:
            return False
        data = os.read(self._pipe.fileno(), _CHUNK)
        self._eof = not data
        if data:
            receive(data)
        return bool(data)


def end_session(session: int, wait: Callable[[], None]) -> None:
    '''end all processes of ``session``: TERM, and KILL after GRACE seconds

    Not its process group alone, which ``timeout`` and shells with job control
    leave. ``wait`` is called while it ends, and takes a moment.
    '''
    for number in (signal.SIGTERM, signal.SIGKILL):
        give_up = time.monotonic() + GRACE
        asked: set[int] = set()
        while time.monotonic() < give_up:
            living = members(session)
            if not living:
                return
            # All stand still first: a shell whose command is ended before
            # itself would go on to the next one.
            for step in (signal.SIGSTOP, number, signal.SIGCONT):
                for pid in living - asked:
                    with contextlib.suppress(OSError):
                        os.kill(pid, step)
            asked |= living
            wait()


def members(session: int) -> set[int]:
    '''the living processes of ``session``; its group where there is no /proc,
    as the negative number that os.kill() takes'''
    pids = _pids()
    if not pids:
        with contextlib.suppress(OSError):
            os.killpg(session, 0)
            return {-session}
    return {pid for pid in pids if _session(pid) == session}


def _environment(pid: int) -> list[bytes]:
    try:
        with open('/proc/%d/environ' % pid, 'rb') as file:
            return file.read().split(b'\0')
    except OSError:
        return []


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir('/proc') if name.isdigit()]
    except FileNotFoundError:
        return []


def _session(pid: int) -> int | None:
    try:
        with open('/proc/%d/stat' % pid, 'rb') as file:
            # proc(5): the name, in brackets, may hold anything
            fields = file.read().rpartition(b')')[2].split()
    except OSError:
        return None
    state, session = fields[0], int(fields[3])
    return None if state in (b'Z', b'X') else session


def marked_sessions(name: str, value: str) -> set[int]:
    '''the sessions that have ``name`` set to ``value`` in their environment

    That tells whose they are: numbers of processes are used again. Without
    /proc there are none.
    '''
    mark = os.fsencode('%s=%s' % (name, value))
    found = set()
    for pid in _pids():
        session = _session(pid)
        if session and mark in _environment(pid):
            found.add(session)
    return found
