# SPDX-License-Identifier: GPL-2.0-or-later
'''the pushes that wait, written by Mercurial's own transaction

The outbox is one file in the store. Its first line says which sequence
number comes next, and what policy.of_host() said by each road; each further
line is one push and the names of the targets that it waits for. Only a
transaction (or, for the classic hook line, the holder of the repository's
lock) writes it, always as a whole, so a push and its line are both there or
neither.
'''

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import stat
from collections.abc import Container, Iterable
from typing import Any

from mercurial import error
from mercurial.i18n import _

from .. import protocol
from . import selection

FILENAME = b'delegate-outbox'
FORMAT = 1

# Every push reads the file and writes it anew.
MAX_ENTRIES = 1000
MAX_BYTES = 4 * 1024 * 1024

# In the name of an entry that the classic hook line alone has made: there, a
# transaction with several changegroups has an entry for each of them.
MARK = '#'

_TIME = re.compile('[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}')

# what reading a damaged line may raise
_DAMAGE = (ValueError, TypeError, KeyError, OverflowError, RecursionError)


@dataclasses.dataclass(frozen=True)
class Entry:
    '''one push that waits for ``targets``, in push order by ``sequence``

    ``txn`` is unique: Mercurial's name for the transaction. ``push`` is the
    push as protocol 1 words it, and ``moved`` is of selection.moves().
    '''

    sequence: int
    txn: str
    targets: tuple[str, ...]
    push: dict[str, Any]
    moved: dict[str, list[list[str]]] = dataclasses.field(default_factory=dict)

    @property
    def nodes(self) -> list[str]:
        '''changesets that it is about, 40 hex digits, the newest at the end'''
        pairs = [pair for pairs in self.moved.values() for pair in pairs]
        found = [node for pair in pairs for node in pair]
        if (self.push['node'], self.push['node_last']) != (None, None):
            heads = [head['node'] for head in self.push.get('heads', ())]
            found += [self.push['node'], *heads, self.push['node_last']]
        return found


@dataclasses.dataclass(frozen=True)
class Outbox:
    '''the content of the file; ``unread`` are the lines not understood'''

    following: int = 1
    entries: tuple[Entry, ...] = ()
    unread: tuple[bytes, ...] = ()
    roads: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)

    def find(self, txn: str) -> Entry | None:
        return next((e for e in self.entries if e.txn == txn), None)


def parse(data: bytes) -> Outbox:
    '''read the file's bytes; a damaged line is kept, never an error'''
    following = 1
    entries: list[Entry] = []
    unread = []
    roads: dict[str, dict[str, str]] = {}
    for line in data.splitlines():
        try:
            record = json.loads(line)
            if 'outbox' in record:
                said = dict(dict(record).get('roads', ()))
                roads = {
                    str(road): {str(k): str(v) for k, v in dict(items).items()}
                    for road, items in said.items()
                }
                following = max(following, _sequence(record['following']))
            else:
                entries.append(_entry(record))
        except _DAMAGE:
            unread.append(line)
    last = max((entry.sequence for entry in entries), default=0)
    following = max(following, last + 1)
    return Outbox(following, tuple(entries), tuple(unread), roads)


def _entry(record) -> Entry:
    push = dict(record['push'])
    moved = {
        str(name): [[first, last] for first, last in pairs]
        for name, pairs in dict(record.get('moved', ())).items()
    }
    targets = tuple(map(str, record['targets']))
    entry = Entry(
        _sequence(record['sequence']), str(record['txn']), targets, push, moved
    )
    if not all(map(protocol.TARGET_NAME.fullmatch, targets)):
        raise ValueError('not targets')
    if not isinstance(push['pusher'], (str, type(None))):
        raise ValueError('not a pusher')
    if not isinstance(push['source'], str) or not _TIME.match(push['time']):
        raise ValueError('not a push')
    if not entry.nodes or not all(map(protocol.NODE.fullmatch, entry.nodes)):
        raise ValueError('not nodes')
    return entry


def _sequence(value: Any) -> int:
    if 0 < int(value) < 2**53:
        return int(value)
    raise ValueError('not a number of ours')


def bounded(outbox: Outbox, recorded: Container[tuple[str, str]]) -> Outbox:
    '''``outbox`` within MAX_ENTRIES and MAX_BYTES; no changeset is forgotten

    Of what does not fit, the oldest, that is left out of which the journal has
    ``recorded`` each (txn, target). The others, which wait for a target that is
    configured wrongly, say, become one entry for each set of targets.
    '''
    left = MAX_BYTES
    whole: list[Entry] = []
    for entry in reversed(outbox.entries):
        left -= len(json.dumps(dataclasses.asdict(entry)))
        if left < 0 or len(whole) == MAX_ENTRIES:
            break
        whole.insert(0, entry)
    merged: dict[tuple[str, ...], Entry] = {}
    for entry in outbox.entries[: len(outbox.entries) - len(whole)]:
        if not all((entry.txn, name) in recorded for name in entry.targets):
            older = merged.pop(entry.targets, None)
            merged[entry.targets] = _merged(older, entry) if older else entry
    return dataclasses.replace(outbox, entries=(*merged.values(), *whole))


def _merged(older: Entry, newer: Entry) -> Entry:
    '''``newer``, with the changesets and moves of ``older`` as well'''
    push = dict(newer.push)
    if older.push['node']:
        push['node'] = older.push['node']
        push['node_last'] = push['node_last'] or older.push['node_last']
        more = older.push.get('changesets', 0)
        push['changesets'] = push.get('changesets', 0) + more
    moved = {}
    for name in {**older.moved, **newer.moved}:
        pairs = [*older.moved.get(name, ()), *newer.moved.get(name, ())]
        first, rest = (
            pairs[: 1 - selection.MAX_RANGES],
            pairs[1 - selection.MAX_RANGES :],
        )
        if first:
            rest = [[first[0][0], first[-1][1]], *rest]
        moved[name] = rest
    return dataclasses.replace(newer, push=push, moved=moved)


def render(outbox: Outbox) -> bytes:
    header = {'outbox': FORMAT, 'following': outbox.following}
    records: list[dict[str, Any]] = [{**header, 'roads': outbox.roads}]
    records.extend(map(dataclasses.asdict, outbox.entries))
    lines = [json.dumps(record).encode('ascii') for record in records]
    lines.extend(outbox.unread[-MAX_ENTRIES:])
    return b''.join(line + b'\n' for line in lines)


def read(repo) -> Outbox:
    '''the outbox of ``repo``; an empty one where there is none'''
    return read_file(os.fsdecode(repo.svfs.join(FILENAME)))


def roads(repo) -> dict[str, dict[str, str]]:
    '''the policies that the outbox remembers; none for whoever may not read it,
    who cannot delegate either'''
    try:
        return read(repo).roads
    except OSError:
        return {}


def read_file(path: str) -> Outbox:
    '''the outbox in the file ``path``; an empty one where there is none'''
    try:
        # a link would lead to another repository's, and a pipe would hold us
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return Outbox()
    with open(fd, 'rb') as file:
        return parse(file.read())


def pushes(outbox: Outbox, rows: Iterable[Any]) -> list[dict[str, Any]]:
    '''the pushes that delegations are made of, each once; ``rows`` have the
    attribute ``txn``'''
    found = (outbox.find(row.txn) for row in rows if row.txn)
    return [entry.push for entry in found if entry]


def committed(repo) -> Outbox:
    '''the outbox without the push of an unfinished transaction

    Only the hook of a push that has committed may use read() instead. Raises
    error.Abort if a push was killed and 'hg recover' is still to be run.
    '''
    with repo.lock():
        if repo.svfs.exists(b'journal'):
            raise error.StateError(
                _(b'abandoned transaction found'),
                hint=_(b"run 'hg recover' to clean up transaction"),
            )
        return read(repo)


def extended(
    outbox: Outbox,
    txn: str,
    targets: Iterable[str],
    push: dict[str, Any],
    moved: dict[str, list[list[str]]],
) -> Outbox:
    '''``outbox`` with ``push`` at its end'''
    entry = Entry(outbox.following, txn, tuple(targets), push, moved)
    return dataclasses.replace(
        outbox, following=outbox.following + 1, entries=(*outbox.entries, entry)
    )


def write_with(repo, transaction, outbox: Outbox) -> None:
    '''let ``transaction`` write ``outbox`` if, and only if, it commits'''
    data = render(outbox)
    like = os.stat(repo.svfs.join(b''))

    def write(outfile) -> None:
        give(outfile.fileno(), like)
        outfile.write(data)

    # The location has its default, the store: with an explicit b'store' 'hg
    # recover' of Mercurial 6.3 dies of a KeyError.
    transaction.addfilegenerator(b'delegate-outbox', (FILENAME,), write)


def write_now(repo, outbox: Outbox) -> None:
    '''replace the file; the caller holds the repository's lock'''
    with repo.svfs(FILENAME, b'w', atomictemp=True) as outfile:
        give(outfile.fileno(), os.stat(repo.svfs.join(b'')))
        outfile.write(render(outbox))


def give(fd: int, like: os.stat_result) -> None:
    '''give ``fd`` to those alone who may write in a folder ``like`` this'''
    is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
    mode = 0o700 if is_folder else 0o600
    if like.st_mode & stat.S_IWGRP:
        mode = 0o2770 if is_folder else 0o660
        # else the members could not read what one of them has written
        with contextlib.suppress(PermissionError):
            os.fchown(fd, -1, like.st_gid)
    os.fchmod(fd, mode)
