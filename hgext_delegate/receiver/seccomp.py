# SPDX-License-Identifier: GPL-2.0-or-later
'''a filter of system calls, for what no place on disk can keep from a script

Nothing gets a setuid or setgid bit: within the box that does nothing, but a
file in the clone is there outside as well, and whoever ran it would be the
deploy account. Folders are not told from files. The kernel's keyrings, which
are those of the login, are not there. Without the network there are no Unix
sockets but pairs: through one, another account could hand in an open folder.
seccomp(2), linux/filter.h, linux/audit.h.
'''

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterator

_LOAD, _EQUAL, _AT_LEAST, _ANY_OF, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_BITS = stat.S_ISUID | stat.S_ISGID
# Linux's own __O_TMPFILE, without O_DIRECTORY
_MAKES_A_FILE = os.O_CREAT | 0o20000000
_X32 = 0x40000000
_AF_UNIX = 1
# The same numbers everywhere: fchmodat2, whose mode is argument 2; and what has
# its mode in memory (openat2, io_uring_setup), which programs can do without.
_FCHMODAT2 = (452, 2, None)
_UNREADABLE = (437, 425)
# machine: (its number in the kernel; add_key, request_key and keyctl; socket;
# (system call, the number of its argument that is a mode, and of that with the
# flags if it has to make a file))
_MACHINES = {
    'x86_64': (
        0xC000003E,
        (248, 249, 250),
        41,
        (
            *((90, 1, None), (91, 1, None), (268, 2, None)),  # chmod and so on
            *((85, 1, None), (133, 1, None), (259, 2, None)),  # creat, mknod
            *((2, 2, 1), (257, 3, 2)),  # open, openat
        ),
    ),
    'aarch64': (
        0xC00000B7,
        (217, 218, 219),
        198,
        ((52, 1, None), (53, 2, None), (33, 2, None), (56, 3, 2)),
    ),
}


def program(machine: str, with_sockets: bool = True) -> bytes:
    '''for bubblewrap's --seccomp; empty where ``machine`` is not known

    ``with_sockets``: Unix sockets. What is not of that machine, such as a
    32-bit program, is killed.
    '''
    if machine not in _MACHINES:
        return b''
    audit, keys, socket, calls = _MACHINES[machine]
    steps = _steps(audit, keys, 0 if with_sockets else socket, calls)
    return b''.join(struct.pack('=HBBI', *step) for step in steps)


def _steps(
    audit: int, keys: tuple, socket: int, calls: tuple
) -> Iterator[tuple[int, int, int, int]]:
    '''code, how many to skip if true, and if not, and a number'''
    yield (_LOAD, 0, 0, 4)  # seccomp_data.arch
    yield (_EQUAL, 1, 0, audit)
    yield (_RETURN, 0, 0, _KILL)
    yield (_LOAD, 0, 0, 0)  # seccomp_data.nr
    yield (_AT_LEAST, 0, 1, _X32)
    yield (_RETURN, 0, 0, _KILL)
    for number in (*_UNREADABLE, *keys):
        yield (_EQUAL, 0, 1, number)
        yield (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    if socket:
        yield (_EQUAL, 0, 4, socket)
        yield (_LOAD, 0, 0, _argument(0))
        yield (_EQUAL, 0, 1, _AF_UNIX)
        yield (_RETURN, 0, 0, _ERRNO | errno.EACCES)
        yield (_RETURN, 0, 0, _ALLOW)
    for number, mode, flags in (*calls, _FCHMODAT2):
        makes = (
            (_LOAD, 0, 0, _argument(flags)),
            (_ANY_OF, 1, 0, _MAKES_A_FILE),
            (_RETURN, 0, 0, _ALLOW),
        )
        rest = (
            *(makes if flags is not None else ()),
            (_LOAD, 0, 0, _argument(mode)),
            (_ANY_OF, 0, 1, _BITS),
            (_RETURN, 0, 0, _ERRNO | errno.EPERM),
            (_RETURN, 0, 0, _ALLOW),
        )
        yield (_EQUAL, 0, len(rest), number)
        yield from rest
    yield (_RETURN, 0, 0, _ALLOW)


def _argument(number: int | None) -> int:
    '''the place of its lower half in seccomp_data; both are little-endian'''
    return 16 + 8 * (number or 0)
