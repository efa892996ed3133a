# SPDX-License-Identifier: GPL-2.0-or-later
'''getting to know a host: which key is its own, and who says so'''

from __future__ import annotations

import glob
import os
import re
import socket
from collections.abc import Callable, Sequence

from ...ssh import (
    addresses,
    config,
    deadline_socket,
    errors,
    hostkeys,
    knownhosts,
    programs,
    regular_file,
    session,
)
from . import private

# Where a machine keeps the keys of its sshd.
MACHINE = '/etc/ssh'

_RECORD = 'known_hosts'
# in seconds
_PATIENCE = 15
# Anything else is a pattern or a separator in a known_hosts file.
_NAME = re.compile(r'[A-Za-z0-9._:%-]+\Z')

Files = Sequence[tuple[str, bytes]]


class AnyKey(hostkeys.HostKeyPolicy):
    '''takes any key that is not revoked or too weak, and notes it'''

    key: knownhosts.Key | None = None

    def judge(self, key: knownhosts.Key) -> None:
        self.key = key


def host_key(
    host: config.Destination,
    accepted: str,
    ask: Callable[[knownhosts.Key], bool],
) -> knownhosts.Key:
    '''the key of ``host`` that is to be pinned

    It is known, or this machine's own, or has the fingerprint ``accepted``
    (which it must have unless that is ''), or ``ask`` says that it is right;
    what was accepted is recorded. Raises SessionError, PrivateError.
    '''
    with private.folder() as folder:
        record = (os.path.join(folder.path, _RECORD), folder.read(_RECORD))
    files = [record, *config.read_known(host.knownhosts, False)]
    key = _wanted(host, _shown(host, files), accepted)
    if not host.proxy:
        # ssh-keyscan does not look whether the host has the private half
        session.exchange_keys(hostkeys.HostKeyPolicy(host, [key.text], ()))
    if not _is_known(host, files, key):
        if not accepted and not ask(key):
            raise errors.SessionError(f'host key of {host} is not accepted')
        line = _line(host, key)
        with private.folder() as folder:
            folder.append(_RECORD, line)
    return key


def _shown(host: config.Destination, files: Files) -> list[knownhosts.Key]:
    '''the keys of ``host``, those first whose type is known; at least one

    By way of a proxy it is one alone, of a type that is known if there is one.
    '''
    policy = AnyKey(host, (), files)
    keys = [] if host.proxy else _scan(host)
    if keys:
        order = policy.order(hostkeys.TYPES)
        return sorted(keys, key=lambda key: order.index(key.type))
    # or this says why ssh-keyscan has found nothing
    session.exchange_keys(policy)
    assert policy.key
    return [policy.key]


def _scan(host: config.Destination) -> list[knownhosts.Key]:
    '''what ssh-keyscan says of ``host``'''
    deadline = deadline_socket.Deadline()
    deadline.set(_PATIENCE, 'too late')
    families: dict[int, list[str]] = {
        socket.AF_INET: ['-4'],
        socket.AF_INET6: ['-6'],
    }
    argv = ['ssh-keyscan', *families.get(host.family, []), '-p', str(host.port)]
    try:
        _status, said, _lines = programs.run(
            [*argv, '-t', 'ed25519,ecdsa,rsa', '--', host.host], deadline
        )
    except (OSError, EOFError):
        return []
    lines = [line.partition(b' ')[2] for line in said.split(b'\n')]
    return [key for line in lines if (key := knownhosts.parse_key(line))]


def _wanted(
    host: config.Destination, shown: Sequence[knownhosts.Key], accepted: str
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
            _status, content = regular_file.read(path)
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
