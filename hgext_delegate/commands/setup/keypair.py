# SPDX-License-Identifier: GPL-2.0-or-later
'''a key pair for one repository and one target, made once

So a deploy account that loses its key's secret, or a repository's owner who
is let too near to it, harms no other.
'''

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass

from ...ssh import deadline_socket, programs, session
from . import private

_FOLDER = 'keys'
# in seconds
_PATIENCE = 60


@dataclass(frozen=True)
class Pair:
    '''the path of the private key, and the public key: `ssh-ed25519 AAAA...`'''

    path: str
    public: str


def make(target: str, store: bytes, comment: str) -> Pair:
    '''the pair for ``target`` and the repository whose .hg is ``store``

    It is made, with ``comment`` in its public half, unless there is one.
    Raises PrivateError, and SessionError for a key that must not be used.
    '''
    where = hashlib.sha256(os.path.realpath(store)).hexdigest()[:16]
    name = '%s-%s' % (target, where)
    with private.folder(_FOLDER) as folder:
        path = os.path.join(folder.path, name)
        if not folder.has(name):
            folder.publish(name, _new(folder.path))
        pair = Pair(path, _public(path))
        if not folder.has(name + '.pub'):
            line = '%s %s\n' % (pair.public, comment)
            folder.publish(name + '.pub', line.encode('ascii'), 0o644)
    return pair


def _new(folder: str) -> bytes:
    '''a new private key by ssh-keygen, which writes it below ``folder``'''
    deadline = deadline_socket.Deadline()
    deadline.set(_PATIENCE, 'too late')
    with tempfile.TemporaryDirectory(prefix='.', dir=folder) as place:
        path = os.path.join(place, 'key')
        argv = ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', path]
        try:
            programs.run(argv, deadline)
            with open(path, 'rb') as file:
                return file.read()
        except (OSError, EOFError):
            raise private.PrivateError(
                'ssh-keygen has made no key',
                'install the OpenSSH client, or see what it says',
            ) from None


def _public(path: str) -> str:
    '''the public half of the private key at ``path``'''
    public = session.public_key(path)
    if public.type != 'ssh-ed25519':
        raise private.PrivateError(
            '%s is not an ed25519 key' % path,
            'move it away, and run this again to get a new one',
        )
    return public.text
