# SPDX-License-Identifier: GPL-2.0-or-later
'''how the values of [delegate] are read, and what is wrong with one

Each reader gets the bytes of a value and raises InvalidValue.
'''

from __future__ import annotations

import contextlib
import os
import re
import socket

from mercurial import error, pycompat, util
from mercurial.i18n import _
from mercurial.utils import stringutil, urlutil

from ..ssh import knownhosts

TRIGGERS = ('changegroup', 'bookmark', 'tag', 'phase')
# what the web pages show, the least first
PUBLISHED = (b'no', b'state', b'output')
# what the push channel may do, the least first
REMOTE = ('no', 'list', 'push')

# Host and user become part of ProxyCommand, by ssh_config's tokens: a leading
# dash would be an option there, and a space or a quote would end the word.
_HOST = re.compile(rb'[A-Za-z0-9:_][A-Za-z0-9._:%-]*\Z')
_USER = re.compile(rb'[A-Za-z0-9_][A-Za-z0-9._@+-]*\$?\Z')
_PORT = re.compile(rb'[0-9]{1,5}\Z')
# RFC 5322 3.4.1, without quotes and comments
_ADDRESS = re.compile(
    # no program that sends it takes it for an option
    r"(?!-)[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(\.[\w-]+)*",
    re.ASCII,
)
_DURATION = re.compile(rb'([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([smh]?)\Z')
# The kernel's clocks can wait for no longer.
_MAX_SECONDS = 1e9
_SECONDS = {b'': 1, b's': 1, b'm': 60, b'h': 3600}
# in bytes; execve(2) takes less than 128 KiB at the far side
_MAX_COMMAND = 32 * 1024
_KEYLINE = re.compile(r'[a-z0-9@.-]+ [A-Za-z0-9+/]+=*\Z')


class InvalidValue(ValueError):
    '''a value that cannot be used; its arguments are problem and remedy'''


def duration(value: bytes) -> float:
    match = _DURATION.match(value)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= _MAX_SECONDS:
        raise InvalidValue(
            _(b"'%s' is not a duration") % value,
            _(b'write seconds, or a number with s, m or h, such as 10m'),
        )
    return seconds


def size(value: bytes) -> int:
    try:
        found = util.sizetoint(value)
    except error.ParseError:
        found = -1
    if found < 0:
        raise InvalidValue(
            _(b"'%s' is not a size") % value,
            _(b'write bytes, or a number with a unit, such as 10 MB'),
        )
    return found


def boolean(value: bytes) -> bool:
    parsed = stringutil.parsebool(value)
    if parsed is None:
        raise InvalidValue(
            _(b"'%s' is neither yes nor no") % value, _(b'write yes or no')
        )
    return parsed


def gate(value: bytes) -> str:
    '''``yes`` or ``optional``; '' where the target is no gate'''
    if value == b'optional':
        return 'optional'
    parsed = stringutil.parsebool(value)
    if parsed is None:
        raise InvalidValue(
            _(b"'%s' is neither yes, no nor optional") % value,
            _(b'write yes, no or optional'),
        )
    return 'yes' if parsed else ''


def count(value: bytes) -> int:
    if not re.match(rb'[0-9]{1,3}\Z', value):
        raise InvalidValue(
            _(b"'%s' is not a number from 0 to 999") % value,
            _(b'write how often to try again, or 0'),
        )
    return int(value)


def _text(value: bytes) -> str:
    try:
        text = value.decode('utf-8')
    except UnicodeDecodeError:
        text = '\0'
    if '\0' in text:
        raise InvalidValue(
            _(b'the value is not text'),
            _(b'write it in UTF-8 and without NUL bytes'),
        )
    return text


def command(value: bytes) -> str:
    if len(value) > _MAX_COMMAND:
        raise InvalidValue(
            _(b'the command has %d bytes') % len(value),
            _(b'put it into a script on the deploy side'),
        )
    return _text(value)


def path(value: bytes) -> str:
    expanded = os.path.expanduser(_text(value))
    if not os.path.isabs(expanded):
        raise InvalidValue(
            _(b"'%s' is not an absolute path") % value,
            _(b'write a path that begins with / or ~'),
        )
    return expanded


def paths(value: bytes) -> tuple[str, ...]:
    return tuple(path(word) for word in value.split())


def addresses(value: bytes) -> tuple[str, ...]:
    found = tuple(map(_text, words(value)))
    if not found or not all(map(_ADDRESS.fullmatch, found)):
        raise InvalidValue(
            _(b"'%s' is not a list of mail addresses") % value,
            _(b'write each as name@host, with spaces between them'),
        )
    return found


def triggers(value: bytes) -> tuple[str, ...]:
    found = tuple(map(pycompat.sysstr, words(value)))
    if not found or not set(found) <= set(TRIGGERS):
        raise InvalidValue(
            _(b"'%s' is not a list of triggers") % value,
            _(b'choose from: %s') % ', '.join(TRIGGERS).encode('ascii'),
        )
    return found


def remote(value: bytes) -> str:
    found = pycompat.sysstr(value)
    if found not in REMOTE:
        raise InvalidValue(
            _(b"'%s' does not say what the push channel may do") % value,
            _(b'write no, list or push'),
        )
    return found


def patterns(value: bytes) -> tuple[re.Pattern[str], ...]:
    found = []
    for each in stringutil.parselist(value):
        try:
            found.append(re.compile(_text(each)))
            # it would match between any two characters
            wrong = found[-1].match('') is not None
        except (re.error, OverflowError, RecursionError):
            wrong = True
        if wrong:
            raise InvalidValue(
                _(b"'%s' is not a regular expression for a secret") % each,
                _(b'write a list as Python reads them, such as: token=\\S+'),
            )
    return tuple(found)


def hostkeys(value: bytes) -> tuple[str, ...]:
    lines = re.split(r'[\n,]', _text(value))
    keys = tuple(' '.join(line.split()[:2]) for line in lines if line.strip())
    if not keys or not all(map(_KEYLINE.match, keys)):
        raise InvalidValue(
            _(b'the value is not a host key'),
            _(b'write its type and key, such as: ssh-ed25519 AAAA...'),
        )
    for key in keys:
        if (name := key.partition(' ')[0]) not in knownhosts.TYPES:
            raise InvalidValue(
                _(b"'%s' is not a type of host key") % name.encode('ascii'),
                _(b'use one of %s')
                % ', '.join(knownhosts.TYPES).encode('ascii'),
            )
    return keys


def other_target(value: bytes) -> str | None:
    '''the name of a target; empty for none'''
    return pycompat.sysstr(value) or None


def parse_url(value: bytes) -> tuple[str, int | None, str | None]:
    '''the host, the port and the user, None where the URL has none'''
    remedy = _(b'write ssh://user@host or ssh://user@host:port')
    try:
        url = urlutil.url(value)
    except error.Abort:
        url = urlutil.url(b'')  # which is refused as well
    if url.passwd is not None:
        # the value is not repeated: it holds a secret, and pushers read this
        raise InvalidValue(_(b'the URL has a password'), _(b'log in by key'))
    host = re.sub(rb'\A\[(.*)\]\Z', rb'\1', url.host or b'')
    user = url.user or b''
    port = int(url.port) if _PORT.match(url.port or b'') else 0
    if url.scheme != b'ssh' or not host:
        problem = _(b"'%s' is not an ssh:// URL")
    elif (url.path or b'').strip(b'/') or url.query or url.fragment is not None:
        problem = _(b"'%s' has more than a host")
    elif not _HOST.match(host) or not _USER.match(user or b'x'):
        problem = _(b"'%s' is not a user and a host")
    elif not _is_address(pycompat.sysstr(host)):
        problem = _(b"'%s' has an invalid address")
    elif url.port is not None and not 0 < port < 65536:
        problem = _(b"'%s' has no port 1 to 65535")
    else:
        return (
            pycompat.sysstr(host),
            port or None,
            pycompat.sysstr(user) or None,
        )
    raise InvalidValue(problem % value, remedy)


def _is_address(host: str) -> bool:
    '''whether ``host`` is a right address, or a name'''
    # A name with a colon, or of nothing but numbers, can be no other thing.
    named = ':' not in host and re.search('[^0-9.]', host)
    with contextlib.suppress(OSError):
        if ':' in host:
            socket.inet_pton(socket.AF_INET6, host.partition('%')[0])
        elif not named:
            # as ssh does, which takes 127.1 as well
            socket.inet_aton(host)
        return True
    return False


def join_url(host: str, port: int | None, user: str | None) -> str:
    host = '[%s]' % host if ':' in host else host
    login = user + '@' if user else ''
    return 'ssh://%s%s%s' % (login, host, ':%d' % port if port else '')


def keep(value: bytes | None) -> int:
    '''how many records of each target are kept, as ``keep`` says'''
    if value and re.match(rb'[0-9]{1,9}\Z', value):
        return max(1, int(value))
    return 100


def published(value: bytes) -> int:
    '''how much the web pages show, as its place in PUBLISHED'''
    if value not in PUBLISHED:
        raise InvalidValue(
            _(b"'%s' does not say what the web pages show") % value,
            _(b'write no, state or output; no target can be named web'),
        )
    return PUBLISHED.index(value)


def words(value: bytes) -> list[bytes]:
    '''a list as Mercurial's configuration writes it: spaces or commas'''
    return value.replace(b',', b' ').split()
