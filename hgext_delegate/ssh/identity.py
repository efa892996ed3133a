# identity.py - the private key file to log in with
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''a private key file and its certificate, read once

What cannot be used is refused in clear words: here by owner, mode and form.
The key itself is read by paramiko.
'''

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import stat
from dataclasses import dataclass, field

from . import errors, knownhosts, rfc4251

_MAX_FILE = 16 * 1024 * 1024
_MAGIC = b'openssh-key-v1\0'
_PEM = re.compile(
    rb'\s*-----BEGIN ([A-Z ]*)PRIVATE KEY-----\r?\n(.*?)-----END', re.DOTALL
)
_CERTIFICATE = re.compile(r'\s*[a-z0-9-]+-cert-v01@openssh\.com\s+[\w+/]+=*')
_PEM_TYPES = {
    b'RSA ': 'ssh-rsa',
    b'EC ': 'ecdsa',
    b'DSA ': 'ssh-dss',
    b'': 'PKCS#8',
}


@dataclass(frozen=True)
class Identity:
    '''a private key file as read: the type of its key, and its text'''

    path: str
    type: str
    text: str = field(repr=False)


def read(path: str) -> Identity:
    '''read a private key, safely and once. Raises SessionError'''
    path = os.path.expanduser(path)
    try:
        status, content = read_file(path)
    except FileNotFoundError:
        raise _trouble(path, 'does not exist') from None
    except OSError as error:
        raise _trouble(path, f'cannot be read: {error.strerror}') from None
    # The group may read a key that is not ours, or it could not be shared at
    # all; ssh allows even more then.
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
    return Identity(path, type_, content.decode('latin-1'))


def certificates(path: str, named: str) -> list[str]:
    '''what may certify the key in the file ``path``: `TYPE BASE64 ...` each

    As with ssh that is the file ``named``, if any, and the one beside the
    key. Raises SessionError where ``named`` cannot be used.
    '''
    found = []
    if named:
        named = os.path.expanduser(named)
        try:
            found.append(read_file(named)[1].decode('latin-1'))
        except OSError as error:
            words = f'cannot be read: {error.strerror}'
            raise _trouble(named, words, '', 'certificate') from None
        if not _CERTIFICATE.match(found[0]):
            raise _trouble(named, 'is no certificate', '', 'certificate')
    with contextlib.suppress(OSError):
        beside = os.path.expanduser(path) + '-cert.pub'
        found.append(read_file(beside)[1].decode('latin-1'))
    return [text for text in found if _CERTIFICATE.match(text)]


def is_certified(public: bytes, certificate: bytes) -> bool:
    '''whether ``certificate`` is for the key ``public``, both in SSH's form'''
    # PROTOCOL.certkeys: type, nonce, then what the key has after its type
    _type, rest = rfc4251.split(certificate)
    _nonce, rest = rfc4251.split(rest)
    return rest.startswith(rfc4251.split(public)[1])


def unusable(identity: Identity) -> errors.SessionError:
    '''what to say of a key that turned out to be of no use'''
    return _trouble(
        identity.path,
        f'holds no usable key (its type is {identity.type})',
        'ssh-keygen -t ed25519 makes one',
    )


def read_file(path: str) -> tuple[os.stat_result, bytes]:
    '''the status and the content of a regular file. Raises OSError'''
    # One descriptor for the check and the reading: the file cannot be
    # exchanged in between. O_NONBLOCK, or a FIFO would be waited for.
    with open(
        path, 'rb', opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)
    ) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, 'not a regular file')
        content = file.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        raise OSError(0, 'too long')
    return status, content


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
    except binascii.Error:
        return '', False
    # PROTOCOL.key: magic, cipher, kdf, its options, count, public key, ...
    if not blob.startswith(_MAGIC):
        return '', False
    try:
        cipher, rest = rfc4251.split(blob[len(_MAGIC) :])
        for _ in range(2):
            _skipped, rest = rfc4251.split(rest)
        public, rest = rfc4251.split(rest[4:])
    except rfc4251.DamagedError:
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
