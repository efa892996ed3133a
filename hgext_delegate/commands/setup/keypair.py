# SPDX-License-Identifier: GPL-2.0-or-later
'''a key pair for one repository and one target, made once

A key that gets into wrong hands opens one deploy account, to one repository.
'''

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass

from ... import errors
from ...ssh import programs, session
from . import private

_FOLDER = 'keys'


@dataclass(frozen=True)
class Pair:
    '''the path of the private key, and the public key: `ssh-ed25519 AAAA...`'''

    path: str
    public: str


def make(target: str, store: bytes, comment: str) -> Pair:
    '''the pair for ``target`` and the repository whose .hg is ``store``

    It is made, with ``comment`` in its public half, unless there is one.
    Raises DelegateError, also for a key that must not be used.
    '''
    where = hashlib.sha256(os.path.realpath(store)).hexdigest()[:16]
    name = '%s-%s' % (target, where)
    with private.folder(_FOLDER) as folder:
        path = os.path.join(folder.path, name)
        if not folder.has(name):
            folder.publish(name, _new(folder.path))
        public = session.public_key(path)
        if public.type != 'ssh-ed25519':
            raise errors.DelegateError(
                '%s is not an ed25519 key' % path,
                'move it away, and run this again to get a new one',
            )
        if not folder.has(name + '.pub'):
            line = '%s %s\n' % (public.text, comment)
            folder.publish(name + '.pub', line.encode('ascii'), 0o644)
    return Pair(path, public.text)


def _new(folder: str) -> bytes:
    '''a new private key by ssh-keygen, which writes it below ``folder``'''
    with tempfile.TemporaryDirectory(prefix='.', dir=folder) as place:
        path = os.path.join(place, 'key')
        argv = ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', path]
        try:
            programs.run(argv)
            with open(path, 'rb') as file:
                return file.read()
        except (OSError, EOFError):
            raise errors.DelegateError(
                'ssh-keygen has made no key',
                'install the OpenSSH client, or see what it says',
            ) from None
