# targets.py - where a push is delegated to, read from [delegate]
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the targets of a repository, and what is wrong with one

Nothing here opens a socket or a key: a ``Target`` is what the configuration
says, checked as far as words can be checked.
'''

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

from mercurial import pycompat
from mercurial.i18n import _

from .. import protocol
from . import parsers

SECTION = b'delegate'


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
        return parsers.join_url(self.host, self.port, self.user)


@dataclasses.dataclass(frozen=True)
class ConfigError:
    '''what is wrong with one configuration item of [delegate]

    ``source`` is where Mercurial read the item (``/path/hgrc:7``).
    '''

    item: bytes
    source: bytes
    problem: bytes
    remedy: bytes
    # it is the file that is wrong, and each item of it
    whole: bool = False


# option -> (how its value is read, what counts where it is not set)
OPTIONS = {
    b'when': (bytes, None),
    b'trigger': (parsers.triggers, ('changegroup',)),
    b'command': (parsers.command, None),
    b'identity': (parsers.path, None),
    b'hostkey': (parsers.hostkeys, ()),
    b'knownhosts': (parsers.paths, ()),
    b'connect-timeout': (parsers.duration, 15.0),
    b'idle-timeout': (parsers.duration, 600.0),
    b'timeout': (parsers.duration, 3600.0),
    b'wait': (parsers.boolean, True),
    b'color': (parsers.boolean, True),
    b'output-limit': (parsers.size, 10 * 1024 * 1024),
    b'receiver': (parsers.boolean, False),
    b'retries': (parsers.count, 3),
}

# the settings of [delegate] that name no target
SETTINGS = (
    b'user-variables',
    b'keep',
    b'allow-targets',
    b'allow-repository-config',
)


def canonical(value: bytes) -> str | None:
    '''the one way to write the URL ``value``; None if it is no target's'''
    try:
        return parsers.join_url(*parsers.parse_url(value))
    except parsers.InvalidValue:
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
    ui, moves: Iterable[str], refused: Iterable[ConfigError] = ()
) -> list[bytes]:
    '''the names of the targets with one of the triggers ``moves``

    One whose triggers are not known is among them: its pushes wait until what
    is wrong or ``refused`` there is mended.
    '''
    moved = set(moves)
    if not moved:
        return []
    items = dict(ui.configitems(SECTION))
    default = items.get(b'*:trigger', b'changegroup')
    unknown = {error.item.partition(b':')[0] for error in refused}
    for item in items:
        name, _colon, option = item.partition(b':')
        if option and option not in OPTIONS:
            # it may be a misspelt one of these
            unknown.add(name)
    found = []
    for name in names(ui):
        try:
            value = items.get(name + b':trigger', default) or b''
            asked = set(parsers.triggers(value))
        except parsers.InvalidValue:
            asked = moved
        if asked & moved or unknown & {name, b'*'}:
            found.append(name)
    return found


def is_name(word: bytes) -> bool:
    '''whether ``word`` can be the name of a target'''
    text = word.decode('ascii', 'replace')
    return bool(protocol.TARGET_NAME.fullmatch(text)) and word not in SETTINGS


def read(
    ui, refused: Iterable[ConfigError] = ()
) -> tuple[list[Target], list[ConfigError]]:
    '''the targets that can be served, and what is wrong with the others

    ``refused`` is what the host's policy has against items. Only what
    Mercurial trusts is read. An empty value takes away a target that another
    file has set. A target with a error is not served at all: half of what
    was asked for is not what was asked for.
    '''
    items = dict(ui.configitems(SECTION))
    errors = {error.item: error for error in refused}

    def check(item, parse, value):
        try:
            return parse(value)
        except parsers.InvalidValue as exc:
            source = ui.configsource(SECTION, item)
            errors.setdefault(item, ConfigError(item, source, *exc.args))

    for item in items:
        check(item, lambda item: _known(item, items), item)
    targets = []
    for name in names(ui):
        place = check(name, parsers.parse_url, items[name])
        fields: dict[str, Any] = {}
        for option, (parse, default) in OPTIONS.items():
            field = pycompat.sysstr(option).replace('-', '_')
            fields[field] = default
            for item in (b'*:' + option, name + b':' + option):
                if item in items:
                    fields[field] = check(item, parse, items[item])
        owners = {item.partition(b':')[0] for item in errors}
        if not owners & {name, b'*'}:
            targets.append(Target(pycompat.sysstr(name), *place, **fields))
    return targets, _told_once(errors.values())


def _told_once(errors: Iterable[ConfigError]) -> list[ConfigError]:
    '''``errors``, but of what is wrong with a whole file the first'''
    told: dict[bytes, ConfigError] = {}
    for error in errors:
        key = error.problem if error.whole else error.item
        told.setdefault(key, error)
    return list(told.values())


def _known(item: bytes, items) -> None:
    '''refuse an item of [delegate] that has no meaning'''
    name, colon, option = item.partition(b':')
    if not colon:
        if item in SETTINGS or not items[item]:
            return
        if not is_name(name):
            raise parsers.InvalidValue(
                _(b"'%s' is not a name for a target") % name,
                _(b'use up to 100 letters, digits, dots, underscores, hyphens'),
            )
        return
    if option not in OPTIONS:
        raise parsers.InvalidValue(
            _(b'no such option'), _nearest(option, OPTIONS)
        )
    if name != b'*' and name not in items:
        raise parsers.InvalidValue(
            _(b"there is no target '%s'") % name,
            _nearest(name, [k for k in items if b':' not in k]),
        )
