# SPDX-License-Identifier: GPL-2.0-or-later
'''programs that are run for a connection: those of OpenSSH, a ProxyCommand

Each runs in a session of its own, so it has no terminal to ask at, and ends
with all that it started. Its standard error never reaches the server
process's own, which is a pusher's terminal: the last of it is kept.
'''

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Sequence

from . import deadline_socket

# in bytes; the last line is shown, up to a length
_MOST_SAID = 4096
_LONGEST_LINE = 200
# in seconds
_POLL = 0.1
_PATIENCE = 15


class Program:
    '''a running program; ``socket`` is its standard output, and its input
    where ``is_proxy``. Raises OSError if it cannot be started'''

    def __init__(self, argv: Sequence[str], is_proxy: bool = True):
        self.socket, theirs = socket.socketpair()
        try:
            self._child = subprocess.Popen(
                argv,
                stdin=theirs.fileno() if is_proxy else subprocess.DEVNULL,
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError:
            self.socket.close()
            raise
        finally:
            theirs.close()
        assert self._child.stderr
        self._stderr = self._child.stderr
        os.set_blocking(self._stderr.fileno(), False)
        self._said = b''

    def listen(self) -> None:
        '''take what it says on standard error, so that it never waits'''
        if data := self._stderr.read(65536):
            self._said = (self._said + data)[-_MOST_SAID:]

    def lines(self) -> list[str]:
        '''the last lines of its standard error'''
        self.listen()
        text = self._said.decode('utf-8', 'replace')
        lines = filter(None, map(str.strip, text.splitlines()))
        return [line[:_LONGEST_LINE] for line in lines]

    def wait(self) -> int | None:
        '''its exit status, or a signal as a negative number; None if it runs'''
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(1)
        return None

    def end(self, number: int = signal.SIGTERM) -> None:
        '''send a signal to it and all that it started; from any thread'''
        # Before wait() has its status no other process gets its number.
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, number)

    def close(self) -> None:
        '''end it, and all that it started; never raises'''
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.end(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(0.5)
                break
        self._stderr.close()
        self.socket.close()


def run(
    argv: Sequence[str], deadline: deadline_socket.Deadline | None = None
) -> tuple[int | None, bytes, list[str]]:
    '''run a program to its end: status, standard output, lines of its error

    Raises OSError, and EOFError when ``deadline`` is over, or 15 seconds.
    '''
    if deadline is None:
        deadline = deadline_socket.Deadline()
        deadline.set(_PATIENCE, 'too late')
    program = Program(argv, is_proxy=False)
    try:
        program.socket.settimeout(_POLL)
        found = []
        while True:
            if not deadline.left():
                raise EOFError(deadline.over)
            program.listen()
            # The two are one from Python 3.10 on only.
            with contextlib.suppress(socket.timeout, TimeoutError):
                found.append(program.socket.recv(65536))
                if not found[-1]:
                    break
        return program.wait(), b''.join(found), program.lines()
    finally:
        program.close()
