# SPDX-License-Identifier: GPL-2.0-or-later
'''the record, per repository, of delegations and what became of them

The outbox is the truth about what was pushed, the journal about what was
done. Every push makes one delegation for each target that it concerns. Who
gets a target's lock *claims* the newest one that waits, and *merges* the
others into it. If the journal is lost, a delegation may run twice, and
nothing worse happens.
'''

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from . import delegation, sqlite_file, unsaved

JournalError = sqlite_file.JournalError

_ABANDONED = 'the server process was killed, or could not record the end'
# in SQL: something is left to do
OPEN_SQL = "state IN ('pending', 'running')"


def open(path: str) -> Journal:
    '''the journal in the file ``path``, made if need be

    A damaged file is renamed, and a new one is made. Raises JournalError if
    the file cannot be used.
    '''
    try:
        return Journal(path)
    except JournalError as exc:
        if not exc.damaged:
            raise
        fresh = Journal(path)
        fresh.last_error = exc
        return fresh


def peek(path: str) -> Journal:
    '''the journal in the file ``path``, to be read and nothing else

    It is neither made nor repaired, no lock is waited for, and no right to
    write is needed. Raises JournalError.
    '''
    return Journal(path, readonly=True)


def empty() -> Journal:
    '''a journal in memory, for commands that read where there is none'''
    return Journal(':memory:')


class Journal:
    '''one connection, for all threads of a process

    Reading and claiming raise JournalError if the database fails. The end of
    a delegation is then kept in memory, and ``last_error`` says why it is not
    on disk.
    '''

    def __init__(self, path: str, readonly: bool = False):
        self.last_error: JournalError | None = None
        self.db = sqlite_file.Database(path, readonly)
        self._unsaved = unsaved.Unsaved(self.db, self._report)

    def _report(self, exc: JournalError) -> None:
        self.last_error = exc

    def keep_notices(self) -> None:
        self._unsaved.with_notices = True  # of each end, from now on

    def close(self) -> None:
        try:
            self._unsaved.save()
        except JournalError as exc:
            self.last_error = exc
        self.db.close()

    @contextlib.contextmanager
    def rolled_back(self) -> Iterator[None]:
        '''undo, at the end of the block, all that is written in it'''
        with self.db.writing(commit=False):
            yield

    # reading

    def _select(self, where: str, *values: Any) -> list[delegation.Delegation]:
        query = 'SELECT * FROM delegation WHERE ' + where
        found = self._unsaved.rows(query, *values, is_sound=delegation.is_sound)
        return [
            self._unsaved.applied(delegation.Delegation(*row)) for row in found
        ]

    def get(self, number: int) -> delegation.Delegation | None:
        return next(iter(self._select('number = ?', number)), None)

    def by_id(self, id: str) -> delegation.Delegation | None:
        rows = self._select('id = ?', id)
        return rows[0] if rows else None

    def without_verdict(self) -> list[delegation.Delegation]:
        '''those of all targets that neither a status nor a signal has ended,
        in the order in which they were recorded'''
        return self._select('status IS NULL AND signal IS NULL ORDER BY number')

    def find(self, target: str, txn: str) -> int | None:
        '''the number of the delegation of the push ``txn`` to ``target``'''
        rows = self._select('target = ? AND txn = ?', target, txn)
        return rows[0].number if rows else None

    def newest(
        self, target: str | None, limit: int, before: int = 2**62
    ) -> list[delegation.Delegation]:
        '''at most ``limit`` with a number ``before``, of one target or all'''
        where = 'number < ? AND target = coalesce(?, target) '
        where += 'ORDER BY number DESC LIMIT ?'
        return self._select(where, before, target, limit)

    def pending(self, target: str) -> list[delegation.Delegation]:
        '''what waits for ``target``: pushes in push order, with what ``hg
        delegate`` has asked for at its place between them'''
        where = "target = ? AND state = 'pending' ORDER BY number"
        rows = self._select(where, target)
        pushed = [row for row in rows if row.txn]
        pushes = iter(sorted(pushed, key=lambda row: row.sequence or 0))
        return [next(pushes) if row.txn else row for row in rows]

    def running(self, target: str) -> delegation.Delegation | None:
        rows = self._select("target = ? AND state = 'running'", target)
        # its end may still be unsaved
        return next(
            (row for row in rows if row.state == delegation.RUNNING), None
        )

    def at_work(self, target: str) -> delegation.Delegation | None:
        '''what the holder of the lock is at: one that runs, or that waits for
        its next attempt'''
        again = (
            r for r in self.pending(target) if delegation.AGAIN in r.reason
        )
        return self.running(target) or next(again, None)

    def running_targets(self) -> list[str]:
        query = 'SELECT DISTINCT target FROM delegation WHERE state = ?'
        sound = delegation.is_target
        rows = self._unsaved.rows(query, delegation.RUNNING, is_sound=sound)
        return [row[0] for row in rows]

    def last(
        self, target: str, *states: str, before: int = 2**62
    ) -> delegation.Delegation | None:
        '''the last run of ``target`` that ended in one of ``states``; of those
        with a turn ``before`` that'''
        marks = ', '.join('?' * len(states))
        where = f'target = ? AND turn < ? AND state IN ({marks}) '
        where += 'ORDER BY turn DESC LIMIT 1'
        return next(iter(self._select(where, target, before, *states)), None)

    def carried(self, number: int) -> list[delegation.Delegation]:
        '''the delegation ``number`` and those merged into it, in push order'''
        where = 'number = ? OR merged_into = ? ORDER BY sequence, number'
        return self._select(where, number, number)

    def settled(self, txns: Iterable[str]) -> set[tuple[str, str]]:
        '''the (txn, target) of ``txns`` with nothing left to do'''
        return {
            key for txn in txns for key in self._keys(txn, 'NOT ' + OPEN_SQL)
        }

    def known(self, txn: str) -> set[tuple[str, str]]:
        '''the (txn, target) of ``txn`` that a hook has recorded'''
        return self._keys(txn, '1')

    def _keys(self, txn: str, where: str) -> set[tuple[str, str]]:
        query = (
            'SELECT txn, target FROM delegation WHERE txn = ? AND %s '
            'UNION SELECT txn, target FROM unmatched WHERE txn = ?'
        )
        rows = self._unsaved.rows(query % where, txn, txn)
        return {(row[0], row[1]) for row in rows}

    # what a push does

    def record(
        self,
        target: str,
        node: str,
        pusher: str | None,
        txn: str | None = None,
        sequence: int | None = None,
        id: str | None = None,
    ) -> int:
        '''make a pending delegation, once for each ``txn``; its number

        One that ``hg delegate`` asks for has no ``txn``. ``id`` is given where
        the other side has chosen it.
        '''
        id = id or secrets.token_hex(16)
        # no line of anybody's in the write-ahead log: see files.FIRST_LINE
        pusher = pusher and ' '.join(pusher.split())
        with self._unsaved.writing() as db:
            db.execute(
                'INSERT OR IGNORE INTO delegation '
                '(id, target, txn, sequence, state, node, pusher, created) '
                "VALUES (?, ?, ?, ?, 'pending', ?, ?, ?)",
                (id, target, txn, sequence, node, pusher, time.time()),
            )
            number = db.execute(
                'SELECT number FROM delegation '
                'WHERE id = ? OR (txn = ? AND target = ?)',
                (id, txn, target),
            ).fetchone()[0]
        self.get(number)  # known from now on, whatever becomes of the file
        return number

    def unmatched(self, target: str, txn: str) -> None:
        '''note that the push ``txn`` does not concern ``target``'''
        insert = 'INSERT OR IGNORE INTO unmatched VALUES (?, ?)'
        with self._unsaved.writing() as db:
            db.execute(insert, (txn, target))

    # what the holder of a target's lock does

    def claim(
        self,
        row: delegation.Delegation,
        previous: str | None,
        merged: Sequence[int] = (),
    ) -> delegation.Delegation | None:
        '''begin the next attempt of ``row``, and merge ``merged`` into it

        None if ``row`` is not pending any more.
        '''
        with self._unsaved.writing() as db:
            claimed = db.execute(
                "UPDATE delegation SET state = 'running', "
                'attempt = attempt + 1, previous = ?, began = ?, '
                "reason = '', remedy = '', "
                'turn = 1 + (SELECT coalesce(max(turn), 0) FROM delegation '
                "WHERE target = ?) WHERE number = ? AND state = 'pending'",
                (previous, time.time(), row.target, row.number),
            ).rowcount
            if claimed:
                db.executemany(
                    'UPDATE delegation SET merged_into = ?, attempt = '
                    "attempt + 1 WHERE number = ? AND state = 'pending'",
                    [(row.number, other) for other in merged],
                )
        self.carried(row.number)  # known from now on, as they are
        return self.get(row.number) if claimed else None

    def move(self, number: int, node: str) -> delegation.Delegation | None:
        '''delegate ``node`` instead: the old node was stripped'''
        with self._unsaved.writing() as db:
            unsaved.update(db, 'number = ?', number, {'node': node})
        return self.get(number)

    def note_exec(self, number: int) -> None:
        '''note that the exec request for ``number`` is sent now

        Raises JournalError. Then the request must not be sent: ``number``
        would count as never begun, and run again.
        '''
        with self._unsaved.writing() as db:
            fields = {'exec_sent_at': time.time()}
            unsaved.update(db, 'number = ?', number, fields)

    def cancel(self, number: int, cancelled_by: str) -> bool:
        '''cancel ``number``; True if it was pending and is ended now

        A running one is ended by its own process, which polls for this.
        '''
        with self._unsaved.writing() as db:
            done = db.execute(
                "UPDATE delegation SET state = 'cancelled', ended = ?, "
                "reason = ?, remedy = '' WHERE number = ? "
                "AND state = 'pending' AND merged_into IS NULL",
                (time.time(), 'cancelled by %s' % cancelled_by, number),
            ).rowcount
            db.execute(
                'UPDATE delegation SET cancelled_by = ? WHERE number = ? '
                "AND state IN ('running', 'cancelled')",
                (cancelled_by, number),
            )
            self._unsaved.note_ended(db, number)
        return bool(done)

    def close_abandoned(
        self, target: str, resumable: bool, reason: str = _ABANDONED
    ) -> None:
        '''close what a dead process has left running, for ``reason``

        The caller holds the target's lock. A delegation that never began on
        the far side waits again. So does one that the receiver can be asked
        about (``resumable``).
        '''
        row = self.running(target)
        if row is None:
            return
        state, fields = delegation.abandoned(row, resumable, reason)
        self.end(row.number, state, **fields)

    def end(self, number: int, state: str, **fields: Any) -> None:
        '''close ``number`` and what is merged into it, in a final state

        With PENDING all of them wait for another turn instead.
        '''
        merged: dict[str, Any] = {'merged_into': None}
        if state != delegation.PENDING:
            fields['ended'] = time.time()
            merged = {'state': delegation.SUPERSEDED, 'ended': fields['ended']}
        try:
            self._unsaved.change(number, {**fields, 'state': state}, merged)
        except JournalError as exc:
            self.last_error = exc
