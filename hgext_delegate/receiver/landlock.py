# SPDX-License-Identifier: GPL-2.0-or-later
'''keep a program from the abstract sockets of those who are not in its box

They have no place on disk that could be hidden, and belong to the network.
Linux 6.12 and later: landlock(7), linux/landlock.h.
'''

from __future__ import annotations

import ctypes
import dataclasses
import os
import struct

# the same numbers for every architecture but Alpha
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_VERSION = 1
_SCOPES_SINCE = 6
_ABSTRACT_UNIX_SOCKET = 1
_NO_NEW_PRIVS = 38


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass(frozen=True)
class Scope:
    '''its descriptor; enter() is for the child of a fork'''

    fd: int

    def enter(self) -> None:
        libc = _libc()
        if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(
            _RESTRICT_SELF, self.fd, 0
        ):
            raise OSError(ctypes.get_errno(), 'landlock')


def is_there() -> bool:
    '''whether this kernel can do that'''
    size = ctypes.c_size_t(0)
    return _libc().syscall(_CREATE_RULESET, None, size, _VERSION) >= (
        _SCOPES_SINCE
    )


def scope() -> Scope | None:
    '''None where the kernel cannot do that'''
    if not is_there():
        return None
    rules = struct.pack('=QQQ', 0, 0, _ABSTRACT_UNIX_SOCKET)
    size = ctypes.c_size_t(len(rules))
    fd = _libc().syscall(_CREATE_RULESET, rules, size, 0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), 'landlock')
    os.set_inheritable(fd, False)
    return Scope(fd)
