# SPDX-License-Identifier: GPL-2.0-or-later
'''what gates have said of pushes, in the journal beside the delegations

A row is written when the gate is asked, as running, and again when that has
ended: the push that it is about may never come to be. It has no transaction
and no turn, so that it never counts as a delegation of its target.
'''

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence

from . import delegation, files, journal as journalmod, target_lock, unsaved


@contextlib.contextmanager
def begun(
    journal: journalmod.Journal,
    paths: files.Paths,
    rows: Sequence[delegation.Delegation],
) -> Iterator[list[delegation.Delegation]]:
    '''keep ``rows``, which run from now on; the same with their numbers

    As long as this process has the locks of their targets, they count as
    running. Raises JournalError and LockError.
    '''
    with contextlib.ExitStack() as turns:
        for row in rows:
            turn = target_lock.turn(paths, row.target, 0, lambda: False)
            if turns.enter_context(turn):
                journal.close_abandoned(row.target, resumable=False)
        yield [record(journal, row) for row in rows]


def record(
    journal: journalmod.Journal, row: delegation.Delegation
) -> delegation.Delegation:
    '''keep ``row`` as it is now; the same with its number

    Raises JournalError.
    '''
    names = [
        *('id', 'target', 'state', 'node', 'pusher', 'attempt', 'created'),
        *('began', 'exec_sent_at', 'ended', 'seconds', 'status', 'signal'),
        *('reason', 'remedy', 'detail'),
    ]
    fields = {name: getattr(row, name) for name in names}
    with journal.db.writing() as db:
        if row.number:
            unsaved.update(db, 'number = ?', row.number, fields)
            return row
        marks = ', '.join('?' * len(names))
        insert = 'INSERT INTO delegation (%s) VALUES (%s)'
        added = db.execute(
            insert % (', '.join(names), marks), [*fields.values()]
        )
    return dataclasses.replace(row, number=added.lastrowid or 0)


def new(
    id: str, target: str, node: str, pusher: str | None
) -> delegation.Delegation:
    '''the row of a gate that is asked now'''
    now = time.time()
    return delegation.Delegation(
        number=0,
        id=id,
        target=target,
        txn=None,
        sequence=None,
        state=delegation.RUNNING,
        node=node,
        previous=None,
        # one line, as the journal's own
        pusher=pusher and ' '.join(pusher.split()),
        merged_into=None,
        attempt=1,
        turn=None,
        created=now,
        began=now,
        exec_sent_at=None,
        ended=None,
        seconds=None,
        status=None,
        signal=None,
        reason='',
        remedy='',
        detail='',
        cancelled_by=None,
    )
