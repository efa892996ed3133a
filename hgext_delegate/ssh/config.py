# config.py - where a host name leads
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''where a host name leads, by ssh_config(5)

The reader of ssh_config is paramiko's, and is handed in; this file says what
its answers mean.
'''

from __future__ import annotations

import getpass
import os
import pwd
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import configtext, errors, identity, knownhosts

_GLOBAL = '/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2'
_USER = '~/.ssh/known_hosts ~/.ssh/known_hosts2'
_IDENTITIES = ('~/.ssh/id_rsa', '~/.ssh/id_ecdsa', '~/.ssh/id_ed25519')

_JUMP = re.compile(
    r'(?:ssh://)?(?:([^@]+)@)?(\[[^\]]+\]|[^][:/@]+)(?::([0-9]+))?/?'
)

# From the text of an ssh_config and a host name to the options for it.
Reader = Callable[[str, str], Mapping[str, Any]]


@dataclass(frozen=True)
class Destination:
    '''where to connect to, and what ssh_config says about it

    ``keyname`` and ``keyport`` are what its host key is looked up by;
    ``identities`` is None where none is configured, and ``certificate`` is
    a CertificateFile or ''; ``jumps`` are the hosts to pass through, and
    ``command`` is a ProxyCommand or ''.
    '''

    host: str
    port: int
    user: str
    keyname: str
    keyport: int
    identities: tuple[str, ...] | None
    certificate: str
    knownhosts: tuple[str, ...]
    jumps: tuple[str, ...]
    command: str

    def __str__(self) -> str:
        return f'{self.host} port {self.port}'


def find(
    path: str,
    reader: Reader,
    host: str,
    port: int | None = None,
    user: str | None = None,
) -> Destination:
    '''where ``host`` leads by the ssh_config at ``path``

    ``port`` and ``user`` win over it. Raises SessionError.
    '''
    # As with ssh the first value obtained for an option counts, so what was
    # asked for stands first; %p and %r then mean it as well.
    given = (('Port', port), ('User', user))
    asked = ''.join(f'{key} {value}\n' for key, value in given if value)
    _check_account()
    text = asked + configtext.read(path)
    try:
        return _destination(reader(text, host), host)
    except (ValueError, LookupError) as error:
        raise configtext.trouble(
            path, 'is damaged', detail=str(error)
        ) from None


def parse_jump(text: str) -> tuple[str, int | None, str | None]:
    '''host, port and user of one hop of ProxyJump. Raises SessionError'''
    match = _JUMP.fullmatch(text.strip())
    if match is None:
        raise errors.ConfigurationError(
            f'ProxyJump {text} in the ssh config is damaged',
            'it is written [user@]host[:port]',
        )
    user, host, port = match.groups()
    return host.strip('[]'), int(port) if port else None, user


def read_known(paths: Sequence[str], required: bool) -> list[tuple[str, bytes]]:
    '''the known_hosts files at ``paths``, as pairs of path and content

    One that is not there is passed over, as ssh does, unless ``required``.
    Raises SessionError.
    '''
    found = []
    for name in paths:
        path = os.path.expanduser(name)
        try:
            found.append((path, identity.read_file(path)[1]))
        except OSError as error:
            if required:
                words = f'cannot be read: {error.strerror}'
                base = os.path.basename(path)
                raise errors.ConfigurationError(
                    f'known_hosts file {base} {words}', detail=path
                ) from None
    return found


def default_identities() -> list[str]:
    '''those of OpenSSH's default names that exist'''
    paths = map(os.path.expanduser, _IDENTITIES)
    return [path for path in paths if os.path.exists(path)]


def _destination(options: Mapping[str, Any], name: str) -> Destination:
    host = options['hostname']
    port = int(options.get('port', knownhosts.DEFAULT_PORT))
    if not 0 < port < 65536:
        raise ValueError(f'there is no port {port}')
    alias = options.get('hostkeyalias')
    user = options.get('user') or _account()
    # The one that stands first counts; the reader keeps their order. But
    # `ProxyJump none` lets a ProxyCommand below it count, while `ProxyCommand
    # none` means that there is no proxy.
    proxies = [
        key
        for key in options
        if key == 'proxycommand'
        or (key == 'proxyjump' and options[key].lower() != 'none')
    ]
    proxy = proxies[0] if proxies else ''
    way = options.get(proxy, '')
    if proxy == 'proxycommand':
        tokens = {'%': '%', 'h': host, 'n': name, 'p': str(port), 'r': user}
        way = '' if way.lower() == 'none' else _expanded(way, tokens)
    files = shlex.split(options.get('userknownhostsfile', _USER))
    files += shlex.split(options.get('globalknownhostsfile', _GLOBAL))
    identities = options.get('identityfile')
    certificate = options.get('certificatefile', 'none')
    return Destination(
        host=host,
        port=port,
        user=user,
        keyname=alias or host,
        keyport=knownhosts.DEFAULT_PORT if alias else port,
        identities=identities
        and tuple(i for i in identities if i.lower() != 'none'),
        certificate='' if certificate.lower() == 'none' else certificate,
        knownhosts=tuple(f for f in files if f.lower() != 'none'),
        jumps=tuple(way.split(',')) if proxy == 'proxyjump' else (),
        command=way if proxy == 'proxycommand' else '',
    )


def _expanded(text: str, tokens: Mapping[str, str]) -> str:
    '''``text`` with the values of ``tokens``. Raises ValueError'''

    def value(match: re.Match[str]) -> str:
        if match[1] not in tokens:
            raise ValueError(f'no such token: %{match[1]}')
        return tokens[match[1]]

    return re.sub('%(.?)', value, text, flags=re.DOTALL)


def _check_account() -> None:
    # The reader asks for it as well, and where there is none its KeyError would
    # look like a damaged file.
    try:
        getpass.getuser()
    except (KeyError, OSError):
        raise _no_account('set LOGNAME in the environment of hg') from None


def _account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise _no_account(
            'name the user to log in as, in the URL of the target'
        ) from None


def _no_account(remedy: str) -> errors.SessionError:
    return errors.ConfigurationError(
        f'no account has the number {os.getuid()}', remedy
    )
