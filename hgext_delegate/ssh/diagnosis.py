# SPDX-License-Identifier: GPL-2.0-or-later
'''what an error means, in words that a pusher may read

The texts of paramiko's errors are not used: they quote the other side.
'''

from __future__ import annotations

import errno
import shutil
import socket

from . import channel_receiver, errors, library

_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)


def explain(
    error: Exception, step: str, host: str, said: str = ''
) -> errors.SessionError:
    '''what ``error`` means at a ``step`` with ``host`` (`NAME port N`)

    ``said`` is the first line of what has answered, and is no SSH.
    '''
    if isinstance(error, errors.SessionError):
        error.started = step == errors.RUNNING
        return error
    reason, remedy = _words(error, step, host)
    if said:
        remedy = f"it says '{said}'; {remedy}"
    detail = f'{type(error).__name__}: {error}'
    return errors.SessionError(
        reason, remedy, started=step == errors.RUNNING, detail=detail
    )


def is_gone(error: Exception, step: str) -> bool:
    '''whether ``error`` means that the other side has closed'''
    cause = error.__context__ if step == errors.BANNER else None
    return any(isinstance(e, (EOFError, OSError)) for e in (error, cause))


def _words(error: Exception, step: str, host: str) -> tuple[str, str]:
    if isinstance(error, library.paramiko.ssh_exception.ChannelException):
        remedy = 'sshd there must allow it: see MaxSessions'
        return f'session refused by {host}', remedy
    if isinstance(error, library.paramiko.ssh_exception.IncompatiblePeer):
        return f'{host} speaks only an old version of SSH', 'it needs SSH 2.0'
    if isinstance(error, channel_receiver.ViolationError):
        return f'{host} broke the SSH protocol by {error}', ''
    if step == errors.ASKING:
        return f'cannot run ssh -G for {host}', 'see whether ssh works there'
    if step == errors.CONNECTING and isinstance(error, OSError):
        return _unreachable(error, host)
    if is_gone(error, step):
        if step == errors.RUNNING:
            return f'connection to {host} lost midway', ''
        remedy = 'the log of sshd there says why'
        return f'connection closed while {step} {host}', remedy
    if step == errors.BANNER:
        return f'{host} does not speak SSH', 'check the port'
    during = '' if step == errors.RUNNING else f' while {step} it'
    return f'{host} broke the SSH protocol{during}', ''


def _unreachable(error: OSError, host: str) -> tuple[str, str]:
    if isinstance(error, ConnectionRefusedError):
        remedy = 'sshd must run there and listen on this port'
        return f'connection refused by {host}', remedy
    if isinstance(error, socket.gaierror):
        name = host.partition(' ')[0]
        reason = f'the name {name} cannot be resolved'
        if shutil.which('ssh') is None:
            return reason, 'if it is a Host of the ssh config, install ssh'
        return reason, 'check it in the target and in the ssh config'
    if error.errno in _NO_ROUTE:
        return f'no route to {host}', ''
    return f'cannot connect to {host}: {error.strerror}', ''
