# hostkeys.py - getting to know a host by its key
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''getting to know a host: which key is its own, and who says so'''

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from ...ssh import (
    addresses,
    config,
    errors,
    hostkeys,
    identity as identitymod,
    knownhosts,
    session,
)
from . import private

# Where a machine keeps the keys of its sshd.
MACHINE = '/etc/ssh'

_RECORD = 'known_hosts'
# Anything else is a pattern or a separator in a known_hosts file.
_NAME = re.compile(r'[A-Za-z0-9._:%-]+\Z')

Files = Sequence[tuple[str, bytes]]


class AnyKey(hostkeys.HostKeyPolicy):
    '''takes any key of a type that is not in ``seen``, and notes it'''

    def __init__(
        self, host: config.Destination, files: Files, seen: Sequence[str]
    ):
        super().__init__(host, (), files)
        self.key: knownhosts.Key | None = None
        self._seen = seen

    def order(self, algorithms: Sequence[str]) -> tuple[str, ...]:
        return tuple(
            algorithm
            for algorithm in super().order(algorithms)
            if hostkeys.key_type(algorithm) not in self._seen
        )

    def check(self, blob: bytes) -> None:
        self.key = knownhosts.key_of(blob)


def host_key(
    host: config.Destination,
    identity: str,
    accepted: str,
    ask: Callable[[knownhosts.Key], bool],
) -> knownhosts.Key:
    '''the key of ``host`` that is to be pinned

    It is known, or this machine's own, or has the fingerprint ``accepted``
    (which it must have unless that is ''), or ``ask`` says that it is right;
    what was accepted is recorded. Jump hosts are logged in to with
    ``identity`` where they have no other. Raises SessionError, PrivateError.
    '''
    with private.folder() as folder:
        record = (os.path.join(folder.path, _RECORD), folder.read(_RECORD))
    files = [record, *config.read_known(host.knownhosts, False)]
    key = _wanted(host, _shown(host, files, identity), accepted)
    if not _is_known(host, files, key):
        if not accepted and not ask(key):
            raise errors.SessionError(f'host key of {host} is not accepted')
        line = _line(host, key)
        with private.folder() as folder:
            folder.append(_RECORD, line)
    return key


def _shown(
    host: config.Destination, files: Files, identity: str
) -> Iterator[knownhosts.Key]:
    '''the keys of ``host``, one of each type, those first that are known'''
    seen: list[str] = []
    while True:
        policy = AnyKey(host, files, seen)
        try:
            session.exchange_keys(policy, identity=identity)
        except session.IncompatibleError:
            if not seen:
                raise
            return
        # It has shown one, or there would have been an error.
        assert policy.key
        if policy.key.type in seen:
            raise errors.SessionError(
                f'{host} shows a host key that it was not asked for'
            )
        yield policy.key
        seen.append(policy.key.type)


def _wanted(
    host: config.Destination, shown: Iterable[knownhosts.Key], accepted: str
) -> knownhosts.Key:
    '''the first of the keys, or that with the fingerprint ``accepted``'''
    others = []
    for key in shown:
        if not accepted or key.fingerprint == accepted:
            return key
        others.append(key.short)
    raise errors.SessionError(
        f'{host} has no key with the fingerprint {accepted}',
        f'it shows {" and ".join(others)}: if none of these is right, this is '
        'another host',
    )


def _is_known(
    host: config.Destination, files: Files, key: knownhosts.Key
) -> bool:
    '''whether ``key`` need not be asked for. Raises SessionError'''
    verdict = knownhosts.judge(files, host.keyname, host.keyport, key)
    if verdict.state == 'known':
        return True
    if verdict.entry:
        changed = verdict.state == 'changed'
        entry = verdict.entry
        raise errors.SessionError(
            f'host key of {host} {"has changed" if changed else "is revoked"}',
            f'it shows {key.short}, but {entry.path}:{entry.line} says '
            f'{entry.key.short}: if that is out of date, remove the '
            'line and run this again; if not, this is another host',
        )
    here = addresses.is_this_machine(addresses.ways(host))
    return here and key in _machine_keys()


def _machine_keys() -> list[knownhosts.Key]:
    keys = []
    for path in glob.glob(os.path.join(MACHINE, 'ssh_host_*_key.pub')):
        try:
            _status, content = identitymod.read_file(path)
        except OSError:
            continue
        key = knownhosts.parse_key(content)
        if key:
            keys.append(key)
    return keys


def _line(host: config.Destination, key: knownhosts.Key) -> bytes:
    '''an entry of known_hosts'''
    name = host.keyname
    if not _NAME.match(name):
        raise errors.SessionError(
            f'host key of {host} cannot be recorded',
            f'{name} is no name for a host: check the ssh config',
        )
    name = knownhosts.address(name, host.keyport)
    return f'{name} {key.text}'.encode('ascii')
