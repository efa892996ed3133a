# SPDX-License-Identifier: GPL-2.0-or-later
'''which algorithms are offered, and what to say where none is in common

Those that OpenSSH 9 offers and paramiko has. ssh_config's lists leave some of
them out, and add others that paramiko has: an old server may need these.
'''

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from . import config, deadline_socket, errors, library

_TRANSPORT = library.paramiko.transport.Transport
# paramiko knows only the older of the two names of this algorithm
_ALIAS = {'curve25519-sha256': 'curve25519-sha256@libssh.org'}
EXCHANGES: dict[str, Any] = {
    **_TRANSPORT._kex_info,
    **{new: _TRANSPORT._kex_info[old] for new, old in _ALIAS.items()},
}
# OpenSSH has this one in its own default list, and it is not in ours.
_USUAL = 'hmac-sha1'


@dataclasses.dataclass(frozen=True)
class _Kind:
    '''``usual`` is offered by default, ``there`` is what paramiko has'''

    name: str
    usual: Sequence[str]
    there: Sequence[str]

    @property
    def present(self) -> list[str]:
        return [name for name in self.usual if name in self.there]


_KEYS = (
    'ssh-ed25519',
    'ecdsa-sha2-nistp256',
    'ecdsa-sha2-nistp384',
    'ecdsa-sha2-nistp521',
    'rsa-sha2-512',
    'rsa-sha2-256',
)
# No certificates, which nobody here could judge, and no DSA.
_KNOWN_KEYS = [n for n in (*_KEYS, 'ssh-rsa') if n in _TRANSPORT._key_info]

# By the keywords of ssh_config, in the order of RFC 4253 7.1. GCM is the
# fastest, and curve25519 costs a fraction of the exchange with ML-KEM.
_KINDS = {
    'KexAlgorithms': _Kind(
        'key exchange',
        (
            'curve25519-sha256',
            'curve25519-sha256@libssh.org',
            'mlkem768x25519-sha256',
            'ecdh-sha2-nistp256',
            'ecdh-sha2-nistp384',
            'ecdh-sha2-nistp521',
            'diffie-hellman-group16-sha512',
            'diffie-hellman-group14-sha256',
            'diffie-hellman-group-exchange-sha256',
        ),
        [*EXCHANGES],
    ),
    'HostKeyAlgorithms': _Kind('host key', _KEYS, _KNOWN_KEYS),
    'Ciphers': _Kind(
        'cipher',
        (
            'aes128-gcm@openssh.com',
            'aes256-gcm@openssh.com',
            'aes128-ctr',
            'aes192-ctr',
            'aes256-ctr',
        ),
        [*_TRANSPORT._cipher_info],
    ),
    'MACs': _Kind(
        'MAC',
        (
            'hmac-sha2-256-etm@openssh.com',
            'hmac-sha2-512-etm@openssh.com',
            'hmac-sha2-256',
            'hmac-sha2-512',
        ),
        [*_TRANSPORT._mac_info],
    ),
    'PubkeyAcceptedAlgorithms': _Kind('key', _KEYS, _KNOWN_KEYS),
}


def with_usual(
    host: config.Destination, deadline: deadline_socket.Deadline
) -> config.Destination:
    '''``host``, knowing the lists of an ssh that has no configuration

    They are asked for only where something unusual is listed. Raises as
    config.find() does.
    '''
    unusual = any(
        name != _USUAL
        for keyword, kind in _KINDS.items()
        for name in _unusual(host, keyword, kind)
    )
    if not unusual:
        return host
    usual = config.usual(host.host, deadline)
    return dataclasses.replace(host, usual=usual)


def offered(host: config.Destination) -> dict[str, tuple[str, ...]]:
    '''the algorithms for ``host``, by the keywords of ssh_config

    Raises ConfigurationError where ssh_config leaves none of a kind.
    '''
    found = {}
    for keyword, kind in _KINDS.items():
        listed = [*host.listed(keyword)]
        listed += [_ALIAS[n] for n in listed if n in _ALIAS]
        listed += [n for n, old in _ALIAS.items() if old in listed]
        usual = config.first(host.usual, keyword).split(',')
        # The last ones of ours: they are for who has no other.
        added = [
            name
            for name in _unusual(host, keyword, kind)
            if name == listed[0] or (host.usual and name not in usual)
        ]
        ours = [n for n in kind.present if not listed or n in listed]
        found[keyword] = (*ours, *added)
        if not found[keyword] and keyword != 'PubkeyAcceptedAlgorithms':
            raise errors.ConfigurationError(
                f'{keyword} in the ssh config leaves nothing to offer',
                f'let it have one of {", ".join(kind.present[:2])}',
            )
    return found


def explain(
    host: str, ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]
) -> errors.SessionError | None:
    '''of what kind no algorithm is in common with ``host``

    ``ours`` and ``theirs`` are the first lists of RFC 4253 7.1.
    '''
    keywords = ['KexAlgorithms', 'HostKeyAlgorithms', 'Ciphers', 'Ciphers']
    keywords += ['MACs', 'MACs']
    for keyword, mine, others in zip(keywords, ours, theirs):
        if set(mine) & set(others):
            continue
        kind = _KINDS[keyword]
        names = [n for n in others if re.fullmatch(r'[\w@.+-]{1,64}', n)]
        has = ', '.join(names[:20]) or 'none'
        remedy = f'it has {has}; allowed here: {", ".join(mine)}'
        known = [n for n in (*kind.present, *kind.there) if n in names]
        if known:
            # What is in ssh's own list already has to be the first.
            sign = '+' if known[0] not in (*kind.usual, _USUAL) else '^'
            add = f"'{keyword} {sign}{known[0]}' in the ssh config allows it"
            remedy = f'{add}; {remedy}'
        return errors.ConfigurationError(
            f'no algorithm in common with {host}: {kind.name}', remedy
        )
    return None


def _unusual(host: config.Destination, keyword: str, kind: _Kind) -> list[str]:
    '''what ssh_config lists, paramiko has, and is not offered by default'''
    return [
        name
        for name in host.listed(keyword)
        if name in kind.there and name not in kind.usual
    ]
