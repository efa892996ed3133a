# SPDX-License-Identifier: GPL-2.0-or-later
'''from which account of this host a push comes

A deploy that pushes must not wait for its own end: what it pushes to the
target that it runs for has to be recognised. Over the network nothing of a
deploy account is known but its address; on the same host the kernel knows
whose the connection is.
'''

from __future__ import annotations

import os
import pwd
import socket
import sys


def account(connection: bytes | None) -> int | None:
    '''the uid of the client of an SSH session from this host

    ``connection`` is SSH_CONNECTION, as sshd(8) sets it. None for a client of
    another host, and for our own account, which says nothing.
    '''
    words = (connection or b'').decode('ascii', 'replace').split()
    if len(words) != 4 or words[0] != words[2]:
        return None
    ends = [words[:2], words[2:]]
    for table, family in (('tcp', socket.AF_INET), ('tcp6', socket.AF_INET6)):
        try:
            wanted = [_kernel_form(family, *end) for end in ends]
            with open(f'/proc/net/{table}', encoding='ascii') as lines:
                for line in lines:
                    fields = line.split()
                    if fields[1:3] == wanted and int(fields[7]) != os.geteuid():
                        return int(fields[7])
        except (OSError, ValueError):
            continue
    return None


def _kernel_form(family: int, address: str, port: str) -> str:
    '''as /proc/net/tcp writes it: 32-bit words in the host's byte order'''
    packed = socket.inet_pton(family, address)
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    numbers = [int.from_bytes(word, sys.byteorder) for word in words]
    return ''.join(f'{number:08X}' for number in numbers) + f':{int(port):04X}'


def is_user(uid: int | None, name: str | None) -> bool:
    '''whether ``name`` is the account ``uid`` of this host'''
    try:
        return uid is not None and pwd.getpwnam(name or '').pw_uid == uid
    except KeyError:
        return False
