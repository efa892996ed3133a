# SPDX-License-Identifier: GPL-2.0-or-later
'''the ends of delegations, kept until the journal can be written

A pusher who waits for a delegation must hear how it ended, also while the disk
is full or another process holds the file.
'''

from __future__ import annotations

import dataclasses
import threading
from typing import Any

from . import delegation, sqlite_file


class Unsaved:
    '''changes of rows, and of the rows merged into them, by number'''

    def __init__(self, db: sqlite_file.Database):
        self._db = db
        self._lock = threading.RLock()
        self._changes: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}

    def applied(self, row: delegation.Delegation) -> delegation.Delegation:
        '''``row`` with its unsaved changes'''
        own, _merged = self._changes.get(row.number, ({}, {}))
        return dataclasses.replace(row, **own)

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
            with self._db.writing() as db:
                update(db, 'number = ?', number, changes[0])
                update(db, where, number, changes[1])
            del self._changes[number]

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
