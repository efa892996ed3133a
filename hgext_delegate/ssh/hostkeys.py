# SPDX-License-Identifier: GPL-2.0-or-later
'''whether a host is the one it should be, and what to say if it is not'''

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from . import config, errors, knownhosts, programs, regular_file, rfc4251

# PROTOCOL.krl
_MAGIC = b'SSHKRL\n\0'


class HostKeyPolicy:
    '''the keys that are known for one host: pinned ones, or files

    Where ``pins`` (`TYPE BASE64`) are given the files do not count. Raises
    SessionError for a pin that is damaged.
    '''

    def __init__(
        self,
        host: config.Destination,
        pins: Sequence[str],
        files: Sequence[tuple[str, bytes]],
    ):
        self.host = host
        self._pins = [self._pin(pin) for pin in pins]
        self._files = files

    def order(self, algorithms: Sequence[str]) -> tuple[str, ...]:
        '''``algorithms``, those first for which a key is known

        As ssh does: a host with several keys must show one that we can judge.
        '''
        if self._pins:
            known = {pin.type for pin in self._pins}
        else:
            host = self.host
            known = set(
                knownhosts.keytypes(self._files, host.keyname, host.keyport)
            )
        if 'ssh-rsa' in known:
            known |= {'rsa-sha2-512', 'rsa-sha2-256'}  # RFC 8332
        return tuple(sorted(algorithms, key=lambda name: name not in known))

    def check(self, blob: bytes) -> None:
        '''judge the key that the host shows. Raises SessionError'''
        key = knownhosts.key_of(blob)
        if key.type not in knownhosts.TYPES:
            raise errors.ConfigurationError(
                f'host key of {self.host} is damaged, or not of a known type',
                f"its type is '{key.type[:40]}'; sshd there must have one of "
                f'{", ".join(knownhosts.TYPES)}',
            )
        if key.type == 'ssh-rsa':
            modulus = rfc4251.strings(blob)[-1]
            bits = int.from_bytes(modulus, 'big').bit_length()
            least = self.host.rsa_size
            if bits < least:
                raise errors.ConfigurationError(
                    f'host key of {self.host} has {bits} bits',
                    f'RequiredRSASize in the ssh config is {least}',
                )
        _check_revoked(self.host, key)
        self.judge(key)

    def judge(self, key: knownhosts.Key) -> None:
        '''whether ``key`` is the right one. Raises SessionError'''
        if self._pins:
            if key in self._pins:
                return
            pinned = ' or '.join(pin.short for pin in self._pins)
            raise errors.ConfigurationError(
                f'host key of {self.host} is not the one that is pinned',
                f'it shows {key.short}, pinned is {pinned}: if that is meant, '
                f'write {self._pinned(key)}; if not, this is another host',
            )
        host = self.host
        if config.first(host.options, 'KnownHostsCommand'):
            raise errors.ConfigurationError(
                'KnownHostsCommand in the ssh config is not run here',
                f'it shows {key.short}: if that is right, pin it in its place: '
                f'{self._pinned(key)}',
            )
        verdict = knownhosts.judge(self._files, host.keyname, host.keyport, key)
        if verdict.state != 'known':
            raise self._not_known(key, verdict)

    def _pinned(self, key: knownhosts.Key) -> str:
        '''the line of [delegate] that pins ``key``'''
        return f'{self.host.target}:hostkey = {key.text}'

    def _pin(self, text: str) -> knownhosts.Key:
        key = knownhosts.parse_key(text.encode('utf-8', 'replace'))
        if key is None:
            raise errors.ConfigurationError(
                f'the key pinned for {self.host} is damaged',
                'it is written as in known_hosts: ssh-ed25519 AAAA...',
            )
        return key

    def _not_known(
        self, key: knownhosts.Key, verdict: knownhosts.Verdict
    ) -> errors.SessionError:
        host = self.host
        entry = verdict.entry
        found = knownhosts.entries(self._files, host.keyname, host.keyport)
        authority = [e for e in found if e.marker == 'cert-authority']
        if entry is None and authority:
            path = authority[0].path
            return errors.ConfigurationError(
                f'host key of {host} is known only by a certificate',
                f'it shows {key.short}; {path}:{authority[0].line} is not used '
                f'here: if the key is right, pin it: {self._pinned(key)}',
                path=path,
            )
        if entry is None:
            named = '' if host.keyname == host.host else f' as {host.keyname}'
            return errors.ConfigurationError(
                f'host key of {host} is not known{named}',
                f'it shows {key.short}: if that is right, pin it: '
                f'{self._pinned(key)}',
            )
        line = f'{entry.path}:{entry.line}'
        if verdict.state == 'revoked':
            return errors.ConfigurationError(
                f'host key of {host} is revoked',
                f'{key.short} is revoked by {line}: the host needs a new key',
                path=entry.path,
            )
        return errors.ConfigurationError(
            f'host key of {host} has changed',
            f'it shows {key.short}, but {line} says {entry.key.short}: if '
            f'that is meant, pin the new one: {self._pinned(key)}; if not, '
            'this is another host',
            path=entry.path,
        )


def _check_revoked(host: config.Destination, key: knownhosts.Key) -> None:
    '''raise ConfigurationError if RevokedHostKeys names ``key`` of ``host``

    Each file is a list of keys, or a KRL, of which ssh-keygen is asked. One
    that cannot be read revokes every key, as with ssh.
    '''
    for path in host.revoked:
        try:
            revoked = _is_revoked(path, key)
        except (OSError, EOFError):
            raise errors.ConfigurationError(
                f'RevokedHostKeys file {path} cannot be used',
                'until it can, no host key is trusted',
                path=path,
            ) from None
        if revoked:
            raise errors.ConfigurationError(
                f'host key of {host} is revoked',
                f'{key.short} is revoked by {path}: the host needs a new key',
                path=path,
            )


def _is_revoked(path: str, key: knownhosts.Key) -> bool:
    content = regular_file.read(path)[1]
    if not content.startswith(_MAGIC):
        lines = content.split(b'\n')
        return key in [knownhosts.parse_key(line.strip()) for line in lines]
    with tempfile.NamedTemporaryFile('w') as file:
        file.write(f'{key.text}\n')
        file.flush()
        argv = ['ssh-keygen', '-Q', '-f', path, file.name]
        status, said, _lines = programs.run(argv)
    if status not in (0, 1) or not said:
        raise OSError(0, 'ssh-keygen cannot use it')
    return status == 1
