# SPDX-License-Identifier: GPL-2.0-or-later
'''a program in the box, by bubblewrap, and the end of all that it starts'''

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from . import box as boxmod, box_failure, landlock, process

_PATH = '/usr/bin:/bin:/usr/local/bin'
# How long the box may take until its script runs, in seconds.
_PATIENCE = 60.0
# What is written by others at the same moment, such as a socket that goes.
_ATTEMPTS = 3


class Boxed(process.Process):
    '''the process of bubblewrap; ``poll()`` is of the script in it'''

    def __init__(
        self, started: subprocess.Popen, control: socket.socket, pipe: int
    ):
        super().__init__(started.pid, pipe, self._look)
        self._started = started
        self._control = control
        self._said = b''
        self._status: int | None = None
        # whether something was left, which has ended with the box
        self.has_left = False

    def begin(self) -> None:
        '''wait until the script runs. Raises OSError as subprocess does, and
        BrokenPipeError where there is no box'''
        give_up = time.monotonic() + _PATIENCE
        while b'\n' not in self._said:
            left = max(0.0, give_up - time.monotonic())
            if not select.select([self._control], [], [], left)[0]:
                self._kill()
            data = self._receive()
            if not data:
                self._kill()
                raise BrokenPipeError
        word, _, self._said = self._said.partition(b'\n')
        if word != b'R':
            self._kill()
            number = int(word[1:])
            raise OSError(number, os.strerror(number))

    def end(self, wait: Callable[[], None]) -> None:
        '''TERM to all in it, and KILL after GRACE seconds'''
        for kill in (False, True):
            give_up = time.monotonic() + process.GRACE
            if kill:
                self._kill()
            else:
                self._tell(b'T')
            while time.monotonic() < give_up:
                if self._started.poll() is not None:
                    return
                wait()

    def finish(self) -> None:
        '''end what the script has left running'''
        self._control.close()
        try:
            self.has_left = self._started.wait(process.GRACE) == 3
        except subprocess.TimeoutExpired:
            self._kill()

    def _look(self) -> int | None:
        if self._status is None:
            # in this order: what it has said is there once it has ended
            ended = self._started.poll()
            self._receive()
            word, end, _rest = self._said.partition(b'\n')
            if end and word[:1] == b'S':
                try:
                    self._status = os.waitstatus_to_exitcode(int(word[1:]))
                except (ValueError, OverflowError):
                    # the script has taken the socket of process 1
                    self._said = b''
                    self._kill()
            elif ended is not None:
                # killed from elsewhere: bubblewrap says it as a shell does
                self._status = 128 - ended if ended > 128 else ended or 1
        return self._status

    def _receive(self) -> bytes:
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return b''
        except OSError:
            data = b''
        self._said = (self._said + data)[:4096]
        return data

    def _tell(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # it has just ended
            self._control.send(word)

    def _kill(self) -> None:
        '''end the namespace's process 1, and with it all others'''
        for pid in process.children(self._started.pid) or {self._started.pid}:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def start(
    box: boxmod.Box,
    inside: boxmod.Inside,
    argv: Sequence[str],
    environ: Mapping[str, str],
) -> Boxed:
    '''``argv`` in the box. Raises OSError where it cannot be started, and
    BoxError where there is no box'''
    program = _program()
    if os.geteuid() == 0:
        raise boxmod.BoxError(
            'there is no box for root',
            'use an account of its own for what is deployed',
        )
    for _attempt in range(_ATTEMPTS):
        with tempfile.TemporaryFile() as said:
            try:
                return _start(program, box, inside, argv, environ, said)
            except BrokenPipeError:
                said.seek(0)
                text = said.read(4096).decode('utf-8', 'replace')
    raise boxmod.BoxError(*box_failure.explain(text))


def _start(
    program: str,
    box: boxmod.Box,
    inside: boxmod.Inside,
    argv: Sequence[str],
    environ: Mapping[str, str],
    said: IO[bytes],
) -> Boxed:
    plan = boxmod.Plan(box, inside)
    control, other = socket.socketpair()
    reading, writing = os.pipe()
    is_setuid = bool(os.stat(program).st_mode & stat.S_ISUID)
    scope = None if is_setuid else landlock.scope()
    init = [os.path.realpath(sys.executable), '-ISE', boxmod.INIT]
    fds = [other.fileno(), writing]
    try:
        started = subprocess.Popen(
            [program, *plan.options, '--', *init, *map(str, fds), *argv],
            cwd='/',
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            pass_fds=[*fds, *plan.fds],
            preexec_fn=scope.enter if scope else None,
            start_new_session=True,
        )
    except BaseException:
        control.close()
        os.close(reading)
        raise
    finally:
        plan.close()
        other.close()
        os.close(writing)
        if scope:
            os.close(scope.fd)
    boxed = Boxed(started, control, reading)
    try:
        boxed.begin()
    except BaseException:
        started.wait()
        control.close()
        boxed.close()
        raise
    control.setblocking(False)
    return boxed


def problem(
    box: boxmod.Box, clone: str = '', as_other: bool = False
) -> tuple[str, str] | None:
    '''why nothing can be run in ``box`` here, and what to do; tries it

    ``as_other``: for another account, which is not root if this one is.
    '''
    try:
        if as_other and os.geteuid() == 0:
            _program()
            return None
        tried = start(
            box,
            boxmod.Inside('/bin/true', clone),
            ['/bin/true'],
            {'PATH': _PATH, 'LANG': 'C.UTF-8'},
        )
    except boxmod.BoxError as exc:
        return exc.reason, exc.remedy
    except OSError as exc:
        return 'nothing can be run in the box: %s' % exc, 'install coreutils'
    tried.wait(lambda data: None, lambda: None)
    tried.close()
    return None


def _program() -> str:
    '''the path of bubblewrap. Raises BoxError'''
    program = shutil.which('bwrap', path=_PATH)
    if program:
        return program
    raise boxmod.BoxError(
        'there is no box: bubblewrap is not installed', box_failure.INSTALL
    )
