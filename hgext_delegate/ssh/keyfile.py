# SPDX-License-Identifier: GPL-2.0-or-later
'''reading a private key file, as ``ssh-keygen -y`` does without asking

What cannot be used is refused with the command that mends it.
'''

from __future__ import annotations

import base64
import io
import os
import pwd
import re
import shlex
from collections.abc import Callable

from . import errors, knownhosts, library, regular_file, rfc4251, tokens

_MAGIC = b'openssh-key-v1\0'
_BLOCK = re.compile(
    rb'-----BEGIN ([A-Z ]*)PRIVATE KEY-----(.*?)-----END \1PRIVATE KEY-----',
    re.DOTALL,
)
_OPENSSH = b'OPENSSH '
_TYPES = ('ssh-ed25519', 'ssh-rsa', 'ecdsa-sha2-nistp', 'PEM', 'PKCS#8')
_CURVES = ('secp256r1', 'secp384r1', 'secp521r1')
NEW = "ssh-keygen -t ed25519 -N '' -f NEW makes one; name NEW in its place"
# What is there instead of a private key, and the remedy: {} is the file.
_WRONG = (
    (rb'\A\s*\Z', 'is empty', 'copy it again, or make another one'),
    (
        rb'\APuTTY-User-Key-File-\d|---- BEGIN SSH2 ENC',
        "is in PuTTY's form",
        'puttygen {0} -O private-openssh -o {0}',
    ),
    (
        rb'(?m)^([\w.@-]+ AAAA|---- BEGIN SSH2 PUB|-----BEGIN [A-Z ]*PUBLIC)',
        'is a public key',
        'name the private key, which ssh-keygen has written beside it',
    ),
    (
        rb'',
        'is damaged, or no private key',
        'copy it again, line by line; ssh-keygen -y -f {} must take it',
    ),
)


def load(path: str) -> library.paramiko.pkey.PKey:
    '''the private key in the file ``path``. Raises SessionError'''
    path = os.path.abspath(os.path.expanduser(path))
    try:
        status, content = regular_file.read(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    found = list(_BLOCK.finditer(content.replace(b'\r\n', b'\n')))
    if not found:
        raise _no_key(path, content)
    # A key of another account may be open to the group: else it could not be
    # shared. ssh does not look at the mode of such a key.
    mine = status.st_uid == os.getuid()
    if status.st_mode & (0o077 if mine else 0o007):
        raise trouble(
            path,
            f'can be used by others (mode {status.st_mode & 0o7777:04o})',
            'chmod 600 {}' if mine else 'chmod o= {}',
        )
    # Ahead of all else ssh takes its own form; elsewhere in the file libcrypto
    # passes it over.
    label, body = min(
        found, key=lambda block: block[1] == _OPENSSH and block.start() > 0
    ).groups()
    try:
        type_, encrypted = _kind(label, body)
        if encrypted:
            raise trouble(
                path,
                'is encrypted, and there is nobody to ask for its passphrase',
                "ssh-keygen -p -N '' -f {} takes the passphrase away",
            )
        key = _parse(label, type_, body)
    except library.KEY_ERRORS:
        raise _no_key(path, b'damaged') from None
    if key is None:
        words = f'holds no usable key (its type is {type_})'
        raise trouble(path, words, NEW)
    return key


def trouble(
    path: str, words: str, remedy: str = '', what: str = 'identity'
) -> errors.SessionError:
    '''the error that the file ``path`` cannot be used, since it ``words``

    ``{}`` in ``remedy`` is the file, as a shell reads it.
    '''
    path = os.path.abspath(os.path.expanduser(path))
    return errors.ConfigurationError(
        f'{what} file {path} {words}',
        remedy.format(shlex.quote(path)),
        path=path,
    )


def _kind(label: bytes, body: bytes) -> tuple[str, bool]:
    '''the type of a private key, and if it is encrypted'''
    if label != _OPENSSH:
        type_ = {b'DSA ': 'ssh-dss', b'': 'PKCS#8'}.get(label, 'PEM')
        return type_, label == b'ENCRYPTED ' or b'4,ENCRYPTED' in body
    blob = base64.b64decode(body)
    if not blob.startswith(_MAGIC):
        raise rfc4251.DamagedError('the magic is wrong')
    # PROTOCOL.key: magic, cipher, kdf, its options, count, public key, ...
    cipher, rest = rfc4251.split(blob[len(_MAGIC) :])
    _kdf, rest = rfc4251.split(rest)
    _options, rest = rfc4251.split(rest)
    public, _private = rfc4251.split(rest[4:])
    return knownhosts.key_of(public).type, cipher != b'none'


def _parse(
    label: bytes, type_: str, body: bytes
) -> library.paramiko.pkey.PKey | None:
    '''None for what is no key of a type that can be used'''
    whole = b'-----BEGIN %sPRIVATE KEY-----%s-----END %sPRIVATE KEY-----\n'
    text = whole % (label, body, label)
    serialization = library.serialization
    if not type_.startswith(_TYPES):
        return None
    load_key: Callable[..., object] = (
        serialization.load_ssh_private_key
        if label == _OPENSSH
        else serialization.load_pem_private_key
    )
    key = load_key(text, None)
    if isinstance(key, library.rsa.RSAPrivateKey):
        return library.paramiko.rsakey.RSAKey(key=key)
    if isinstance(key, library.ec.EllipticCurvePrivateKey):
        if key.curve.name in _CURVES:
            both = (key, key.public_key())
            return library.paramiko.ecdsakey.ECDSAKey(vals=both)
    if isinstance(key, library.ed25519.Ed25519PrivateKey):
        # paramiko reads no other form of it
        text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        file = io.StringIO(text.decode('ascii'))
        return library.paramiko.ed25519key.Ed25519Key(file_obj=file)
    return None


def _unreadable(path: str, error: OSError) -> errors.SessionError:
    me = pwd.getpwuid(os.getuid()).pw_name
    if isinstance(error, FileNotFoundError):
        words, remedy = 'does not exist', NEW
    else:
        words = f'cannot be read: {error.strerror}'
        remedy = f'as root: install -o {me} -m 600 {{}} NEW, and name NEW'
        if not isinstance(error, PermissionError):
            remedy = 'name the file of a private key'
    if cause := tokens.foreign_home(path):
        remedy = cause
    return trouble(path, words, remedy)


def _no_key(path: str, content: bytes) -> errors.SessionError:
    words, remedy = next(
        rest for pattern, *rest in _WRONG if re.search(pattern, content)
    )
    if words == 'is a public key' and path.endswith('.pub'):
        remedy = 'name the private key, whose name has no .pub'
    elif b'\nEncryption: aes' in content:
        remedy += ' --new-passphrase /dev/null'
    return trouble(path, words, remedy)
