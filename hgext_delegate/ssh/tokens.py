# SPDX-License-Identifier: GPL-2.0-or-later
'''what ``ssh -G`` leaves to be expanded: %-tokens, ${VARIABLES} and ~

See ssh_config(5), TOKENS and ENVIRONMENT VARIABLES.
'''

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import socket
from collections.abc import Mapping

from . import errors


def home() -> str:
    '''the home of this account, as ssh takes it: whatever $HOME is'''
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise errors.ConfigurationError(
            f'no account has the number {os.getuid()}',
            'hg must run as an account that the system knows',
        ) from None


def foreign_home(path: str) -> str:
    '''the remedy where ``path`` is below a $HOME of another account, else ''

    As where sudo, or a web server that was started by root, has left it.
    '''
    there = os.environ.get('HOME', '').rstrip('/')
    with contextlib.suppress(OSError):
        if path.startswith(f'{there}/') and there != home():
            if os.stat(there or '/').st_uid != os.getuid():
                me = pwd.getpwuid(os.getuid()).pw_name
                return f"HOME is another account's: run hg with HOME=~{me}"
    return ''


def short(text: str) -> str:
    '''``text`` with ~ for the home of this account'''
    return text.replace(home().rstrip('/') + '/', '~/')


def values(
    name: str, host: str, port: str, user: str, alias: str, jump: str
) -> dict[str, str]:
    '''what each token stands for, for a host that was asked for as ``name``'''
    here = socket.gethostname()
    unique = ''.join((here, host, port, user, jump))
    return {
        '%': '%',
        # of OpenSSH 9.6 and later where there is a jump host
        'C': hashlib.sha1(os.fsencode(unique)).hexdigest(),
        'd': home(),
        'h': host,
        'i': str(os.getuid()),
        'j': jump,
        'k': alias or name,
        'L': here.partition('.')[0],
        'l': here,
        'n': name,
        'p': port,
        'r': user,
        'u': pwd.getpwuid(os.getuid()).pw_name,
    }


def expand(text: str, tokens: Mapping[str, str], keyword: str) -> str:
    '''``text``, a value of ``keyword``, with the values of its tokens

    Raises ConfigurationError.
    '''

    def value(match: re.Match[str]) -> str:
        token, variable = match.groups()
        found = os.environ.get(variable) if variable else tokens.get(token)
        if found is None:
            raise errors.ConfigurationError(
                f'{keyword} in the ssh config has an unknown {match[0]}',
                'see TOKENS and ENVIRONMENT VARIABLES in ssh_config(5)',
            )
        return found

    return re.sub(r'%(.?)|\$\{([^}]*)\}', value, text, flags=re.DOTALL)


def tilde(path: str) -> str:
    '''``path`` without a ~ in front'''
    of_us = path.startswith('~/')
    return home() + path[1:] if of_us else os.path.expanduser(path)
