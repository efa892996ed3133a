# SPDX-License-Identifier: GPL-2.0-or-later
'''the one way of bytes to a host, from dialling to closing

A socket, or a program that leads there; the transport on it; and one deadline
that ends it all.
'''

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from . import (
    algorithms,
    config,
    deadline_socket,
    diagnosis,
    errors as errorsmod,
    hardening,
    hostkeys,
    library,
    programs,
    tokens,
)

# in seconds
_KEEPALIVE = 30
# What ssh says last, when another line has said why.
_EMPTY_WORDS = ('stdio forwarding failed', 'Connection closed by UNKNOWN')


class Link:
    '''the link to one host; ``connect_timeout`` limits each of its steps

    ``host`` and ``step`` are for the words of an error: with whom and what
    was being done. ``transport`` is there after connect().
    '''

    transport: hardening.Transport

    def __init__(
        self, deadline: deadline_socket.Deadline, connect_timeout: float
    ):
        self.deadline = deadline
        self.step = errorsmod.ASKING
        self.host = ''
        self._patience = connect_timeout
        self._there: config.Destination | None = None
        self._line: deadline_socket.DeadlineSocket | None = None
        self._program: programs.Program | None = None
        deadline.on_stop = self._break_off
        self.await_connection()

    def find(
        self,
        host: str,
        port: int | None,
        user: str | None,
        path: str | None = None,
        key: str | None = None,
    ) -> config.Destination:
        '''where ``host`` leads, see config.find(). Raises SessionError'''
        self.host = host
        with self.worded():
            there = config.find(
                host, port, user, self.deadline, path=path, key=key
            )
            return algorithms.with_usual(there, self.deadline)

    def connect(self, policy: hostkeys.HostKeyPolicy) -> None:
        '''connect to ``policy.host``, and exchange keys. Raises SessionError'''
        self._there = there = policy.host
        self.host, self.step = str(there), errorsmod.CONNECTING
        with self.worded():
            self._line = self._dial(there)
            self.transport = hardening.Transport(self._line, policy)
            self.step = errorsmod.BANNER
            self.transport.start_client()

    def log_in(
        self, user: str, keys: Sequence[library.paramiko.pkey.PKey]
    ) -> None:
        '''log in with the first of ``keys`` that is accepted

        Raises SessionError.
        '''
        self.step = errorsmod.LOGIN
        with self.worded():
            self.transport.log_in(user, keys)
            self.transport.set_keepalive(_KEEPALIVE)

    def await_connection(self) -> None:
        '''limit what follows as connecting is limited'''
        self.deadline.set(
            self._patience, f'timed out after {self._patience:g} s'
        )

    @contextlib.contextmanager
    def worded(self) -> Iterator[None]:
        '''make a SessionError of what is raised'''
        try:
            yield
        except library.ERRORS as error:
            raise self.explain(error) from None

    def explain(self, error: Exception) -> errorsmod.SessionError:
        step = self.step
        if step == errorsmod.BANNER and self.transport.remote_version:
            step = errorsmod.EXCHANGE
        over = self.deadline.over
        if step == errorsmod.CONNECTING and deadline_socket.timed_out(error):
            over = f'timed out after {self._patience:g} s'
        said = self._opening() if step == errorsmod.BANNER else ''
        if over and step != errorsmod.RUNNING:
            remedy = f"it says '{said}'" if said else ''
            return errorsmod.SessionError(
                f'{over} while {step} {self.host}', remedy
            )
        if over:
            expired = self.deadline.expired
            kind = errorsmod.Expired if expired else errorsmod.SessionError
            return kind(over, started=True)
        ended = self._program and diagnosis.is_gone(error, step)
        if ended and step != errorsmod.RUNNING:
            return self._explain_program(said)
        return diagnosis.explain(error, step, self.host, said)

    def stop(self, reason: str) -> None:
        '''end it now; from any thread'''
        self.deadline.stop(reason)

    def shut(self) -> None:
        '''close the socket; what has arrived can still be read'''
        if self._line:
            self._line.shut()

    def close(self) -> None:
        '''end it and all that belongs to it; never raises'''
        self.stop('closed')
        transport = getattr(self, 'transport', None)
        # Its thread closes what it reads from: a descriptor closed under it
        # might be another file's the next moment.
        if transport and transport.is_alive():
            transport.join(2)
        if self._line:
            self._line.close()
        if self._program:
            self._program.close()

    def _break_off(self) -> None:
        self.shut()
        # The process may be over before close() gets to it.
        if self._program:
            self._program.end()

    def _dial(
        self, there: config.Destination
    ) -> deadline_socket.DeadlineSocket:
        if not there.proxy:
            sock = deadline_socket.dial(
                (there.host, there.port),
                self.deadline,
                there.family,
                there.bind,
            )
            return deadline_socket.DeadlineSocket(sock, self.deadline)
        self._program = programs.Program(there.proxy)
        return deadline_socket.DeadlineSocket(
            self._program.socket, self.deadline, self._program.listen
        )

    def _opening(self) -> str:
        '''the first line of what is no SSH, bounded and printable'''
        lines = self.transport.packetizer.opening.split(b'\n')
        line = next(filter(None, map(bytes.strip, lines)), b'')
        if line.startswith(b'SSH-'):
            return ''
        return errorsmod.printable(line[:80].decode('latin-1'))

    def _explain_program(self, opening: str) -> errorsmod.SessionError:
        '''what to say of a program that has closed the way

        ``opening`` is what it has sent instead of SSH.
        '''
        assert self._program and self._there
        status = self._program.wait()
        how = 'closed its output'
        if status is not None:
            how = f'ended with status {status}'
            if status < 0:
                how = f'was killed by signal {-status}'
        lines = self._program.lines()
        telling = [line for line in lines if not line.startswith(_EMPTY_WORDS)]
        said = tokens.short([opening, *lines[-1:], *telling][-1])
        return errorsmod.SessionError(
            f'{self._there.way} to {self.host} {how}',
            f'it said: {said}' if said else 'it said nothing',
        )
