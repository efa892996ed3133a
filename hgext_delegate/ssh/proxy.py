# SPDX-License-Identifier: GPL-2.0-or-later
'''the programs that lead to a host: a ProxyCommand, and ssh -W for ProxyJump

Pure: they are made here, and run elsewhere.
'''

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from . import errors, tokens

# user, host and port, of which all but the host may be empty
Hop = tuple[str, str, str]

_HOP = re.compile(r'(?:ssh://)?(?:(.+)@)?(\[[^]]+\]|[^][:/@]+)(?::([0-9]+))?/?')
_HOST_AND_PORT = '[%h]:%p'
# As ssh runs itself for ProxyJump, but nobody is asked, no agent is used, and
# the host key is judged as strictly as that of the host itself.
_JUMP = ['-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=yes',
         '-o', 'IdentityAgent=none', '-o', 'LogLevel=INFO']  # fmt: skip


def command(text: str, values: Mapping[str, str]) -> list[str]:
    '''the program of the ProxyCommand ``text``, none where that is '' '''
    if not text:
        return []
    return ['/bin/sh', '-c', f'exec {_expanded(text, values, "ProxyCommand")}']


def hops(text: str, name: str) -> list[Hop]:
    '''the jump hosts of the ProxyJump ``text`` of the host ``name``

    Raises ConfigurationError.
    '''
    found = []
    for hop in filter(None, text.split(',')):
        match = _HOP.fullmatch(hop)
        if match is None:
            raise errors.ConfigurationError(
                f'ProxyJump {hop} in the ssh config is damaged',
                'it is written [user@]host[:port]',
            )
        user, host, port = match.groups(default='')
        found.append((user, host.strip('[]'), port))
    if ('', name, '') in found:
        # ssh would start itself without end
        raise errors.ConfigurationError(
            f'ProxyJump of {name} leads back to {name}',
            'give the jump host a name of its own in the ssh config',
        )
    return found


def through(
    ssh: Sequence[str],
    hops: Sequence[Hop],
    values: Mapping[str, str],
    where: str = _HOST_AND_PORT,
) -> list[str]:
    '''the program that leads through ``hops``, one after the other'''
    user, host, port = (
        _expanded(part, values, 'ProxyJump') for part in hops[-1]
    )
    argv = [*ssh, *_JUMP, *(['-l', user] if user else [])]
    argv += ['-p', port] if port else []
    if hops[:-1]:
        # ssh expands this, and what stands in it is for another ssh
        words = [
            word if word == _HOST_AND_PORT else word.replace('%', '%%')
            for word in through(ssh, hops[:-1], values)
        ]
        argv += ['-o', f'ProxyCommand={shlex.join(words)}']
    return [*argv, '-W', where, '--', host]


def _expanded(text: str, values: Mapping[str, str], keyword: str) -> str:
    known = {token: values[token] for token in '%hknpr'}
    return tokens.expand(text, known, keyword)
