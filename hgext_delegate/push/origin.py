# SPDX-License-Identifier: GPL-2.0-or-later
'''from where a push comes: an account of this host, or the key that logged in

A deploy that pushes must not wait for its own end: what it pushes to the
target that it runs for has to be recognised. Over the network nothing of a
deploy account is known but its address; on the same host the kernel knows
whose the connection is.
'''

from __future__ import annotations

import base64
import os
import pwd
import re
import socket
import sys

from ..ssh import from_option, knownhosts, regular_file

# as sshd makes it
_AUTH_INFO = re.compile(rb'/tmp/sshauth\.[A-Za-z0-9]+')
# sshd(8): in a quoted value a backslash means something before a quote alone
_OPTION = re.compile(r'([A-Za-z0-9-]+)(?:="((?:\\"|[^"])*)")?')


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


def key(path: bytes | None, connection: bytes | None) -> bytes | None:
    '''who has the key that logged in: the comment of its line in our
    authorized_keys, else its fingerprint

    ``path`` is SSH_USER_AUTH, which sshd sets with ``ExposeAuthInfo yes``.
    Where it does not, a client may: the file must be as sshd makes it.
    ``connection`` is SSH_CONNECTION.
    '''
    if path is None or not _AUTH_INFO.fullmatch(path):
        return None
    try:
        status, text = regular_file.read(os.fsdecode(path))
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return None
        words = next(
            line.split()
            for line in text.splitlines()
            if line.startswith(b'publickey ')
        )
        blob = base64.b64decode(words[2], validate=True)
    except (OSError, StopIteration, IndexError, ValueError):
        return None
    fingerprint = knownhosts.key_of(blob).fingerprint.encode('ascii')
    client = (connection or b'').partition(b' ')[0].decode('ascii', 'replace')
    return _comment(words[2], client) or fingerprint


def _comment(key: bytes, client: str) -> bytes | None:
    '''the comment of the first line of authorized_keys that has ``key`` and
    may have let in the address ``client``'''
    folder = os.path.join(pwd.getpwuid(os.geteuid()).pw_dir, '.ssh')
    for name in ('authorized_keys', 'authorized_keys2'):
        try:
            text = regular_file.read(os.path.join(folder, name))[1]
        except OSError:
            continue
        for line in text.splitlines():
            before, _type, comment = line.partition(key)
            if _type and _lets_in(before.decode('latin-1'), client):
                return comment.strip() or None
    return None


def _lets_in(options: str, client: str) -> bool:
    '''whether sshd may take a line with ``options``; it goes on with the next
    one if not'''
    if options.lstrip().startswith('#'):
        return False
    values = {name.lower(): text for name, text in _OPTION.findall(options)}
    if 'cert-authority' in values:
        return False
    allowed = values.get('from')
    return not (allowed and client) or from_option.allows(allowed, client)


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
