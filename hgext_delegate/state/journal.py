# journal.py - what was delegated and what became of it
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the record, per repository, of delegations and what became of them

The outbox is the truth about what was pushed, the journal about what was
done. Every push makes one delegation for each target that it concerns.
Whoever gets a target's lock *claims* the newest one that waits, which then
*takes* the others along. If the journal is lost, the worst that happens is a
delegation run again.
'''

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from . import delegation, sqlite_file

JournalError = sqlite_file.JournalError

_ABANDONED = 'the server process was killed, or could not record the end'


def open(path: str, mode: int | None = None) -> Journal:
    '''the journal in the file ``path``, made if need be

    ``mode`` is the permission of a new file (a repository shared by a group).
    A damaged file is set aside, under a name that says so, and begun anew.
    Raises JournalError where the file is there and cannot be used.
    '''
    try:
        return Journal(path, mode)
    except JournalError as exc:
        if not exc.damaged:
            raise
        fresh = Journal(path, mode)
        fresh.last_error = exc
        return fresh


def peek(path: str) -> Journal:
    '''the journal in the file ``path``, to be read and nothing else

    It is neither made nor mended, nobody is waited for, and no right to write
    is needed. Raises JournalError.
    '''
    return Journal(path, readonly=True)


def empty() -> Journal:
    '''for commands that read, where nothing was ever delegated'''
    return Journal(':memory:')


# of a row of which everything is on disk; see Journal._unsaved
_SAVED: tuple[dict[str, Any], dict[str, Any]] = ({}, {})


class Journal:
    '''one connection, for all threads of a process

    Reading and claiming raise JournalError where the database fails. What
    happens to a delegation that already runs is kept here at least:
    ``last_error`` then says why it is not on disk.
    '''

    def __init__(
        self,
        path: str,
        mode: int | None = None,
        readonly: bool = False,
    ):
        self.last_error: JournalError | None = None
        self._lock = threading.RLock()
        # by number: the fields of that row, and of those that it takes
        self._unsaved: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._db = sqlite_file.Database(path, mode, readonly)

    def sync_each_write(self) -> None:
        '''let what is written outlive a power failure as well'''
        self._db.sync_each_write()

    def close(self) -> None:
        for number in list(self._unsaved):
            # by now there may be room, or nobody who holds the file
            self._change(number)
        self._db.close()

    def _select(self, where: str, *values: Any) -> list[delegation.Delegation]:
        query = 'SELECT * FROM delegation WHERE ' + where
        found = self._db.select(query, *values, is_sound=delegation.is_sound)
        rows = [delegation.Delegation(*row) for row in found]
        return [
            dataclasses.replace(row, **self._unsaved.get(row.number, _SAVED)[0])
            for row in rows
        ]

    @contextlib.contextmanager
    def rolled_back(self) -> Iterator[None]:
        '''take back, at the end, all that is written meanwhile'''
        with self._db.writing(commit=False):
            yield

    # reading

    def get(self, number: int) -> delegation.Delegation | None:
        rows = self._select('number = ?', number)
        return rows[0] if rows else None

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
        self, target: str | None, limit: int
    ) -> list[delegation.Delegation]:
        if target is None:
            return self._select('1 ORDER BY number DESC LIMIT ?', limit)
        return self._select(
            'target = ? ORDER BY number DESC LIMIT ?', target, limit
        )

    def pending(self, target: str) -> list[delegation.Delegation]:
        '''what waits for ``target``: pushes in their order, and what was
        asked for by hand between them, where it came'''
        rows = self._select(
            'target = ? AND state = ? ORDER BY number',
            target,
            delegation.PENDING,
        )
        pushed = [row for row in rows if row.txn]
        pushes = iter(sorted(pushed, key=lambda row: row.sequence or 0))
        return [next(pushes) if row.txn else row for row in rows]

    def running(self, target: str) -> delegation.Delegation | None:
        rows = self._select(
            'target = ? AND state = ?', target, delegation.RUNNING
        )
        # the end of one may be known here only
        return next(
            (row for row in rows if row.state == delegation.RUNNING), None
        )

    def running_targets(self) -> list[str]:
        query = 'SELECT DISTINCT target FROM delegation WHERE state = ?'
        return [row[0] for row in self._db.select(query, delegation.RUNNING)]

    def last(self, target: str, *states: str) -> delegation.Delegation | None:
        '''the last run of ``target`` that ended in one of ``states``'''
        marks = ', '.join('?' * len(states))
        rows = self._select(
            'target = ? AND turn IS NOT NULL AND state IN (%s) '
            'ORDER BY turn DESC LIMIT 1' % marks,
            target,
            *states,
        )
        return rows[0] if rows else None

    def carried(self, number: int) -> list[delegation.Delegation]:
        '''the delegation ``number`` and those it takes, in push order'''
        return self._select(
            'number = ? OR merged_into = ? ORDER BY sequence, number',
            number,
            number,
        )

    def settled(self, txns: Iterable[str]) -> set[tuple[str, str]]:
        '''the (txn, target) of ``txns`` for which nothing is left to do'''
        done = set()
        for txn in txns:
            done |= self._keys('unmatched', '1', txn)
            done |= self._keys(
                'delegation', "state NOT IN ('pending', 'running')", txn
            )
        return done

    def known(self, txn: str) -> set[tuple[str, str]]:
        '''the (txn, target) of ``txn`` that a hook has looked at'''
        found = self._keys('delegation', '1', txn)
        return found | self._keys('unmatched', '1', txn)

    def _keys(self, table: str, where: str, txn: str) -> set[tuple[str, str]]:
        query = 'SELECT txn, target FROM %s WHERE txn = ? AND %s'
        rows = self._db.select(query % (table, where), txn)
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
        '''make a pending delegation; the number of the one made before

        Without ``txn`` it is one that ``hg delegate`` asks for. ``id`` is
        given where the other side has chosen it.
        '''
        with self._db.writing() as db:
            rows = db.execute(
                'SELECT number FROM delegation '
                'WHERE (txn = ? AND target = ?) OR id = ?',
                (txn, target, id),
            ).fetchall()
            if rows:
                return rows[0][0]
            cursor = db.execute(
                'INSERT INTO delegation (id, target, txn, sequence, state, '
                'node, pusher, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
                (
                    id or secrets.token_hex(16),
                    target,
                    txn,
                    sequence,
                    delegation.PENDING,
                    node,
                    pusher,
                    time.time(),
                ),
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def unmatched(self, target: str, txn: str) -> None:
        '''note that the push ``txn`` does not concern ``target``'''
        with self._db.writing() as db:
            db.execute(
                'INSERT OR IGNORE INTO unmatched VALUES (?, ?)', (txn, target)
            )

    # what the holder of a target's lock does

    def claim(
        self,
        row: delegation.Delegation,
        previous: str | None,
        merged: Sequence[int] = (),
    ) -> delegation.Delegation | None:
        '''begin the next attempt of ``row``, which takes ``merged`` along

        None if it does not wait any more.
        '''
        with self._db.writing() as db:
            claimed = db.execute(
                'UPDATE delegation SET state = ?, attempt = attempt + 1, '
                "previous = ?, began = ?, reason = '', remedy = '', "
                'turn = 1 + (SELECT coalesce(max(turn), 0) FROM delegation '
                'WHERE target = ?) WHERE number = ? AND state = ?',
                (
                    delegation.RUNNING,
                    previous,
                    time.time(),
                    row.target,
                    row.number,
                    delegation.PENDING,
                ),
            ).rowcount
            if claimed:
                db.executemany(
                    'UPDATE delegation SET merged_into = ?, '
                    'attempt = attempt + 1 WHERE number = ? AND state = ?',
                    [
                        (row.number, other, delegation.PENDING)
                        for other in merged
                    ],
                )
        return self.get(row.number) if claimed else None

    def move(self, number: int, node: str) -> delegation.Delegation | None:
        '''delegate ``node`` instead: what was to be is not there any more'''
        with self._db.writing() as db:
            _set(db, 'number = ?', number, {'node': node})
        return self.get(number)

    def note_exec(self, number: int) -> None:
        '''note that the far side is now asked to run ``number``

        Raises JournalError: what cannot be noted must not be asked, since it
        would look as if it had never begun, and be run again.
        '''
        with self._db.writing() as db:
            _set(db, 'number = ?', number, {'exec_sent_at': time.time()})

    def cancel(self, number: int, cancelled_by: str) -> bool:
        '''cancel ``number``; True if that is done with

        A running one is ended by the process that runs it, which looks.
        '''
        with self._db.writing() as db:
            done = db.execute(
                'UPDATE delegation SET state = ?, ended = ?, reason = ? '
                'WHERE number = ? AND state = ? AND merged_into IS NULL',
                (
                    delegation.CANCELLED,
                    time.time(),
                    'cancelled by %s' % cancelled_by,
                    number,
                    delegation.PENDING,
                ),
            ).rowcount
            db.execute(
                'UPDATE delegation SET cancelled_by = ? WHERE number = ? '
                'AND state IN (?, ?)',
                (
                    cancelled_by,
                    number,
                    delegation.RUNNING,
                    delegation.CANCELLED,
                ),
            )
        return bool(done)

    def close_abandoned(
        self, target: str, resumable: bool, reason: str = _ABANDONED
    ) -> None:
        '''close what a process that is gone has left running, for ``reason``

        The caller holds the target's lock. What never began on the far side
        waits again; so does what it can be asked about (``resumable``).
        '''
        row = self.running(target)
        if row is None:
            return
        if row.cancelled_by:
            # nobody was left to see that it was to end
            left = delegation.NOT_ENDED if resumable else delegation.GOES_ON
            left = left if row.exec_sent_at else ''
            reason = 'cancelled by %s' % row.cancelled_by
            self.end(
                row.number, delegation.CANCELLED, reason=reason, remedy=left
            )
            return
        again = resumable or row.exec_sent_at is None
        self.end(
            row.number,
            delegation.PENDING if again else delegation.LOST,
            reason=reason,
        )

    def end(self, number: int, state: str, **fields: Any) -> None:
        '''close ``number`` and what it took, in a final state

        PENDING instead sets all of them back to wait for another turn.
        '''
        now = time.time()
        also: dict[str, Any] = {'state': delegation.SUPERSEDED, 'ended': now}
        if state == delegation.PENDING:
            also = {'merged_into': None}
        else:
            fields.update(ended=now)
        self._change(number, also, state=state, **fields)

    def _change(self, number: int, also=None, /, **fields) -> None:
        '''set ``fields`` of ``number``, and ``also`` of what it takes'''
        with self._lock:
            mine, others = self._unsaved.setdefault(number, ({}, {}))
            mine.update(fields)
            others.update(also or {})
            try:
                with self._db.writing() as db:
                    _set(db, 'number = ?', number, mine)
                    _set(
                        db,
                        "merged_into = ? AND state = 'pending'",
                        number,
                        others,
                    )
            except JournalError as exc:
                self.last_error = exc
            else:
                del self._unsaved[number]

    def prune(self, target: str, keep: int, sequence: int) -> list[str]:
        '''forget all but the newest ``keep`` ended ones; the ids forgotten

        What the outbox may still name, from ``sequence`` on, stays: it is
        the proof that nothing is left to do. So does the last success.
        '''
        last = self.last(target, delegation.SUCCEEDED)
        rows = self._db.select(
            'SELECT number, id FROM (SELECT * FROM delegation '
            "WHERE target = ? AND state NOT IN ('pending', 'running') "
            'ORDER BY number DESC LIMIT -1 OFFSET ?) '
            'WHERE number <> ? AND coalesce(sequence, 0) < ?',
            target,
            keep,
            last.number if last else 0,
            sequence,
        )
        self._forget('delegation WHERE number', [row[0] for row in rows])
        return [row[1] for row in rows]

    def prune_all(self, keep: int) -> list[str]:
        '''forget all but the newest ``keep`` ended ones of all targets; the
        ids forgotten'''
        rows = self._db.select(
            'SELECT number, id FROM delegation '
            "WHERE state NOT IN ('pending', 'running') "
            'ORDER BY number DESC LIMIT -1 OFFSET ?',
            keep,
        )
        self._forget('delegation WHERE number', [row[0] for row in rows])
        return [row[1] for row in rows]

    def prune_unmatched(self, txns: Iterable[str]) -> None:
        '''forget what did not match, but for the pushes ``txns``'''
        rows = self._db.select('SELECT DISTINCT txn FROM unmatched')
        old = {row[0] for row in rows}.difference(txns)
        self._forget('unmatched WHERE txn', list(old))

    def _forget(self, where: str, keys: list[Any]) -> None:
        # most pushes have nothing to forget, and a transaction costs
        if keys:
            with self._db.writing() as db:
                db.executemany(
                    'DELETE FROM %s = ?' % where, [(key,) for key in keys]
                )


def _set(db, where: str, number: int, fields: dict[str, Any] | None) -> None:
    if fields:
        names = ', '.join('%s = ?' % name for name in fields)
        db.execute(
            'UPDATE delegation SET %s WHERE %s' % (names, where),
            (*fields.values(), number),
        )
