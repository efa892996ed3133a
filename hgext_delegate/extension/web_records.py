# SPDX-License-Identifier: GPL-2.0-or-later
'''what the web pages show of a repository, read once for each request

Nothing is written, made or repaired for a page. With ``web = state`` there is
no output, no person, and no reason that could name a host or a person.
'''

from __future__ import annotations

import calendar
import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Iterable, Iterator

from mercurial import pycompat

from ..config import targets as targetsmod
from ..push import outbox
from ..state import (
    delegation,
    deployed,
    files,
    holds,
    journal as journalmod,
    statistics,
    target_lock,
)

# how many delegations a page lists
LIMIT = 20
RED = (delegation.FAILED, delegation.LOST)


@dataclasses.dataclass(frozen=True)
class TargetState:
    '''``node`` is what the target has now, ``newest`` what is known last'''

    name: str
    is_gate: bool  # it has nothing ever
    node: str | None
    newest: delegation.Delegation | None
    is_red: bool  # the last run failed, or was lost
    usual: float | None  # how long one takes, in seconds
    hold: holds.Hold | None


@dataclasses.dataclass(frozen=True)
class Records:
    '''the journal and the outbox at ``paths``; ``with_output`` if that is shown

    These are values: a page that is live must hold no repository. Methods raise
    JournalError and OSError.
    '''

    paths: files.Paths
    with_output: bool

    def targets(self, ui, only: str | None = None) -> list[TargetState]:
        '''those that the configuration has, with errors or not; ``only`` one'''
        found = []
        has = deployed.read(self.paths.deployed)
        items = dict(ui.configitems(targetsmod.SECTION))
        with opened(self.paths) as journal:
            for key in targetsmod.names(ui):
                name = pycompat.sysstr(key)
                if only not in (None, name):
                    continue
                newest = next(iter(journal.newest(name, 1)), None)
                found.append(
                    TargetState(
                        name,
                        bool(targetsmod.gate(items, key)),
                        _node(has, name),
                        self._shown(newest),
                        _is_red(journal, name),
                        statistics.usual(journal, name),
                        self._hold(name),
                    )
                )
        return found

    def _hold(self, name: str) -> holds.Hold | None:
        hold = holds.of(self.paths, name)
        if hold is None or self.with_output:
            return hold
        return holds.Hold(who='', since=hold.since)

    def usual(self, target: str) -> float | None:
        with opened(self.paths) as journal:
            return statistics.usual(journal, target)

    def red(self, names: Iterable[str]) -> set[str]:
        '''those of ``names`` whose last run failed, or was lost'''
        with opened(self.paths) as journal:
            return {name for name in names if _is_red(journal, name)}

    def newest(
        self, target: str | None, before: int | None
    ) -> list[delegation.Delegation]:
        '''LIMIT delegations and one more, if there are more

        Those that no hook has recorded have the number 0.
        '''
        with opened(self.paths) as journal:
            below = 2**62 if before is None else before
            rows = journal.newest(target, LIMIT + 1, below)
            if before is None:
                waiting = self._unrecorded(journal, target)
                rows = [*itertools.islice(waiting, LIMIT), *rows]
        found = map(self._shown, rows[: LIMIT + 1])
        return [row for row in found if row is not None]

    def get(self, number: int) -> delegation.Delegation | None:
        with opened(self.paths) as journal:
            return self._shown(journal.get(number))

    def is_orphan(self, row: delegation.Delegation) -> bool:
        '''whether ``row`` has not ended, and no process holds its lock'''
        return row.state in delegation.OPEN and not target_lock.is_held(
            self.paths.lock(row.target)
        )

    def _shown(
        self, row: delegation.Delegation | None
    ) -> delegation.Delegation | None:
        '''``row`` without what is for the server's administrator alone'''
        if row is None:
            return None
        row = dataclasses.replace(row, remedy='', detail='')
        if self.with_output:
            return row
        return dataclasses.replace(
            row, pusher=None, cancelled_by=None, reason=_plain_reason(row)
        )

    def _unrecorded(
        self, journal: journalmod.Journal, name: str | None
    ) -> Iterator[delegation.Delegation]:
        '''the pushes that wait, and that no hook has looked at yet'''
        with contextlib.suppress(PermissionError):
            for entry in reversed(outbox.read_file(self.paths.outbox).entries):
                known = journal.known(entry.txn)
                for target in entry.targets:
                    if name in (None, target) and (
                        (entry.txn, target) not in known
                    ):
                        yield _unrecorded(target, entry)


def _node(has: dict[bytes, bytes], name: str) -> str | None:
    found = has.get(name.encode('ascii'))
    return found.decode('ascii') if found else None


def _is_red(journal: journalmod.Journal, name: str) -> bool:
    last = journal.last(name, *delegation.RUN)
    return last is not None and last.state in RED


def _unrecorded(target: str, entry: outbox.Entry) -> delegation.Delegation:
    empty = dict.fromkeys(delegation.Delegation.__annotations__)
    moment = time.strptime(entry.push['time'][:19], '%Y-%m-%dT%H:%M:%S')
    known = {
        'number': 0,
        'target': target,
        'state': delegation.PENDING,
        'node': entry.nodes[-1],
        'pusher': entry.push['pusher'],
        'created': float(calendar.timegm(moment)),
        'attempt': 0,
        'reason': '',
    }
    return delegation.Delegation(**{**empty, **known})


def _plain_reason(row: delegation.Delegation) -> str:
    # the receiver ends with an exit status of its own for these
    if row.state in (delegation.SUCCEEDED, delegation.PASSED):
        return ''
    if row.state == delegation.CANCELLED:
        return 'cancelled'
    if row.signal is not None:
        return f'killed by signal {row.signal}'
    if row.status is not None:
        return f'exit status {row.status}'
    return 'no exit status' if row.state in RED else ''


@contextlib.contextmanager
def opened(paths: files.Paths) -> Iterator[journalmod.Journal]:
    '''the journal, to be read; an empty one where there is none

    Raises JournalError and OSError.
    '''
    try:
        files.File(paths.folder, 'journal').status()
    except FileNotFoundError:
        journal = journalmod.empty()
    else:
        try:
            journal = journalmod.peek(paths.journal)
        except journalmod.JournalError:
            # somebody may just have been writing it
            journal = journalmod.peek(paths.journal)
    with contextlib.closing(journal):
        yield journal


def stamp(paths: files.Paths) -> str:
    '''another one as soon as a badge may be another'''
    seen = []
    # who only reads may make an empty write-ahead log
    for path in (paths.deployed, paths.journal, paths.journal + '-wal'):
        with contextlib.suppress(OSError):
            status = os.stat(path)
            if status.st_size:
                seen += [status.st_size, status.st_mtime_ns]
    return '-'.join(map(str, seen))
