# target.py - where a push is delegated to, read from [delegate]
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the targets of a repository, and every mistake one can make naming them

Nothing here opens a socket or a key: a ``Target`` is what the configuration
says, checked as far as words can be checked.
'''

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Iterable
from typing import Any

from mercurial import (
    error,
    pycompat,
    util,
)
from mercurial.i18n import _
from mercurial.utils import (
    stringutil,
    urlutil,
)

SECTION = b'delegate'
TRIGGERS = ('changegroup', 'bookmark', 'phase')

# As long as our receiver takes, and as a file name for the lock may be.
_NAME = re.compile(rb'[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z')
# Host and user reach ProxyCommand and ssh_config's tokens: a leading dash
# would be an option there, and a space or a quote a second word.
_HOST = re.compile(rb'[A-Za-z0-9:_][A-Za-z0-9._:%-]*\Z')
_USER = re.compile(rb'[A-Za-z0-9_][A-Za-z0-9._@+-]*\$?\Z')
_DURATION = re.compile(rb'([0-9]+(?:\.[0-9]+)?)\s*([smh]?)\Z')
_SECONDS = {b'': 1, b's': 1, b'm': 60, b'h': 3600}
_KEYLINE = re.compile(r'[a-z0-9@.-]+ [A-Za-z0-9+/]+=*\Z')


@dataclasses.dataclass(frozen=True)
class Target:
    '''one entry of [delegate]; durations in seconds, sizes in bytes

    ``port``, ``user``, ``identity`` and ``knownhosts`` are None or empty
    where ``~/.ssh/config`` and OpenSSH's defaults decide.
    '''

    name: str
    host: str
    port: int | None
    user: str | None
    when: bytes | None
    trigger: tuple[str, ...]
    command: str | None
    identity: str | None
    hostkey: tuple[str, ...]
    knownhosts: tuple[str, ...]
    connect_timeout: float
    idle_timeout: float
    timeout: float
    wait: bool
    color: bool
    output_limit: int
    receiver: bool
    retries: int

    @property
    def url(self) -> str:
        return _join(self.host, self.port, self.user)


@dataclasses.dataclass(frozen=True)
class Mistake:
    '''what is wrong with one configuration item of [delegate]

    ``source`` is where Mercurial read the item (``/path/hgrc:7``).
    '''

    item: bytes
    source: bytes
    problem: bytes
    remedy: bytes
    # it is the file that is wrong, and each item of it
    whole: bool = False


class _Wrong(ValueError):
    '''a value that cannot be used: (problem, remedy), both bytes'''


def _duration(value: bytes) -> float:
    match = _DURATION.match(value)
    if not match or not float(match.group(1)):
        raise _Wrong(
            _(b"'%s' is not a duration") % value,
            _(b'write seconds, or a number with s, m or h, such as 10m'),
        )
    return float(match.group(1)) * _SECONDS[match.group(2)]


def _size(value: bytes) -> int:
    try:
        size = util.sizetoint(value)
    except error.ParseError:
        size = -1
    if size < 0:
        raise _Wrong(
            _(b"'%s' is not a size") % value,
            _(b'write bytes, or a number with a unit, such as 10 MB'),
        )
    return size


def _bool(value: bytes) -> bool:
    parsed = stringutil.parsebool(value)
    if parsed is None:
        raise _Wrong(
            _(b"'%s' is neither yes nor no") % value, _(b'write yes or no')
        )
    return parsed


def _count(value: bytes) -> int:
    if not re.match(rb'[0-9]{1,3}\Z', value):
        raise _Wrong(
            _(b"'%s' is not a number from 0 to 999") % value,
            _(b'write how often to try again, or 0'),
        )
    return int(value)


def _text(value: bytes) -> str:
    try:
        text = value.decode('utf-8')
    except UnicodeDecodeError:
        problem = _(b'the value is not UTF-8')
        raise _Wrong(problem, _(b'write it in UTF-8')) from None
    if '\0' in text:
        raise _Wrong(_(b'the value has a NUL byte'), _(b'remove it'))
    return text


def _command(value: bytes) -> str:
    # facts: 128 KiB and more fails to exec at the far side
    text = _text(value)
    if len(value) > 32768:
        raise _Wrong(
            _(b'the command has %d bytes') % len(value),
            _(b'put it into a script on the deploy side'),
        )
    return text


def _path(value: bytes) -> str:
    path = os.path.expanduser(_text(value))
    if not os.path.isabs(path):
        raise _Wrong(
            _(b"'%s' is not an absolute path") % value,
            _(b'write a path that begins with / or ~'),
        )
    return path


def _paths(value: bytes) -> tuple[str, ...]:
    return tuple(_path(word) for word in value.split())


def _trigger(value: bytes) -> tuple[str, ...]:
    triggers = tuple(map(pycompat.sysstr, words(value)))
    if not triggers or not set(triggers) <= set(TRIGGERS):
        raise _Wrong(
            _(b"'%s' is not a list of triggers") % value,
            _(b'choose from: %s') % ', '.join(TRIGGERS).encode('ascii'),
        )
    return triggers


def _hostkey(value: bytes) -> tuple[str, ...]:
    keys = []
    for line in re.split(r'[\n,]', _text(value)):
        words = line.split()[:2]
        if words:
            keys.append(' '.join(words))
    if not keys or not all(_KEYLINE.match(key) for key in keys):
        raise _Wrong(
            _(b'the value is not a host key'),
            _(b'write its type and key, such as: ssh-ed25519 AAAA...'),
        )
    return tuple(keys)


# option -> (how its value is read, what counts where it is not set)
OPTIONS = {
    b'when': (bytes, None),
    b'trigger': (_trigger, ('changegroup',)),
    b'command': (_command, None),
    b'identity': (_path, None),
    b'hostkey': (_hostkey, ()),
    b'knownhosts': (_paths, ()),
    b'connect-timeout': (_duration, 15.0),
    b'idle-timeout': (_duration, 600.0),
    b'timeout': (_duration, 3600.0),
    b'wait': (_bool, True),
    b'color': (_bool, True),
    b'output-limit': (_size, 10 * 1024 * 1024),
    b'receiver': (_bool, False),
    b'retries': (_count, 3),
}

# the settings of [delegate] that name no target
SETTINGS = (
    b'user-variables',
    b'keep',
    b'allow-targets',
    b'allow-repository-config',
)


def _url(value: bytes) -> tuple[str, int | None, str | None]:
    remedy = _(b'write ssh://user@host or ssh://user@host:port')
    try:
        url = urlutil.url(value)
    except error.Abort:
        raise _Wrong(_(b"'%s' is not a URL") % value, remedy) from None
    if url.scheme != b'ssh' or not url.host:
        raise _Wrong(_(b"'%s' is not an ssh:// URL") % value, remedy)
    if url.passwd is not None:
        # the value is not repeated: it holds a secret, and pushers read this
        raise _Wrong(_(b'the URL has a password'), _(b'log in by key'))
    if (url.path or b'').strip(b'/') or url.query or url.fragment is not None:
        raise _Wrong(_(b"'%s' has more than a host") % value, remedy)
    host = url.host
    if host.startswith(b'[') and host.endswith(b']'):
        host = host[1:-1]
    if not _HOST.match(host) or not _USER.match(url.user or b'x'):
        raise _Wrong(_(b"'%s' is not a user and a host") % value, remedy)
    port = None
    if url.port is not None:
        port = int(url.port) if re.match(rb'[0-9]{1,5}\Z', url.port) else 0
        if not 0 < port < 65536:
            raise _Wrong(_(b"'%s' has no port 1 to 65535") % value, remedy)
    user = url.user and url.user.decode('ascii')
    return host.decode('ascii'), port, user or None


def _join(host: str, port: int | None, user: str | None) -> str:
    host = '[%s]' % host if ':' in host else host
    login = user + '@' if user else ''
    return 'ssh://%s%s%s' % (login, host, ':%d' % port if port else '')


def canonical(value: bytes) -> str | None:
    '''the one way to write the URL ``value``; None if it is no target's'''
    try:
        return _join(*_url(value))
    except _Wrong:
        return None


def _nearest(word: bytes, known) -> bytes:
    near = difflib.get_close_matches(
        pycompat.sysstr(word), [pycompat.sysstr(k) for k in known], 1
    )
    if near:
        return _(b'did you mean %s?') % pycompat.sysbytes(near[0])
    return _(b"see 'hg help delegate.config'")


def names(ui) -> list[bytes]:
    '''the names of the targets that the trusted configuration has

    Mistakes are left alone: a push waits for a target that is set wrongly.
    '''
    items = ui.configitems(SECTION)
    return [key for key, value in items if value and is_name(key)]


def concerned(
    ui, moves: Iterable[str], refused: Iterable[Mistake] = ()
) -> list[bytes]:
    '''the names of the targets with one of the triggers ``moves``

    One whose triggers are not known is among them: its pushes wait until what
    is wrong or ``refused`` there is mended.
    '''
    moved = set(map(pycompat.sysbytes, moves))
    if not moved:
        return []
    items = dict(ui.configitems(SECTION))
    default = items.get(b'*:trigger', b'changegroup')
    unknown = {mistake.item.partition(b':')[0] for mistake in refused}
    for item in items:
        name, _colon, option = item.partition(b':')
        if option and option not in OPTIONS:
            # it may be a misspelt one of these
            unknown.add(name)
    found = []
    for name in names(ui):
        asked = set(words(items.get(name + b':trigger', default) or b''))
        known = set(map(pycompat.sysbytes, TRIGGERS))
        mistaken = not asked or not asked <= known
        if asked & moved or mistaken or unknown & {name, b'*'}:
            found.append(name)
    return found


def is_name(word: bytes) -> bool:
    '''whether ``word`` can be the name of a target'''
    return bool(_NAME.match(word)) and word not in SETTINGS


def read(
    ui, refused: Iterable[Mistake] = ()
) -> tuple[list[Target], list[Mistake]]:
    '''the targets that can be served, and what is wrong with the others

    ``refused`` is what the host's policy has against items. Only what
    Mercurial trusts is read. An empty value takes away a target that another
    file has set. A target with a mistake is not served at all: half of what
    was asked for is not what was asked for.
    '''
    items = dict(ui.configitems(SECTION))
    mistakes = {mistake.item: mistake for mistake in refused}

    def check(item, parse, value):
        try:
            return parse(value)
        except _Wrong as exc:
            source = ui.configsource(SECTION, item)
            mistakes.setdefault(item, Mistake(item, source, *exc.args))

    for item in items:
        check(item, lambda item: _known(item, items), item)
    targets = []
    for name in names(ui):
        place = check(name, _url, items[name])
        values: dict[str, Any] = {}
        for option, (parse, default) in OPTIONS.items():
            field = pycompat.sysstr(option).replace('-', '_')
            values[field] = default
            for item in (b'*:' + option, name + b':' + option):
                if item in items:
                    values[field] = check(item, parse, items[item])
        owners = {item.partition(b':')[0] for item in mistakes}
        if not owners & {name, b'*'}:
            targets.append(Target(pycompat.sysstr(name), *place, **values))
    return targets, _told_once(mistakes.values())


def _told_once(mistakes: Iterable[Mistake]) -> list[Mistake]:
    '''``mistakes``, but of what is wrong with a whole file the first'''
    told: dict[bytes, Mistake] = {}
    for mistake in mistakes:
        key = mistake.problem if mistake.whole else mistake.item
        told.setdefault(key, mistake)
    return list(told.values())


def _known(item: bytes, items) -> None:
    '''refuse an item of [delegate] that has no meaning'''
    name, colon, option = item.partition(b':')
    if not colon:
        if item in SETTINGS or not items[item]:
            return
        if not _NAME.match(name):
            raise _Wrong(
                _(b"'%s' is not a name for a target") % name,
                _(b'use up to 100 letters, digits, dots, underscores, hyphens'),
            )
        return
    if option not in OPTIONS:
        raise _Wrong(_(b'no such option'), _nearest(option, OPTIONS))
    if name != b'*' and name not in items:
        raise _Wrong(
            _(b"there is no target '%s'") % name,
            _nearest(name, [k for k in items if b':' not in k]),
        )


def keep(value: bytes | None) -> int:
    '''how many records of each target are kept, as ``keep`` says'''
    return max(1, int(value)) if value and value.isdigit() else 100


def words(value: bytes) -> list[bytes]:
    '''a list as Mercurial's configuration writes it: spaces or commas'''
    return value.replace(b',', b' ').split()
