# SPDX-License-Identifier: GPL-2.0-or-later
'''getting to know a host: which key is its own, and who says so'''

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Sequence

from ...ssh import (
    addresses,
    config,
    errors,
    hostkeys,
    knownhosts,
    programs,
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
    what was accepted is recorded. Raises DelegateError.
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
        if not _NAME.match(host.keyname):
            raise errors.SessionError(
                f'host key of {host} cannot be recorded',
                f'{host.keyname} is no name for a host: check the ssh config',
            )
        name = knownhosts.address(host.keyname, host.keyport)
        with private.folder() as folder:
            folder.append(_RECORD, f'{name} {key.text}'.encode('ascii'))
    return key


def _shown(host: config.Destination, files: Files) -> list[knownhosts.Key]:
    '''the keys of ``host``, those first whose type is known; at least one

    By way of a proxy it is one alone, of a type that is known if there is one.
    '''
    policy = AnyKey(host, (), files)
    keys = [] if host.proxy else _scan(host)
    if keys:
        order = policy.order(knownhosts.TYPES)
        return sorted(keys, key=lambda key: order.index(key.type))
    # or this says why ssh-keyscan has found nothing
    session.exchange_keys(policy)
    assert policy.key
    return [policy.key]


def _scan(host: config.Destination) -> list[knownhosts.Key]:
    '''what ssh-keyscan says of ``host``'''
    argv = ['ssh-keyscan', '-p', str(host.port), '-t', 'ed25519,ecdsa,rsa']
    family = config.first(host.options, 'AddressFamily')
    argv += {'inet': ['-4'], 'inet6': ['-6']}.get(family, [])
    try:
        _status, said, _lines = programs.run([*argv, '--', host.host])
    except (OSError, EOFError):
        return []
    lines = [line.partition(b' ')[2] for line in said.split(b'\n')]
    return [key for line in lines if (key := knownhosts.parse_key(line))]


def _wanted(
    host: config.Destination, shown: Sequence[knownhosts.Key], accepted: str
) -> knownhosts.Key:
    '''the first of the keys, or that with the fingerprint ``accepted``'''
    for key in shown:
        if accepted in ('', key.fingerprint):
            return key
    others = ' and '.join(key.short for key in shown)
    raise errors.SessionError(
        f'{host} has no key with the fingerprint {accepted}',
        f'it shows {others}: if none of these is right, this is another host',
    )


def _is_known(
    host: config.Destination, files: Files, key: knownhosts.Key
) -> bool:
    '''whether ``key`` need not be asked for. Raises SessionError'''
    verdict = knownhosts.judge(files, host.keyname, host.keyport, key)
    if verdict.state == 'known':
        return True
    if verdict.entry:
        entry = verdict.entry
        what = 'has changed' if verdict.state == 'changed' else 'is revoked'
        raise errors.SessionError(
            f'host key of {host} {what}',
            f'it shows {key.short}, but {entry.path}:{entry.line} says '
            f'{entry.key.short}: if that is out of date, remove the '
            'line and run this again; if not, this is another host',
        )
    if not addresses.is_this_machine(addresses.ways(host)):
        return False
    pattern = os.path.join(MACHINE, 'ssh_host_*_key.pub')
    files = config.read_known(glob.glob(pattern), False)
    return key in [knownhosts.parse_key(content) for _path, content in files]
