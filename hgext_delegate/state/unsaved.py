# unsaved.py - what could not be written into the journal yet
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the ends of delegations, kept until the journal could be written

What became of a delegation must be known to whoever waits for it, also while
the disk is full or another process holds the file.
'''

from __future__ import annotations

import dataclasses
import threading
from typing import Any

from . import delegation, sqlite_file


class Unsaved:
    '''changes of rows, and of those that are merged into them, by number'''

    def __init__(self, db: sqlite_file.Database):
        self._db = db
        self._lock = threading.RLock()
        self._own: dict[int, dict[str, Any]] = {}
        self._merged: dict[int, dict[str, Any]] = {}

    def applied(self, row: delegation.Delegation) -> delegation.Delegation:
        '''``row`` as it is by now'''
        return dataclasses.replace(row, **self._own.get(row.number, {}))

    def change(
        self, number: int, own: dict[str, Any], merged: dict[str, Any]
    ) -> None:
        '''change ``number`` and what is merged into it and waits

        Raises JournalError where that is kept here only.
        '''
        with self._lock:
            self._own.setdefault(number, {}).update(own)
            self._merged.setdefault(number, {}).update(merged)
            where = "merged_into = ? AND state = 'pending'"
            with self._db.writing() as db:
                update(db, 'number = ?', number, self._own[number])
                update(db, where, number, self._merged[number])
            del self._own[number], self._merged[number]

    def save(self) -> None:
        '''write what is left. Raises JournalError'''
        for number in list(self._own):
            # by now there may be room, or nobody who holds the file
            self.change(number, {}, {})


def update(db, where: str, number: int, fields: dict[str, Any]) -> None:
    if fields:
        names = ', '.join('%s = ?' % name for name in fields)
        db.execute(
            'UPDATE delegation SET %s WHERE %s' % (names, where),
            (*fields.values(), number),
        )
