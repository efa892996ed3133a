# SPDX-License-Identifier: GPL-2.0-or-later
'''forget the oldest delegations, and what they printed'''

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from ..push import outbox
from . import delegation, files, journal as journalmod


def prune(
    journal: journalmod.Journal,
    paths: files.Paths,
    names: Iterable[str],
    keep: int,
    box: outbox.Outbox,
) -> None:
    '''keep the newest ``keep`` that have ended of each of the targets ``names``

    The last success stays as well, and so does what the outbox ``box`` may
    still name: it proves that nothing is left to do.
    '''
    first = min((e.sequence for e in box.entries), default=box.following)
    for name in names:
        last = journal.last(name, delegation.SUCCEEDED)
        rows = journal.db.select(
            'SELECT number, id FROM (SELECT * FROM delegation '
            'WHERE target = ? AND NOT ' + journalmod.OPEN_SQL + ' '
            'ORDER BY number DESC LIMIT -1 OFFSET ?) '
            'WHERE number <> ? AND coalesce(sequence, 0) < ?',
            *(name, keep, last.number if last else 0, first),
            is_sound=delegation.is_id,
        )
        _forget(journal, 'delegation WHERE number', [row[0] for row in rows])
        for _number, id in rows:
            with contextlib.suppress(OSError):
                paths.log(id).unlink()
    found = journal.db.select('SELECT DISTINCT txn FROM unmatched')
    old = {row[0] for row in found}.difference(e.txn for e in box.entries)
    _forget(journal, 'unmatched WHERE txn', old)


def prune_all(journal: journalmod.Journal, keep: int) -> list[str]:
    '''keep the newest ``keep`` that have ended, of all targets together; the
    ids of those that are forgotten'''
    rows = journal.db.select(
        'SELECT number, id FROM delegation '
        'WHERE NOT ' + journalmod.OPEN_SQL + ' '
        'ORDER BY number DESC LIMIT -1 OFFSET ?',
        keep,
        is_sound=delegation.is_id,
    )
    _forget(journal, 'delegation WHERE number', [row[0] for row in rows])
    return [row[1] for row in rows]


def _forget(
    journal: journalmod.Journal, where: str, keys: Iterable[str | int]
) -> None:
    # most pushes have nothing to forget, and a transaction costs
    if keys:
        with journal.db.writing() as db:
            db.executemany(
                'DELETE FROM %s = ?' % where, [(key,) for key in keys]
            )
