# SPDX-License-Identifier: GPL-2.0-or-later
'''one guarded SSH session with an other side that is not trusted

What the rest of the extension uses of this folder.
'''

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from . import (
    channel_receiver,
    config as configmod,
    connection,
    deadline_socket,
    errors as errorsmod,
    hostkeys as hostkeysmod,
    identity as identitymod,
    keyfile,
    knownhosts as knownhostsmod,
    link as linkmod,
)

SessionError = errorsmod.SessionError
ConfigurationError = errorsmod.ConfigurationError
Expired = errorsmod.Expired
Session = connection.Session
Agreed = connection.Agreed
End = channel_receiver.End


def open(
    host: str,
    *,
    port: int | None = None,
    user: str | None = None,
    identity: str | None = None,
    hostkeys: Sequence[str] = (),
    knownhosts: Sequence[str] = (),
    connect_timeout: float = 15.0,
    config_path: str | None = None,
    address: str | None = None,
    deadline: deadline_socket.Deadline | None = None,
    allow_root: bool = True,
    target: str = 'NAME',
) -> Session:
    '''connect and log in to ``host`` within ``connect_timeout`` seconds

    What is not given comes from ssh's own configuration files, or the one at
    ``config_path``. If ``hostkeys`` (`TYPE BASE64`) are given, only they
    count; else, if given, only the files ``knownhosts``. ``address`` is to be
    one of the host's; else all of them are tried. ``deadline`` is for whoever
    may want to end it all. Raises SessionError, also for what would log in as
    root without ``allow_root``. ``target`` is for the words of the errors.
    '''
    link = linkmod.Link(deadline or deadline_socket.Deadline(), connect_timeout)
    try:
        there = link.find(host, port, user, config_path, identity)
        there = dataclasses.replace(there, target=target)
        _check_user(there, allow_root)
        if address:
            there = dataclasses.replace(there, host=address)
        keys = identitymod.keys(there, identity)
        names = knownhosts or there.knownhosts
        files = configmod.read_known(names, bool(knownhosts))
        link.connect(hostkeysmod.HostKeyPolicy(there, hostkeys, files))
        link.log_in(there.user, keys)
    except SessionError as error:
        error.step = link.step
        link.close()
        raise
    except BaseException:
        link.close()
        raise
    return Session(link)


def find(
    host: str,
    port: int | None,
    user: str | None,
    identity: str | None = None,
    patience: float = 15.0,
    allow_root: bool = True,
    target: str = 'NAME',
) -> configmod.Destination:
    '''where ``host`` leads, as open() goes there. Raises SessionError'''
    link = linkmod.Link(deadline_socket.Deadline(), patience)
    there = link.find(host, port, user, key=identity)
    there = dataclasses.replace(there, target=target)
    _check_user(there, allow_root)
    return there


def _check_user(there: configmod.Destination, allow_root: bool) -> None:
    if there.user == 'root' and not allow_root:
        # by ssh_config's User, or since hg itself runs as root
        raise ConfigurationError(
            f'no user is named for {there}, and the login would be as root',
            "name one in the target's URL, or set "
            f'{there.target}:allow-root = yes',
        )


def unused(there: configmod.Destination, patience: float = 15.0) -> list[str]:
    '''what ssh_config sets for a host and is not used. Raises SessionError'''
    link = linkmod.Link(deadline_socket.Deadline(), patience)
    with link.worded():
        return configmod.unused(there, link.deadline)


def exchange_keys(
    policy: hostkeysmod.HostKeyPolicy, patience: float = 15.0
) -> None:
    '''exchange keys with ``policy.host``, which ``policy`` judges, and go

    Nobody logs in there, and all is done within ``patience`` seconds. Raises
    SessionError.
    '''
    link = linkmod.Link(deadline_socket.Deadline(), patience)
    try:
        link.connect(policy)
    finally:
        link.close()


def public_key(path: str) -> knownhostsmod.Key:
    '''the public half of the private key at ``path``. Raises SessionError'''
    return knownhostsmod.key_of(keyfile.load(path).asbytes())
