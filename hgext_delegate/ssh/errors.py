# errors.py - why a session failed
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''why a session failed, in words that may be shown to a pusher

Nothing raw of the other side is in them.
'''

from __future__ import annotations

import errno
import socket

from .. import errors
from . import channel_receiver

# the line of a large RSA key fits
_LIMIT = 2000
_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)

CONNECTING = 'connecting to'
BANNER = 'waiting for the SSH banner of'
EXCHANGE = 'exchanging keys with'
LOGIN = 'logging in to'
OPENING = 'opening a session on'
RUNNING = ''


class SessionError(errors.DelegateError):
    '''a session failed

    ``reason`` is lower-case, without a full stop, and names host and step;
    ``remedy`` is what to do next, or ''. Both may be shown to a pusher.
    ``started`` tells whether the far side may have run something: the
    command was sent, and not provably refused. ``detail`` is for the
    server's log alone: it may name files. ``step`` is what failed, where no
    session came about.
    '''

    step = ''

    def __init__(
        self,
        reason: str,
        remedy: str = '',
        *,
        started: bool = False,
        detail: str = '',
    ):
        super().__init__(
            printable(reason), printable(remedy), detail=printable(detail)
        )
        self.started = started


class ConfigurationError(SessionError):
    '''a key or the configuration of one side is wrong: until that is mended,
    it fails again'''


class Expired(SessionError):
    '''a command was given up on: no output, or no end, for too long'''


def printable(text: str) -> str:
    '''``text`` in bounded, printable ASCII; the rest becomes ``?``'''
    shown = ''.join(c if ' ' <= c <= '~' else '?' for c in text[:_LIMIT])
    return shown if len(text) <= _LIMIT else shown[:-3] + '...'


def explain(error: Exception, step: str, host: str) -> SessionError:
    '''what ``error`` means at a ``step`` with ``host`` (`NAME port N`)

    Errors of paramiko are told by their names, for this file must not import
    it; their texts are not used, since they quote the other side.
    '''
    if isinstance(error, SessionError):
        error.started = step == RUNNING
        return error
    reason, remedy = _by_name(error, step, host) or _by_type(error, step, host)
    detail = f'{type(error).__name__}: {error}'
    return SessionError(reason, remedy, started=step == RUNNING, detail=detail)


def _by_name(error: Exception, step: str, host: str) -> tuple[str, str] | None:
    names = {class_.__name__ for class_ in type(error).__mro__}
    if 'ChannelException' in names and step == CONNECTING:
        return (
            f'the jump host does not connect to {host}',
            'sshd there must allow it: see AllowTcpForwarding, PermitOpen',
        )
    if 'ChannelException' in names:
        return (
            f'session refused by {host}',
            'sshd there must allow it: see MaxSessions',
        )
    if 'IncompatiblePeer' in names:
        return (
            f'no algorithm in common with {host}',
            'what OpenSSH 9 offers by default is needed there',
        )
    return None


def _by_type(error: Exception, step: str, host: str) -> tuple[str, str]:
    cause = error.__context__ if step == BANNER else None
    if isinstance(error, channel_receiver.ViolationError):
        return f'{host} broke the SSH protocol by {error}', ''
    if step == CONNECTING and isinstance(error, OSError):
        return _unreachable(error, host)
    if isinstance(error, (EOFError, OSError)) or isinstance(
        cause, (EOFError, OSError)
    ):
        if step == RUNNING:
            return f'connection to {host} lost midway', ''
        remedy = 'the log of sshd there says why'
        return f'connection closed while {step} {host}', remedy
    if step == BANNER:
        return f'{host} does not speak SSH', 'check the port'
    during = '' if step == RUNNING else f' while {step} it'
    return f'{host} broke the SSH protocol{during}', ''


def _unreachable(error: OSError, host: str) -> tuple[str, str]:
    if isinstance(error, ConnectionRefusedError):
        return (
            f'connection refused by {host}',
            'sshd must run there and listen on this port',
        )
    if isinstance(error, socket.gaierror):
        name = host.partition(' ')[0]
        return (
            f'the name {name} cannot be resolved',
            'check it in the target and in the ssh config',
        )
    if error.errno in _NO_ROUTE:
        return f'no route to {host}', ''
    return f'cannot connect to {host}: {error.strerror}', ''
