# SPDX-License-Identifier: GPL-2.0-or-later
'''what a process knows of its delegations while the file cannot be used

A pusher who waits for a delegation must hear how it ended, also while the disk
is full, another process holds the file, or that is found damaged: then a new
one begins with what this process knows.
'''

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

from . import delegation, sqlite_file


class Unsaved:
    '''changes of rows, and of the rows merged into them, by number

    ``report`` is told of damage that was got over.
    '''

    def __init__(
        self,
        db: sqlite_file.Database,
        report: Callable[[sqlite_file.JournalError], None],
    ):
        self._db = db
        self._report = report
        # whether somebody should know of each end: see notices
        self.with_notices = False
        self._seen: dict[int, delegation.Delegation] = {}
        self._lock = threading.RLock()
        self._changes: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}

    def applied(self, row: delegation.Delegation) -> delegation.Delegation:
        '''``row`` with its unsaved changes'''
        self._seen[row.number] = row
        own, _merged = self._changes.get(row.number, ({}, {}))
        return dataclasses.replace(row, **own)

    def rows(self, query: str, *values: Any, **kwargs: Any) -> list[Any]:
        '''the rows that are selected, as Database.select() does'''
        self._renew()
        try:
            return self._db.select(query, *values, **kwargs)
        except sqlite_file.JournalError as exc:
            if not exc.damaged or self._db.readonly:
                raise
            self._report(exc)
            self._renew()
            return self._db.select(query, *values, **kwargs)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Any]:
        self._renew()
        with self._db.writing() as db:
            yield db

    def _renew(self) -> None:
        if self._db.broken and not self._db.readonly:
            self._db.renew(self._fill)

    def _fill(self, db) -> None:
        '''write into a new file what is known

        Another process may have begun it, and given the same numbers to others.
        '''
        marks = ', '.join('?' * len(dataclasses.fields(delegation.Delegation)))
        insert = f'INSERT OR IGNORE INTO delegation VALUES ({marks})'
        ours = 'SELECT 1 FROM delegation WHERE number = ? AND id = ?'
        for row in list(self._seen.values()):
            db.execute(insert, dataclasses.astuple(self.applied(row)))
            if not db.execute(ours, (row.number, row.id)).fetchone():
                raise sqlite_file.JournalError(
                    'the journal was replaced meanwhile', '', damaged=True
                )

    def change(
        self, number: int, own: dict[str, Any], merged: dict[str, Any]
    ) -> None:
        '''change ``number``, and what is merged into it and waits

        Raises JournalError if the change is only kept here.
        '''
        with self._lock:
            changes = self._changes.setdefault(number, ({}, {}))
            changes[0].update(own)
            changes[1].update(merged)
            where = "merged_into = ? AND state = 'pending'"
            with self.writing() as db:
                update(db, 'number = ?', number, changes[0])
                update(db, where, number, changes[1])
                self.note_ended(db, number)
            del self._changes[number]

    def note_ended(self, db, number: int) -> None:
        '''let it be told, once, in what ``number`` and what is merged into it
        have ended, or that they stay pending'''
        if self.with_notices:
            db.execute(
                'INSERT OR IGNORE INTO notice (number, state) '
                'SELECT number, state FROM delegation '
                "WHERE (number = ? OR merged_into = ?) AND state <> 'running' "
                # not of a gate
                'AND (turn IS NOT NULL OR began IS NULL) '
                "AND (state <> 'pending' OR reason <> '' "
                'AND NOT instr(reason, ?) AND NOT instr(remedy, ?))',
                (number, number, delegation.AGAIN, delegation.ONCE),
            )

    def save(self) -> None:
        '''write what is left. Raises JournalError'''
        for number in list(self._changes):
            self.change(number, {}, {})


def update(db, where: str, number: int, fields: dict[str, Any]) -> None:
    if fields:
        names = ', '.join('%s = ?' % name for name in fields)
        db.execute(
            'UPDATE delegation SET %s WHERE %s' % (names, where),
            (*fields.values(), number),
        )
