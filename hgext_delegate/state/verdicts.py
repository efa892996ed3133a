# SPDX-License-Identifier: GPL-2.0-or-later
'''what gates have said of pushes, in the journal beside the delegations

A row is written once, when the gate has ended: the push that it is about may
never come to be. It has no transaction and no turn, so that it never counts
as a delegation of its target.
'''

from __future__ import annotations

import dataclasses
import time

from . import delegation, journal as journalmod


def record(
    journal: journalmod.Journal, row: delegation.Delegation
) -> delegation.Delegation:
    '''keep ``row``, which has ended; the same with its number

    Raises JournalError.
    '''
    names = [
        *('id', 'target', 'state', 'node', 'pusher', 'attempt', 'created'),
        *('began', 'exec_sent_at', 'ended', 'seconds', 'status', 'signal'),
        *('reason', 'remedy', 'detail', 'cancelled_by'),
    ]
    marks = ', '.join('?' * len(names))
    with journal.db.writing() as db:
        added = db.execute(
            'INSERT INTO delegation (%s) VALUES (%s)'
            % (', '.join(names), marks),
            [getattr(row, name) for name in names],
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
