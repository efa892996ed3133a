# SPDX-License-Identifier: GPL-2.0-or-later
'''the targets of a repository, and what is wrong with one

Nothing here opens a socket or a key file: only the words are checked.
'''

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mercurial import pycompat
from mercurial.i18n import _

from .. import protocol
from . import parsers

SECTION = b'delegate'

# the timeout of a gate, in seconds: the repository is locked meanwhile
_GATE_TIMEOUT = 120.0


def _option(parse: Callable[[bytes], Any], default: Any = None) -> Any:
    '''a field that is an option; ``parse`` reads its value'''
    return dataclasses.field(default=default, metadata={'parse': parse})


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
    # whether ``when`` is another's than the host's, which has a policy
    is_limited: bool = False
    when: bytes | None = _option(bytes)
    trigger: tuple[str, ...] = _option(parsers.triggers, ('changegroup',))
    command: str | None = _option(parsers.command)
    identity: str | None = _option(parsers.path)
    hostkey: tuple[str, ...] = _option(parsers.hostkeys, ())
    knownhosts: tuple[str, ...] = _option(parsers.paths, ())
    connect_timeout: float = _option(parsers.duration, 15.0)
    idle_timeout: float = _option(parsers.duration, 600.0)
    timeout: float = _option(parsers.duration, 3600.0)
    wait: bool = _option(parsers.boolean, True)
    color: bool = _option(parsers.boolean, True)
    output_limit: int = _option(parsers.size, 10 * 1024 * 1024)
    mask: tuple[re.Pattern[str], ...] = _option(parsers.patterns, ())
    receiver: bool = _option(parsers.boolean, False)
    retries: int = _option(parsers.count, 3)
    notify: tuple[str, ...] = _option(parsers.addresses, ())
    gate: str = _option(parsers.gate, '')
    gate_limit: int = _option(parsers.size, 100 * 1024 * 1024)
    allow_root: bool = _option(parsers.boolean, False)
    after: str | None = _option(parsers.other_target)
    remote: str = _option(parsers.remote, 'no')

    @property
    def url(self) -> str:
        return parsers.join_url(self.host, self.port, self.user)


# the field of Target that each option sets
OPTIONS = {
    pycompat.sysbytes(field.name.replace('_', '-')): field
    for field in dataclasses.fields(Target)
    if field.metadata
}

# the settings of [delegate] that name no target
SETTINGS = (
    b'user-variables',
    b'keep',
    b'web',
    b'allow-targets',
    b'allow-repository-config',
)


# what means nothing for a gate, and might seem to
_OF_DELEGATIONS = (b'after', b'notify', b'remote')


@dataclasses.dataclass(frozen=True)
class ConfigError:
    '''what is wrong with one configuration item of [delegate]

    ``source`` is where Mercurial read the item (``/path/hgrc:7``).
    '''

    item: bytes
    source: bytes
    problem: bytes
    remedy: bytes


def owner(item: bytes) -> bytes:
    '''the target that ``item`` is about, ``*`` for all, or a setting'''
    return item.partition(b':')[0]


def is_name(word: bytes) -> bool:
    '''whether ``word`` can be the name of a target'''
    text = word.decode('ascii', 'replace')
    return bool(protocol.TARGET_NAME.fullmatch(text)) and word not in SETTINGS


def names(ui) -> list[bytes]:
    '''the names of the targets that the trusted configuration has

    Those with errors are among them: their pushes wait.
    '''
    items = ui.configitems(SECTION)
    return [key for key, value in items if value and is_name(key)]


def gate(items: Mapping[bytes, bytes], name: bytes) -> str:
    '''whether ``items`` make a gate of the target ``name``, as Target.gate

    What is wrongly written asks for one.
    '''
    found = ''
    for owned in (b'*', name):
        for item, value in items.items():
            if owner(item) != owned or not _means_gate(item):
                continue
            try:
                found = parsers.gate(value)
            except parsers.InvalidValue:
                found = 'yes'
    return found


def _means_gate(item: bytes) -> bool:
    '''whether the option of ``item`` is gate, perhaps misspelled'''
    option = pycompat.sysstr(item.partition(b':')[2])
    if option.encode('ascii', 'replace') in OPTIONS:
        return option == 'gate'
    known = map(pycompat.sysstr, OPTIONS)
    return difflib.get_close_matches(option, known, 1) == ['gate']


def concerned(
    ui, moves: Iterable[str], refused: Mapping[bytes, ConfigError] = {}
) -> list[bytes]:
    '''the names of the targets with one of the triggers ``moves``

    Targets with errors are among them: their pushes wait until that is
    corrected. Gates are not: nothing is delegated to one.
    '''
    moved = set(moves)
    if not moved:
        return []
    served, _errors = read(ui, refused)
    others = [t.name for t in served if not moved.intersection(t.trigger)]
    items = dict(ui.configitems(SECTION))
    return [
        name
        for name in names(ui)
        if pycompat.sysstr(name) not in others and not gate(items, name)
    ]


def read(
    ui, refused: Mapping[bytes, ConfigError] = {}
) -> tuple[list[Target], list[ConfigError]]:
    '''the targets that can be served, and what is wrong with the others

    ``refused`` are the items that the host's policy refuses. Only what
    Mercurial trusts is read. An empty value takes away a target that another
    file has set. A target with an error is not served at all: half of what
    was asked for is not what was asked for.
    '''
    items = dict(ui.configitems(SECTION))
    errors = dict(refused)

    def check(item: bytes, parse: Callable[..., Any], *values) -> Any:
        try:
            return parse(*values)
        except parsers.InvalidValue as exc:
            source = ui.configsource(SECTION, item)
            errors.setdefault(item, ConfigError(item, source, *exc.args))

    for item in items:
        check(item, _check_item, item, items)
    before = {name: _after(name, items) for name in names(ui)}
    for name, item in before.items():
        if item:
            check(item, _check_after, name, before, items)
    targets = []
    for name in names(ui):
        place = check(name, parsers.parse_url, items[name])
        fields: dict[str, Any] = {}
        for option, field in OPTIONS.items():
            for item in (b'*:' + option, name + b':' + option):
                if item in items:
                    parse = field.metadata['parse']
                    fields[field.name] = check(item, parse, items[item])
        if not before[name]:
            fields.pop('after', None)
        if place and not fields.get('allow_root'):
            check(name, _check_user, name, place[2])
        if fields.get('gate'):
            fields.setdefault('timeout', _GATE_TIMEOUT)
        if not {name, b'*'} & set(map(owner, errors)):
            targets.append(Target(pycompat.sysstr(name), *place, **fields))
    # one error may be that of several items
    return in_order(targets), list(dict.fromkeys(errors.values()))


def in_order(targets: Iterable[Target]) -> list[Target]:
    '''``targets`` as they are, but each behind the one that it comes after'''
    found = list(targets)
    by_name = {target.name: target for target in found}

    def steps(target: Target) -> int:
        before = by_name.get(target.after or '')
        return 1 + steps(before) if before else 0

    return sorted(found, key=steps)


def _after(name: bytes, items: Mapping[bytes, bytes]) -> bytes:
    '''the item that says what ``name`` comes after; b'' if it comes after none

    What ``*:after`` names does not come after itself.
    '''
    own, for_all = name + b':after', b'*:after'
    if own in items:
        return own if items[own] else b''
    return b'' if items.get(for_all, b'') in (b'', name) else for_all


def _check_after(
    name: bytes, before: Mapping[bytes, bytes], items: Mapping[bytes, bytes]
) -> None:
    '''refuse what would wait for ever; ``before`` is what _after() says'''
    chain = [name]
    while item := before.get(chain[-1]):
        chain.append(items[item])
        if len(chain) == 2 and chain[-1] not in before:
            raise parsers.InvalidValue(
                _(b"there is no target '%s'") % chain[-1],
                _nearest(chain[-1], before),
            )
        gate = items.get(chain[-1] + b':gate', items.get(b'*:gate'))
        if gate and parsers.gate(gate):
            raise parsers.InvalidValue(
                _(b"'%s' is a gate, to which nothing is delegated") % chain[-1],
                _(b'let it come after another target'),
            )
        if chain[-1] in chain[:-1]:
            raise parsers.InvalidValue(
                _(b'each waits for the next: %s') % b', '.join(chain),
                _(b'let one of them come after none'),
            )


def _check_item(item: bytes, items: Mapping[bytes, bytes]) -> None:
    '''refuse an item of [delegate] that has no meaning'''
    name, colon, option = item.partition(b':')
    if not colon:
        if items[item] and item not in SETTINGS and not is_name(item):
            raise parsers.InvalidValue(
                _(b"'%s' is not a name for a target") % name,
                _(b'use up to 100 letters, digits, dots, underscores, hyphens'),
            )
        if item == b'web' and items[item]:
            parsers.published(items[item])
    elif option not in OPTIONS:
        raise parsers.InvalidValue(
            _(b'no such option'), _nearest(option, OPTIONS)
        )
    elif name != b'*' and name not in items:
        raise parsers.InvalidValue(
            _(b"there is no target '%s'") % name,
            _nearest(name, [each for each in items if b':' not in each]),
        )
    elif option in _OF_DELEGATIONS and items[item] and gate(items, name):
        raise parsers.InvalidValue(
            _(b"'%s' is a gate, to which nothing is delegated") % name,
            _(b'%s is for other targets: remove it') % item,
        )


def _check_user(name: bytes, user: str | None) -> None:
    if user == 'root':
        raise parsers.InvalidValue(
            _(b'what is deployed as root could do anything'),
            _(b"name an account of its own, or set '%s:allow-root = yes'")
            % name,
        )


def _nearest(word: bytes, known: Iterable[bytes]) -> bytes:
    known = map(pycompat.sysstr, known)
    for near in difflib.get_close_matches(pycompat.sysstr(word), known, 1):
        return _(b'did you mean %s?') % pycompat.sysbytes(near)
    return _(b"see 'hg help delegate.config'")
