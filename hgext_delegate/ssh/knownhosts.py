# SPDX-License-Identifier: GPL-2.0-or-later
'''host keys judged by known_hosts text, as OpenSSH judges them

The format is that of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". A line that
OpenSSH would skip as damaged is skipped here, and no more than that line.
Pure: what is read, and from where, is the caller's business.
'''

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import rfc4251

DEFAULT_PORT = 22
# the types of host keys that are used
TYPES = (
    'ssh-ed25519',
    'ecdsa-sha2-nistp256',
    'ecdsa-sha2-nistp384',
    'ecdsa-sha2-nistp521',
    'ssh-rsa',
)

# How many fields a public key of a type has, its type included (RFC 4253
# 6.6, RFC 5656 3.1, RFC 8709 4, OpenSSH PROTOCOL.u2f).
_FIELDS = {
    'ssh-ed25519': 2,
    'ecdsa-sha2-nistp256': 3,
    'ecdsa-sha2-nistp384': 3,
    'ecdsa-sha2-nistp521': 3,
    'ssh-rsa': 3,
    'ssh-dss': 5,
    'sk-ssh-ed25519@openssh.com': 3,
    'sk-ecdsa-sha2-nistp256@openssh.com': 4,
}

Files = Iterable[tuple[str, bytes]]


@dataclass(frozen=True)
class Key:
    '''a public key: its type, and the blob of RFC 4253 6.6'''

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        '''``SHA256:...``, as ssh-keygen -l prints it'''
        digest = hashlib.sha256(self.blob).digest()
        return 'SHA256:' + base64.b64encode(digest).decode().rstrip('=')

    @property
    def short(self) -> str:
        '''``TYPE SHA256:...``, for messages'''
        return f'{self.type} {self.fingerprint}'

    @property
    def text(self) -> str:
        '''``TYPE BASE64``, as files have it'''
        return f'{self.type} {base64.b64encode(self.blob).decode()}'


@dataclass(frozen=True)
class Entry:
    '''one usable line; ``marker`` is revoked, cert-authority or nothing'''

    marker: str
    key: Key
    path: str
    line: int


@dataclass(frozen=True)
class Verdict:
    '''what the files say of a key

    ``state`` is 'known', 'unknown', 'changed' (other keys are known for this
    host) or 'revoked'; ``entry`` is the line that decided, if one did.
    '''

    state: str
    entry: Entry | None = None


def judge(files: Files, host: str, port: int, key: Key) -> Verdict:
    '''judge ``key``, offered by ``host``, by (path, content) pairs

    As in ssh, a host on another port than 22 whose ``[host]:port`` no line
    names may also be known by its plain name.
    '''
    files = list(files)
    verdict = _judge(entries(files, host, port), key)
    if verdict.state == 'unknown' and port != DEFAULT_PORT:
        plain = _judge(entries(files, host), key)
        if plain.state in ('known', 'revoked'):
            return plain
    return verdict


def keytypes(files: Files, host: str, port: int) -> list[str]:
    '''the types of the keys known for ``host``, in the order of the files

    Asking for one of these first is what keeps a host with several keys
    from looking changed.
    '''
    found = entries(files, host, port)
    return list(dict.fromkeys(e.key.type for e in found if not e.marker))


def address(host: str, port: int) -> str:
    '''what ``host`` at ``port`` is called in a known_hosts file'''
    return host if port == DEFAULT_PORT else f'[{host}]:{port}'


def entries(
    files: Files, host: str, port: int = DEFAULT_PORT
) -> Iterator[Entry]:
    '''yield the usable lines whose names match ``host`` at ``port``'''
    host = host.lower()
    name = address(host, port)
    wanted = name.encode('utf-8', 'surrogateescape')
    for path, content in files:
        for number, raw in enumerate(content.split(b'\n'), 1):
            fields = _fields(raw)
            if fields and _names_match(fields[1], wanted):
                key = parse_key(b' '.join(fields[2:4]))
                if key is not None:
                    yield Entry(fields[0].decode(), key, path, number)


def parse_key(text: bytes) -> Key | None:
    '''read ``TYPE BASE64 [COMMENT]``; None where it is damaged or unknown'''
    words = _words(text)
    if len(words) < 2:
        return None
    try:
        # OpenSSH skips white space inside, so a CR at the end is no damage.
        data = words[1].translate(None, b'\r\n\v\f')
        blob = base64.b64decode(data, validate=True)
        fields = rfc4251.strings(blob)
    except (binascii.Error, rfc4251.DamagedError):
        return None
    type_ = words[0].decode('latin-1')
    if len(fields) != _FIELDS.get(type_) or fields[0] != words[0]:
        return None
    if type_ == 'ssh-ed25519' and len(fields[1]) != 32:
        return None
    return Key(type_, blob)


def key_of(blob: bytes) -> Key:
    '''the key that a server offers, its type by the blob's own word'''
    try:
        type_ = rfc4251.split(blob)[0].decode('latin-1')
    except rfc4251.DamagedError:
        type_ = ''
    return Key(type_, blob)


def _judge(found: Iterable[Entry], key: Key) -> Verdict:
    same = revoked = other = None
    for entry in found:
        if entry.marker == 'revoked':
            revoked = revoked or (entry if entry.key == key else None)
        elif entry.marker:
            # A certificate authority says nothing of a plain key.
            continue
        elif entry.key == key:
            same = same or entry
        elif other is None or entry.key.type == key.type != other.key.type:
            other = entry
    if revoked:
        return Verdict('revoked', revoked)
    if same:
        return Verdict('known', same)
    return Verdict('changed', other) if other else Verdict('unknown')


def _words(text: bytes) -> list[bytes]:
    return re.split(rb'[ \t]+', text.strip(b' \t'))


def _fields(raw: bytes) -> list[bytes]:
    '''[marker, names, type, key, ...], or [] for what is no entry'''
    words = _words(raw.partition(b'\0')[0])
    if words[0].startswith(b'@'):
        if words[0] not in (b'@revoked', b'@cert-authority'):
            return []
        words[0] = words[0][1:]
    elif words[0].startswith(b'#'):
        return []
    else:
        words.insert(0, b'')
    return words if len(words) >= 4 and words[1][:1] != b'@' else []


def _names_match(names: bytes, wanted: bytes) -> bool:
    if names.startswith(b'|'):
        return _hash_matches(names, wanted)
    matched = False
    for pattern in names.lower().split(b','):
        if pattern.startswith(b'!'):
            if _pattern_matches(pattern[1:], wanted):
                return False
        elif _pattern_matches(pattern, wanted):
            matched = True
    return matched


def _pattern_matches(pattern: bytes, wanted: bytes) -> bool:
    if b'*' not in pattern and b'?' not in pattern:
        return pattern == wanted
    # a bracket is a character here: [host]:port
    return fnmatch.fnmatchcase(wanted, pattern.replace(b'[', b'[[]'))


def _hash_matches(names: bytes, wanted: bytes) -> bool:
    '''whether ``|1|SALT|HASH`` (HMAC-SHA1, base64) is the hash of ``wanted``'''
    parts = names.split(b'|')
    if len(parts) != 4 or parts[1] != b'1':
        return False
    try:
        salt = base64.b64decode(parts[2], validate=True)
    except binascii.Error:
        return False
    mac = base64.b64encode(hmac.digest(salt, wanted, 'sha1'))
    return len(salt) == 20 and hmac.compare_digest(mac, parts[3])
