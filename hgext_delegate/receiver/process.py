# SPDX-License-Identifier: GPL-2.0-or-later
'''a process, in a session of its own, and the end of all that it starts

Either a program, or a function of ours in a child that is only forked: that
has all modules loaded, and can hang and be ended as a program can.
'''

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

# How long a session may take to end after it was asked to, in seconds.
GRACE = 5.0
# What has ended may have left its output open, for a filter that still holds
# lines, or for a server that goes on: until nothing came for the first of
# these, and at most for the second, in seconds.
SILENCE = 2.0
LONGEST = 5.0

_PAUSE = 0.02
_CHUNK = 64 * 1024


class Process:
    '''the process ``pid``, which leads a session and writes to ``pipe``

    It gets a pipe for its output, not a file: ``echo >/dev/stderr`` would
    cut that short. ``poll()`` is its exit status, or None while it runs.
    '''

    def __init__(self, pid: int, pipe: int, poll: Callable[[], int | None]):
        self.session = pid
        self._pipe = pipe
        self._poll = poll
        self._eof = False
        self._naps = 0
        os.set_blocking(pipe, False)

    @property
    def is_kept_open(self) -> bool:
        '''whether something that it has left running has its output still'''
        return not self._eof

    def wait(
        self, receive: Callable[[bytes], None], check: Callable[[], None]
    ) -> int:
        '''hand its output to ``receive`` until it ends; its exit status, or
        the negative number of a signal

        ``check`` is called every 20 ms or so. If it raises, the whole session
        is ended first. ``receive`` must not raise.
        '''
        try:
            while (status := self._poll()) is None:
                self._read(receive, _PAUSE)
                check()
        except BaseException:
            self.end(lambda: self._reap(receive))
            raise
        now = time.monotonic()
        quiet, give_up = now + SILENCE, now + LONGEST
        while not self._eof and now < min(quiet, give_up):
            came = self._read(receive, _PAUSE)
            now = time.monotonic()
            quiet = now + SILENCE if came else quiet
        self.finish()
        return status

    def end(self, wait: Callable[[], None]) -> None:
        '''end all of it; see end_session()'''
        end_session(self.session, wait)

    def finish(self) -> None:
        '''the program has ended, and what it has left running may go on'''

    def close(self) -> None:
        os.close(self._pipe)

    def linger(self) -> None:
        '''take what is still printed by what it has left running

        To close the pipe would be to kill that at its next word.
        '''
        os.set_blocking(self._pipe, True)
        while not self._eof:
            self._read(lambda data: None, None)

    def _reap(self, receive: Callable[[bytes], None]) -> None:
        self._poll()
        self._read(receive, _PAUSE)

    def _read(
        self, receive: Callable[[bytes], None], seconds: float | None
    ) -> bool:
        '''wait for output for ``seconds``; whether some came'''
        if self._eof:
            # mostly it is just about to end
            self._naps += 1
            time.sleep(_PAUSE if self._naps > 20 else _PAUSE / 10)
            return False
        ready, _, _ = select.select([self._pipe], [], [], seconds)
        if not ready:
            return False
        data = os.read(self._pipe, _CHUNK)
        self._eof = not data
        if data:
            receive(data)
        return bool(data)


def start(
    argv: Sequence[str], folder: str, environ: Mapping[str, str]
) -> Process:
    '''a program in ``folder``, with ``environ`` and no input

    Raises OSError where it cannot be started.
    '''
    started = subprocess.Popen(
        argv,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
    )
    assert started.stdout
    return Process(started.pid, started.stdout.fileno(), started.poll)


def fork(work: Callable[[], None]) -> Process:
    '''``work`` in a child, with no input; it exits with 0, or 1 if that raises

    Once this process ends, however, the kernel ends the child's group.
    '''
    reading, writing = os.pipe()
    alive, mine = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            os.close(mine)
            _end_with(alive)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for standard in (1, 2):
                os.dup2(writing, standard)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            work()
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    os.close(alive)
    ended: list[int] = []

    def poll() -> int | None:
        if not ended:
            found, code = os.waitpid(pid, os.WNOHANG)
            if found:
                os.close(mine)
                ended.append(os.waitstatus_to_exitcode(code))
        return ended[0] if ended else None

    return Process(pid, reading, poll)


def _end_with(pipe: int) -> None:
    '''end this process group by SIGIO once the other end of ``pipe`` closes'''
    fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpid())
    flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_ASYNC)
    if select.select([pipe], [], [], 0)[0]:
        # before the kernel was asked to tell
        os._exit(1)


def detach(work: Callable[[], None], keep: int) -> None:
    '''do ``work`` in a process that outlives this one

    It shares only the descriptor ``keep`` with this one. Raises OSError.
    '''
    if os.fork():
        return
    try:
        os.setsid()
        _let_go(keep)
        work()
    finally:
        # never back into hg, which belongs to the other process
        os._exit(0)


def _let_go(keep: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf('SC_OPEN_MAX'))
    os.chdir('/')


def signal_name(number: int) -> str:
    '''as SSH names them: without SIG (RFC 4254 6.10)'''
    try:
        return signal.Signals(number).name[3:]
    except ValueError:
        return str(number)


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


def children(pid: int) -> set[int]:
    return {each for each in _pids() if _status(each)[1:2] == [b'%d' % pid]}


def _session(pid: int) -> int | None:
    fields = _status(pid)
    if not fields or fields[0] in (b'Z', b'X'):
        return None
    return int(fields[3])


def _status(pid: int) -> list[bytes]:
    '''state, parent, group, session and more; nothing if it is gone'''
    try:
        with open('/proc/%d/stat' % pid, 'rb') as file:
            # proc(5): the name, in brackets, may hold anything
            return file.read().rpartition(b')')[2].split()
    except OSError:
        return []


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
