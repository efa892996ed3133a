# SPDX-License-Identifier: GPL-2.0-or-later
'''the private keys to log in with, and their certificates

What cannot be used is refused in clear words: by owner, mode and form.
'''

from __future__ import annotations

import base64
import contextlib
import copy
import io
import os
import re
from collections.abc import Sequence

from . import config, errors, knownhosts, library, regular_file, rfc4251

_MAGIC = b'openssh-key-v1\0'
_PEM = re.compile(
    rb'\s*-----BEGIN ([A-Z ]*)PRIVATE KEY-----\r?\n(.*?)-----END', re.DOTALL
)
_CERTIFICATE = re.compile(r'\s*[a-z0-9-]+-cert-v01@openssh\.com\s+[\w+/]+=*')
_PKCS8 = 'PKCS#8'
_PEM_TYPES = {
    b'RSA ': 'ssh-rsa',
    b'EC ': 'ecdsa',
    b'DSA ': 'ssh-dss',
    b'': _PKCS8,
}
_CLASSES = {
    'ssh-ed25519': library.paramiko.ed25519key.Ed25519Key,
    'ssh-rsa': library.paramiko.rsakey.RSAKey,
    'ecdsa': library.paramiko.ecdsakey.ECDSAKey,
}


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
        'make one with ssh-keygen and name it as the identity',
    )


def load(path: str) -> library.paramiko.pkey.PKey:
    '''the private key in the file ``path``. Raises SessionError'''
    path = os.path.expanduser(path)
    try:
        status, content = regular_file.read(path)
    except FileNotFoundError:
        raise _trouble(path, 'does not exist') from None
    except OSError as error:
        raise _trouble(path, f'cannot be read: {error.strerror}') from None
    # A key of another account may be open to the group: else it could not be
    # shared. ssh does not look at the mode of such a key.
    mine = status.st_uid == os.getuid()
    if status.st_mode & (0o077 if mine else 0o007):
        raise _trouble(
            path,
            f'can be used by others (mode {status.st_mode & 0o7777:04o})',
            f'chmod 600 {os.path.basename(path)}',
        )
    type_, encrypted = _kind(content)
    if encrypted:
        raise _trouble(
            path,
            'is encrypted, and there is nobody to ask for its passphrase',
            "make one without, for this alone: ssh-keygen -t ed25519 -N ''",
        )
    if not type_:
        raise _trouble(
            path,
            'is damaged, or no private key',
            f'see what ssh-keygen -y -f {os.path.basename(path)} says',
        )
    return _parse(path, type_, content.decode('latin-1'))


def _parse(path: str, type_: str, text: str) -> library.paramiko.pkey.PKey:
    class_ = _CLASSES.get(type_.partition('-sha2')[0])
    # AssertionError: paramiko's answer to some damage
    with contextlib.suppress(*library.ERRORS, AssertionError):
        if class_:
            return class_.from_private_key(io.StringIO(text))
        if type_ == _PKCS8:
            load_pem = library.serialization.load_pem_private_key
            key = load_pem(text.encode('latin-1'), None)
            if isinstance(key, library.rsa.RSAPrivateKey):
                return library.paramiko.rsakey.RSAKey(key=key)
            if isinstance(key, library.ec.EllipticCurvePrivateKey):
                return library.paramiko.ecdsakey.ECDSAKey(
                    vals=(key, key.public_key())
                )
    raise _trouble(
        path,
        f'holds no usable key (its type is {type_})',
        'ssh-keygen -t ed25519 makes one',
    )


def _certified(
    host: config.Destination, path: str
) -> list[library.paramiko.pkey.PKey]:
    '''the key in the file ``path``, with each of its certificates first'''
    key = load(path)
    if key.get_name() == 'ssh-rsa' and key.get_bits() < host.rsa_size:
        raise _trouble(path, 'has fewer bits than RequiredRSASize')
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
        raise _trouble(path, 'is not among the PubkeyAcceptedAlgorithms')
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
    return bool(host.allowed('PubkeyAcceptedAlgorithms', names))


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
            raise _trouble(name, words, '', 'certificate') from None
        if not _CERTIFICATE.match(found[-1]):
            raise _trouble(name, 'is no certificate', '', 'certificate')
    if not named:
        with contextlib.suppress(OSError):
            beside = os.path.expanduser(path) + '-cert.pub'
            found.append(regular_file.read(beside)[1].decode('latin-1'))
    return [text for text in found if _CERTIFICATE.match(text)]


def _kind(content: bytes) -> tuple[str, bool]:
    '''type of a private key ('' where there is none), and if it is encrypted'''
    match = _PEM.match(content)
    if match is None:
        return '', False
    label, body = match.groups()
    if label != b'OPENSSH ':
        encrypted = label == b'ENCRYPTED ' or b'4,ENCRYPTED' in body
        return _PEM_TYPES.get(label, ''), encrypted
    try:
        blob = base64.b64decode(body)
        # PROTOCOL.key: magic, cipher, kdf, its options, count, public key, ...
        if not blob.startswith(_MAGIC):
            return '', False
        cipher, rest = rfc4251.split(blob[len(_MAGIC) :])
        _kdf, rest = rfc4251.split(rest)
        _options, rest = rfc4251.split(rest)
        public, _private = rfc4251.split(rest[4:])
    except ValueError:
        return '', False
    return knownhosts.key_of(public).type, cipher not in (b'none', b'')


def _trouble(
    path: str, words: str, remedy: str = '', what: str = 'identity'
) -> errors.SessionError:
    return errors.ConfigurationError(
        f'{what} file {os.path.basename(path)} {words}',
        remedy,
        detail=os.path.abspath(path),
    )
