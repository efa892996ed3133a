# SPDX-License-Identifier: GPL-2.0-or-later
'''the private keys to log in with, and their certificates

What is in a private key file is keyfile's business.
'''

from __future__ import annotations

import contextlib
import copy
import os
import re
from collections.abc import Sequence

from . import config, errors, keyfile, library, regular_file, rfc4251

_CERTIFICATE = re.compile(r'\s*[a-z0-9-]+-cert-v01@openssh\.com\s+[\w+/]+=*')


def keys(
    host: config.Destination, asked: str | None
) -> list[library.paramiko.pkey.PKey]:
    '''the keys to try at ``host``: at least one that can be used

    ``asked`` is the file of the only one. Raises SessionError.
    '''
    found, problems = [], []
    for path in [asked] if asked else host.identities:
        try:
            found += _certified(host, path)
        except errors.SessionError as error:
            problems.append(error)
    if found:
        return found
    if problems:
        raise problems[0]
    raise errors.ConfigurationError(
        f'there is no key to log in to {host} with',
        "make one: ssh-keygen -t ed25519 -N '' -f ~/.ssh/id_ed25519",
    )


def _certified(
    host: config.Destination, path: str
) -> list[library.paramiko.pkey.PKey]:
    '''the key in the file ``path``, with each of its certificates first'''
    key = keyfile.load(path)
    if key.get_name() == 'ssh-rsa' and key.get_bits() < host.rsa_size:
        raise keyfile.trouble(
            path, 'has fewer bits than RequiredRSASize', keyfile.NEW
        )
    found = []
    for text in _certificates(path, host.certificates):
        certified = copy.copy(key)
        with contextlib.suppress(*library.ERRORS, AssertionError):
            certified.load_certificate(text)
            # PROTOCOL.certkeys: type, nonce, then the key without its type
            _type, rest = rfc4251.split(certified.public_blob.key_blob)
            _nonce, rest = rfc4251.split(rest)
            if rest.startswith(rfc4251.split(key.asbytes())[1]):
                found.append(certified)
    allowed = [key for key in (*found, key) if _is_accepted(host, key)]
    if not allowed:
        raise keyfile.trouble(path, 'is not among the PubkeyAcceptedAlgorithms')
    return allowed


def _is_accepted(
    host: config.Destination, key: library.paramiko.pkey.PKey
) -> bool:
    '''whether PubkeyAcceptedAlgorithms has an algorithm for ``key``'''
    names = [key.get_name()]
    if names == ['ssh-rsa']:
        names = ['rsa-sha2-512', 'rsa-sha2-256']
    if key.public_blob:
        names = [name + '-cert-v01@openssh.com' for name in names]
    listed = host.listed('PubkeyAcceptedAlgorithms')
    return not listed or not set(names).isdisjoint(listed)


def _certificates(path: str, named: Sequence[str]) -> list[str]:
    '''what may certify the key in the file ``path``: `TYPE BASE64 ...` each

    As with ssh these are the files ``named``, or else the one beside the key.
    Raises SessionError where one that is named cannot be used.
    '''
    found = []
    for name in named:
        try:
            found.append(regular_file.read(name)[1].decode('latin-1'))
        except OSError as error:
            words = f'cannot be read: {error.strerror}'
            raise keyfile.trouble(name, words, '', 'certificate') from None
        if not _CERTIFICATE.match(found[-1]):
            raise keyfile.trouble(name, 'is no certificate', '', 'certificate')
    if not named:
        with contextlib.suppress(OSError):
            beside = os.path.expanduser(path) + '-cert.pub'
            found.append(regular_file.read(beside)[1].decode('latin-1'))
    return [text for text in found if _CERTIFICATE.match(text)]
