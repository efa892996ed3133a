# SPDX-License-Identifier: GPL-2.0-or-later
'''the way to the other side: a socket under one limit of time

Whoever waits in an SSH library waits in ``recv`` or ``send`` in the end, in
short turns. So the limit is kept here, where no single byte can extend it and
no step of the protocol can forget it.
'''

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

# how much is read at once, in bytes
_AT_ONCE = 64 * 1024


class Deadline:
    '''when a connection ends, whatever anybody is waiting for

    ``over`` says why it has ended, or is ''; ``expired`` whether time was the
    reason. ``on_stop`` is called by stop(), and wakes whoever waits.
    '''

    def __init__(self) -> None:
        self.over = ''
        self.expired = False
        self.on_stop: Callable[[], None] = lambda: None
        self._due = (math.inf, '')

    def set(self, seconds: float, reason: str) -> None:
        '''end ``seconds`` from now, for ``reason``; replaces what was set'''
        self._due = (time.monotonic() + seconds, reason)

    def stop(self, reason: str) -> None:
        '''end now; from any thread. The first reason stays'''
        self.over = self.over or reason
        self.on_stop()

    def left(self) -> float:
        '''seconds until the end, 0.0 when it has come'''
        due, reason = self._due
        left = due - time.monotonic()
        if left <= 0 and not self.over:
            self.over, self.expired = reason, True
        return 0.0 if self.over else left


class DeadlineSocket:
    '''a socket that ends when its deadline is over

    It has the methods that paramiko wants of a socket. ``listen`` is called
    each time that something is read.
    '''

    def __init__(
        self,
        sock: socket.socket,
        deadline: Deadline,
        listen: Callable[[], None] = lambda: None,
    ):
        self._sock = sock
        self._deadline = deadline
        self._listen = listen
        # paramiko asks for a few bytes at a time
        self._read = memoryview(b'')
        # paramiko looks at it when the process ends
        self._closed = False
        self._is_quick = hasattr(socket, 'TCP_QUICKACK') and (
            sock.family in (socket.AF_INET, socket.AF_INET6)
        )

    def recv(self, size: int) -> bytes:
        self._check()
        self._listen()
        if not self._read:
            self._read = memoryview(self._receive())
        data, self._read = bytes(self._read[:size]), self._read[size:]
        return data

    def send(self, data: bytes) -> int:
        self._check()
        return self._sock.send(data)

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def shut(self) -> None:
        '''wake whoever waits here, without giving the descriptor away yet'''
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed = True
        self._sock.close()

    def _receive(self) -> bytes:
        if self._is_quick:
            # sshd sends small messages, each only when the one before it is
            # acknowledged, for which Linux would take 40 ms. Linux forgets
            # this again, so it is said each time.
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return self._sock.recv(_AT_ONCE)

    def _check(self) -> None:
        # Not TimeoutError: paramiko tries again on that.
        if not self._deadline.left():
            raise EOFError(self._deadline.over)


def dial(
    host: tuple[str, int],
    deadline: Deadline,
    family: int = socket.AF_UNSPEC,
    bind: str = '',
) -> socket.socket:
    '''connect to the first address of ``host``, name and port, that answers

    Only addresses of ``family`` count, and ``bind`` is the one to come from.
    Each address gets its share of the time that is left, so that one which
    swallows packets does not use up that of the next. Raises the OSError
    that tells most.
    '''
    addresses = _lookup(*host, family, deadline)
    errors = []
    for number, (kind, _type, _proto, _name, address) in enumerate(addresses):
        share = deadline.left() / (len(addresses) - number)
        try:
            return _connect(kind, address, share, bind)
        except OSError as error:
            errors.append(error)
    raise min(errors, key=_rank)


def timed_out(error: Exception) -> bool:
    '''whether an error of dial() means that nobody answered in time'''
    # The two are one from Python 3.10 on only.
    return isinstance(error, (socket.timeout, TimeoutError))


def _lookup(host: str, port: int, family: int, deadline: Deadline) -> list[Any]:
    '''getaddrinfo, which knows no time limit of its own'''
    answer: list[Any] = []
    # For a str Python imports the codec idna, and inside hg that fails when
    # two threads do it at the same moment.
    name = host.encode('ascii') if host.isascii() else host

    def ask() -> None:
        try:
            answer.append(
                socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)
            )
        except OSError as error:
            answer.append(error)
        except (UnicodeError, LookupError):
            text = 'not a host name'
            answer.append(socket.gaierror(socket.EAI_NONAME, text))

    thread = threading.Thread(target=ask, name='lookup', daemon=True)
    thread.start()
    thread.join(deadline.left())
    if not answer:
        raise TimeoutError
    if isinstance(answer[0], OSError):
        raise answer[0]
    return answer[0]


def _connect(
    family: int, address: Any, seconds: float, bind: str
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if bind:
            try:
                found = socket.getaddrinfo(bind, 0, family, socket.SOCK_STREAM)
                sock.bind(found[0][4])
            except OSError:
                text = f'BindAddress {bind} cannot be used'
                raise OSError(0, text) from None
        sock.settimeout(max(seconds, 0.001))
        sock.connect(address)
        # Small messages that wait for each other's acknowledgement would
        # cost up to 40 ms each.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _rank(error: OSError) -> int:
    '''a refusal is an answer, silence a hint; no route may be normal'''
    if isinstance(error, ConnectionRefusedError):
        return 0
    return 1 if timed_out(error) else 2
