# SPDX-License-Identifier: GPL-2.0-or-later
'''where a host name leads, as OpenSSH says

``ssh -G`` tells what the ssh_config files mean for a host. This file reads
what it prints, and refuses what narrows the choice and cannot be honoured
here. Where there is no ``ssh``, OpenSSH's defaults count.
'''

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from . import (
    deadline_socket,
    errors,
    knownhosts,
    programs,
    proxy,
    regular_file,
    tokens,
)

_GLOBAL = '/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2'
_USER = '~/.ssh/known_hosts ~/.ssh/known_hosts2'
_KEYS = '~/.ssh/id_rsa ~/.ssh/id_ecdsa ~/.ssh/id_ed25519'
_DEFAULT_KEY = re.compile(r'.*/\.ssh/id_(rsa|dsa|xmss|(ecdsa|ed25519)(_sk)?)')
_FAMILIES = {'inet': socket.AF_INET, 'inet6': socket.AF_INET6}
_PLACE = re.compile(r'\bline [0-9]+')
# What narrows the choice, and is not done here.
_REFUSED = {
    'BindInterface': re.compile('.'),
    'PreferredAuthentications': re.compile(r'(?!(.*,)?publickey(,|$))'),
    'ProxyUseFdpass': re.compile('yes|true'),
    'PubkeyAuthentication': re.compile('no|false'),
}

# What is used, and what makes no difference to a delegation.
_USED = re.compile(
    r'(host|user|hostname|port|addressfamily|bindaddress|hostkeyalias|tag'
    r'|identityfile|certificatefile|(user|global)knownhostsfile|ciphers|macs'
    r'|revokedhostkeys|proxy(jump|command)|requiredrsasize|kexalgorithms|loglevel'
    r'|(hostkey|.*accepted|casignature)algorithms|canonical.*|batchmode|control.*'
    r'|sendenv|gssapi.*|hashknownhosts|identitiesonly|updatehostkeys|serveralive.*'
    r'|.*passwordprompts|(kbdinteractive|password)authentication|addkeystoagent'
    r'|forwardx11(trusted|timeout)|fingerprinthash|visualhostkey|escapechar'
    r'|connect(timeout|ionattempts)|tcpkeepalive|ignoreunknown|xauthlocation'
    r') .*|stricthostkeychecking (yes|true)|'
)

# What ssh -G prints: the values of each keyword, which is in lower case.
Options = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Destination:
    '''where to connect to, and what ssh_config says about it

    ``keyname`` and ``keyport`` are what its host key is looked up by.
    ``identities``, ``certificates``, ``knownhosts`` and ``revoked`` are files.
    ``proxy`` is the program that leads there, and ``way`` what it is called;
    ``family`` and ``bind`` say how to dial without one. ``options`` is all
    that ssh -G has printed: nothing where there is no ssh. ``usual`` is what
    it prints without any configuration, where that was asked. ``target`` is
    what the options that lead there begin with.
    '''

    host: str
    port: int
    user: str
    keyname: str
    keyport: int
    identities: tuple[str, ...]
    knownhosts: tuple[str, ...]
    certificates: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()
    proxy: tuple[str, ...] = ()
    way: str = ''
    family: int = socket.AF_UNSPEC
    bind: str = ''
    options: Options = field(default_factory=dict, repr=False, hash=False)
    usual: Options = field(default_factory=dict, repr=False, hash=False)
    target: str = 'NAME'

    def __str__(self) -> str:
        return f'{self.host} port {self.port}'

    def listed(self, keyword: str) -> list[str]:
        '''the names in the list ``keyword``, none where there is no list'''
        return [*filter(None, first(self.options, keyword).split(','))]

    @property
    def rsa_size(self) -> int:
        '''how many bits an RSA key must have'''
        return int(first(self.options, 'RequiredRSASize') or 0)


def find(
    name: str,
    port: int | None,
    user: str | None,
    deadline: deadline_socket.Deadline,
    *,
    path: str | None = None,
    key: str | None = None,
) -> Destination:
    '''where the host ``name`` leads; ``port`` and ``user`` win over ssh_config

    ``path`` is a file to read in place of ssh's own; ``key`` is the private
    key that jump hosts are offered as well. Raises ConfigurationError,
    OSError, and EOFError when ``deadline`` is over.
    '''
    program = shutil.which('ssh')
    if program is None:
        return _by_default(name, port or knownhosts.DEFAULT_PORT, user)
    ssh = [program, *(['-F', path] if path else [])]
    asked = ['-p', str(port)] if port else []
    asked += ['-l', user] if user else []
    options = ask([*ssh, *asked], name, deadline)
    jump = [*ssh, *(['-i', key] if key else [])]
    return _destination(options, name, jump)


def ask(
    ssh: Sequence[str], name: str, deadline: deadline_socket.Deadline
) -> Options:
    '''what ``ssh -G`` prints of the host ``name``. Raises as find() does'''
    # -T: nothing is to be said of a terminal
    argv = [*ssh, '-G', '-T', '--', name]
    status, said, lines = programs.run(argv, deadline)
    if status:
        # The line that names a place in a file says what is wrong.
        named = [line for line in lines if _PLACE.search(line)]
        line = [*named, *lines, f'status {status}'][0]
        path = re.search(r'/[^\s:]+', line)
        raise errors.ConfigurationError(
            f'ssh -G {name} fails: {line}',
            'the account that runs hg can run it, and see more',
            path=path[0] if path else '',
        )
    options: dict[str, list[str]] = {}
    for line in said.decode('utf-8', 'surrogateescape').split('\n'):
        keyword, _space, value = line.partition(' ')
        options.setdefault(keyword, []).append(value)
    return options


def usual(name: str, deadline: deadline_socket.Deadline) -> Options:
    '''what ssh -G prints of the host ``name`` without any configuration

    Raises as find() does.
    '''
    return ask(['ssh', '-F', 'none'], name, deadline)


def unused(there: Destination, deadline: deadline_socket.Deadline) -> list[str]:
    '''what ssh_config sets for a host and is not used here

    As lines of ssh -G. Raises as find() does.
    '''
    if not there.options:
        return []
    defaults = usual(there.host, deadline)
    return [
        f'{keyword} {value}'
        for keyword, values in there.options.items()
        for value in values
        if not _USED.fullmatch(f'{keyword} {value}')
        and value not in defaults.get(keyword, ())
    ]


def first(options: Options, keyword: str) -> str:
    '''the first value of ``keyword``, '' for none'''
    value = options.get(keyword.lower(), [''])[0]
    return '' if value.lower() == 'none' else value


def read_known(paths: Sequence[str], required: bool) -> list[tuple[str, bytes]]:
    '''the known_hosts files at ``paths``, as pairs of path and content

    One that is not there is passed over, as ssh does, unless ``required``.
    Raises SessionError.
    '''
    found = []
    for name in paths:
        path = os.path.expanduser(name)
        try:
            found.append((path, regular_file.read(path)[1]))
        except OSError as error:
            if required:
                raise errors.ConfigurationError(
                    f'known_hosts file {path} cannot be read: {error.strerror}',
                    tokens.foreign_home(path)
                    or 'knownhosts must name a file '
                    'that the account that runs hg can read',
                    path=path,
                ) from None
    return found


def _by_default(name: str, port: int, user: str | None) -> Destination:
    home = tokens.home()
    keys = _KEYS.replace('~', home).split()
    return Destination(
        host=name,
        port=port,
        user=user or pwd.getpwuid(os.getuid()).pw_name,
        keyname=name,
        keyport=port,
        identities=tuple(filter(os.path.exists, keys)),
        knownhosts=tuple(f'{_USER} {_GLOBAL}'.replace('~', home).split()),
    )


def _destination(
    options: Options, name: str, jump: Sequence[str]
) -> Destination:
    for keyword, pattern in _REFUSED.items():
        value = first(options, keyword)
        if value and pattern.match(value):
            raise errors.ConfigurationError(
                f'{keyword} {value} in the ssh config is not supported',
                'take it out for this host',
            )
    host, port, user, alias = (
        first(options, keyword)
        for keyword in ('HostName', 'Port', 'User', 'HostKeyAlias')
    )
    hops = proxy.hops(first(options, 'ProxyJump'), name)
    last = hops[-1][1] if hops else ''
    values = tokens.values(name, host, port, user, alias, last)
    program = proxy.command(first(options, 'ProxyCommand'), values)
    if hops:
        program = proxy.through(jump, hops, values, f'[{host}]:{port}')
    known = _paths(options, 'UserKnownHostsFile')
    known += _paths(options, 'GlobalKnownHostsFile')
    return Destination(
        host=host,
        port=int(port),
        user=user,
        keyname=alias or host,
        keyport=knownhosts.DEFAULT_PORT if alias else int(port),
        # the default ones only where they are there
        identities=tuple(
            key
            for key in _files(options, 'IdentityFile', values)
            if not _DEFAULT_KEY.fullmatch(key) or os.path.exists(key)
        ),
        knownhosts=tuple(map(tokens.tilde, known)),
        certificates=_files(options, 'CertificateFile', values),
        revoked=tuple(_paths(options, 'RevokedHostKeys')),
        proxy=tuple(program),
        way='the jump host' if hops else 'ProxyCommand',
        family=_FAMILIES.get(first(options, 'AddressFamily'), socket.AF_UNSPEC),
        bind=first(options, 'BindAddress'),
        options=options,
    )


def _files(
    options: Options, keyword: str, values: Mapping[str, str]
) -> tuple[str, ...]:
    return tuple(
        tokens.expand(tokens.tilde(path), values, keyword)
        for path in options.get(keyword.lower(), ())
        if path.lower() != 'none'
    )


def _paths(options: Options, keyword: str) -> list[str]:
    '''the files that ``keyword`` lists, which ssh prints without quotes

    Of what a space may belong to, the longest path that exists is meant.
    '''
    words = first(options, keyword).split(' ')
    found = []
    while words:
        size = len(words)
        while size > 1 and not os.path.exists(' '.join(words[:size])):
            size -= 1
        found.append(' '.join(words[:size]))
        del words[:size]
    return [path for path in found if path]
