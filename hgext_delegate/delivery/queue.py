# queue.py - what waits for a target, and which of it runs now
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what waits for a target, and which of it runs now

What was asked for last runs, and takes the rest along; nothing goes back to
an ancestor of what is deployed.
'''

from __future__ import annotations

from typing import Protocol

from ..config import targets
from ..push import outbox
from ..state import delegation, files, journal as journalmod


class History(Protocol):
    '''what a worker asks of the repository's history; nodes are 40 hex'''

    def exists(self, node: str) -> bool: ...

    def is_ancestor(self, node: str, other: str) -> bool:
        '''whether ``node`` is ``other`` or an ancestor of it'''
        ...

    def newest(self, target: targets.Target, entry: outbox.Entry) -> str | None:
        '''the newest changeset of a push for ``target``, if any is left'''
        ...


class Queue:
    '''what waits for ``target``; the holder of its lock may claim some of it'''

    def __init__(
        self,
        target: targets.Target,
        paths: files.Paths,
        journal: journalmod.Journal,
        history: History,
    ):
        self._target = target
        self._paths = paths
        self._journal = journal
        self._history = history

    def claim(self, number: int) -> delegation.Delegation | None:
        '''choose and claim what to run now for who asked for ``number``

        None when nothing is left to do for that.
        '''
        name = self._target.name
        mine = self._journal.get(number)
        if mine is None or mine.state != delegation.PENDING:
            return None
        last = self._journal.last(name, delegation.SUCCEEDED)
        previous = last.node if last else None
        older = self._journal.pending(name)
        while older:
            row = self._newest(older)
            older.remove(row)
            left = self._what_is_left(row)
            if left and not self._is_superseded(left, last):
                merged = [other.number for other in older]
                claimed = self._journal.claim(left, previous, merged)
                if claimed:
                    return claimed
        return None

    def _what_is_left(
        self, row: delegation.Delegation
    ) -> delegation.Delegation | None:
        '''``row`` with the newest changeset that is still there of its push

        None, and ``row`` is ended, if there is none.
        '''
        if self._history.exists(row.node):
            return row
        entry = row.txn and outbox.read_file(self._paths.outbox).find(row.txn)
        node = self._history.newest(self._target, entry) if entry else None
        if node:
            return self._journal.move(row.number, node)
        self._journal.end(
            row.number,
            delegation.CANCELLED,
            reason='the changeset is gone from the repository',
            remedy='it was stripped, or is hidden by now: push again',
        )
        return None

    def _newest(
        self, rows: list[delegation.Delegation]
    ) -> delegation.Delegation:
        '''the last of ``rows``, which takes the others along'''
        row = rows[-1]
        for other in rows[:-1]:
            # With the classic hook line alone, pushes are in the order in
            # which their hooks have begun.
            if row.txn and other.txn and outbox.MARK in other.txn:
                if self._history.is_ancestor(row.node, other.node):
                    row = other
        return row

    def _is_superseded(
        self, row: delegation.Delegation, last: delegation.Delegation | None
    ) -> bool:
        '''whether ``row`` is older than ``last``; then it is ended'''
        if not last or not delegation.supersedes(
            last, row, self._history.is_ancestor
        ):
            return False
        self._journal.end(
            row.number, delegation.SUPERSEDED, merged_into=last.number
        )
        return True
