# keypair.py - a key pair for one repository and one target
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''a key pair for one repository and one target, made once

So a deploy account that loses its key's secret, or a repository's owner who
is let too near to it, harms no other.
'''

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from mercurial import demandimport

from ...ssh import identity
from . import private

with demandimport.deactivated():
    # paramiko needs it, so it is there.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

_FOLDER = 'keys'


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
            folder.publish(name, _new())
        pair = Pair(path, _public(path))
        if not folder.has(name + '.pub'):
            line = '%s %s\n' % (pair.public, comment)
            folder.publish(name + '.pub', line.encode('ascii'), 0o644)
    return pair


def _new() -> bytes:
    '''a new private key as ssh-keygen writes it'''
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )


def _public(path: str) -> str:
    '''the public half of the private key at ``path``'''
    text = identity.read(path).text.encode('latin-1')
    try:
        key = serialization.load_ssh_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise private.PrivateError(
            '%s is not an ed25519 key' % path,
            'move it away, and run this again to get a new one',
        )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return public.decode('ascii')
