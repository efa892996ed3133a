# connection_chain.py - the connections that lead to a host
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the connections that lead to a host, each logged in with its own key

There is one, or with ProxyJump a chain; one limit ends them all.
'''

from __future__ import annotations

import contextlib
import dataclasses
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from . import config, deadline_socket, errors as errorsmod, hostkeys, identity

_MOST_JUMPS = 8
_KEEPALIVE = 30


@dataclasses.dataclass(frozen=True)
class Library:
    '''what is needed of the SSH library

    ``transport(line, policy)`` makes a transport, ``log_in(transport, user,
    keys)`` tries the keys in turn, ``key(identity, certificate)`` makes one
    and returns None if it cannot; ``errors`` is all that these raise.
    '''

    transport: Callable[
        [deadline_socket.DeadlineSocket, hostkeys.HostKeyPolicy], Any
    ]
    log_in: Callable[[Any, str, Sequence[Any]], None]
    key: Callable[..., Any]
    options: config.Reader
    errors: tuple[type[Exception], ...]


@dataclasses.dataclass(frozen=True)
class Settings:
    '''what was asked for; see session.open()'''

    config_path: str
    identity: str | None
    knownhosts: Sequence[str]
    connect_timeout: float


class ConnectionChain:
    '''connections under one ``limit``

    ``host`` and ``step`` are for the words of an error: with whom and what
    was being done.
    '''

    def __init__(
        self,
        library: Library,
        settings: Settings,
        deadline: deadline_socket.Deadline,
    ):
        self.deadline = deadline
        self.step = errorsmod.CONNECTING
        self.host = ''
        self._library = library
        self._patience = f'timed out after {settings.connect_timeout:g} s'
        self._settings = settings
        self._lines: list[deadline_socket.DeadlineSocket] = []
        self._transports: list[Any] = []
        self._children: list[subprocess.Popen[bytes]] = []
        deadline.on_stop = self._break_off

    @property
    def transport(self) -> Any:
        '''the connection to the host itself, once there is one'''
        return self._transports[-1]

    def find(
        self, host: str, port: int | None, user: str | None
    ) -> config.Destination:
        path = self._settings.config_path
        return config.find(path, self._library.options, host, port, user)

    def connect(
        self,
        host: config.Destination,
        pins: Sequence[str] = (),
        jumps: int = 0,
    ) -> None:
        '''connect and log in, by way of ``host``'s jump hosts

        ``pins`` are its host keys. Raises SessionError.
        '''
        keys = self._keys(host, bool(jumps))
        given = self._settings.knownhosts
        names = given or host.knownhosts
        files = config.read_known(names, bool(given))
        policy = hostkeys.HostKeyPolicy(host, pins, files, *names[:1])
        if host.jumps:
            self._jump(host.jumps, jumps + 1)
        self.host, self.step = str(host), errorsmod.CONNECTING
        with self.worded():
            line = self._line(host)
            transport = self._library.transport(line, policy)
            self._transports.append(transport)
            self.step = errorsmod.BANNER
            transport.start_client()
            self.step = errorsmod.LOGIN
            self._library.log_in(transport, host.user, keys)
            transport.packetizer.logged_in = True
            transport.set_keepalive(_KEEPALIVE)

    def await_connection(self) -> None:
        '''limit what follows as connecting is limited'''
        self.deadline.set(self._settings.connect_timeout, self._patience)

    @contextlib.contextmanager
    def worded(self) -> Iterator[None]:
        '''make what the library raises a SessionError'''
        try:
            yield
        except self._library.errors as error:
            raise self.explain(error) from None

    def explain(self, error: Exception) -> errorsmod.SessionError:
        step = self.step
        if step == errorsmod.BANNER and self.transport.remote_version:
            step = errorsmod.EXCHANGE
        over = self.deadline.over
        if step == errorsmod.CONNECTING and deadline_socket.timed_out(error):
            over = self._patience
        if over and step != errorsmod.RUNNING:
            return errorsmod.SessionError(f'{over} while {step} {self.host}')
        if over:
            expired = self.deadline.expired
            kind = errorsmod.Expired if expired else errorsmod.SessionError
            return kind(over, started=True)
        return errorsmod.explain(error, step, self.host)

    def stop(self, reason: str) -> None:
        '''end all connections now; from any thread'''
        self.deadline.stop(reason)

    def _break_off(self) -> None:
        self.shut()
        # The process may be over before close() gets to them.
        for child in list(self._children):
            deadline_socket.end(child)

    def shut(self) -> None:
        '''close the sockets; what has arrived can still be read'''
        for line in self._lines:
            line.shut()

    def close(self) -> None:
        '''end the connections and all that belongs to them; never raises'''
        self.stop('closed')
        for transport in reversed(self._transports):
            # Its thread closes what it reads from: a descriptor closed under
            # it might be another file's the next moment.
            if transport.is_alive():
                transport.join(2)
        for line in self._lines:
            line.close()
        while self._children:
            deadline_socket.reap(self._children.pop())

    def _jump(self, jumps: tuple[str, ...], count: int) -> None:
        if count > _MOST_JUMPS:
            reason = f'more than {_MOST_JUMPS} jump hosts'
            raise errorsmod.ConfigurationError(reason, 'check ProxyJump')
        host = self.find(*config.parse_jump(jumps[-1]))
        if jumps[:-1]:
            host = dataclasses.replace(host, jumps=jumps[:-1], command='')
        self.connect(host, jumps=count)

    def _line(self, host: config.Destination) -> deadline_socket.DeadlineSocket:
        '''a way for the bytes: through the last jump host, if there is one'''
        sock: socket.socket
        if host.jumps:
            there, here = (host.host, host.port), ('127.0.0.1', 0)
            sock = self.transport.open_channel('direct-tcpip', there, here)
            return deadline_socket.DeadlineSocket(sock, self.deadline)
        if host.command:
            sock, child = deadline_socket.spawn(host.command)
            self._children.append(child)
        else:
            sock = deadline_socket.dial(host.host, host.port, self.deadline)
        self._lines.append(deadline_socket.DeadlineSocket(sock, self.deadline))
        return self._lines[-1]

    def _keys(self, host: config.Destination, jump: bool) -> list[Any]:
        '''the private keys to try: at least one that can be used'''
        paths: Sequence[str] | None = host.identities
        asked = self._settings.identity
        # A jump host wants a key of its own, if one is configured.
        if asked and not (jump and paths):
            paths = [asked]
        if paths is None:
            paths = config.default_identities()
        keys, errors = [], []
        for path in paths:
            try:
                keys += self._certified(path, host.certificate)
            except errorsmod.SessionError as error:
                errors.append(error)
        if keys:
            return keys
        raise (
            errors[0]
            if errors
            else errorsmod.ConfigurationError(
                f'there is no key to log in to {host} with',
                'make one with ssh-keygen and name it as the identity',
            )
        )

    def _certified(self, path: str, certificate: str) -> list[Any]:
        '''the key in the file ``path``, with each of its certificates first'''
        found = identity.read(path)
        key = self._library.key(found)
        if key is None:
            raise identity.unusable(found)
        texts = identity.certificates(path, certificate)
        certified = [self._library.key(found, text) for text in texts]
        return [*filter(None, certified), key]
