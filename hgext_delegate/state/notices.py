# SPDX-License-Identifier: GPL-2.0-or-later
'''who should know of an end: each is told once, whoever closes it

A notice is recorded in the transaction of the end itself. Whoever claims it
tells it; one that is killed over that does not tell it twice.
'''

from __future__ import annotations

import dataclasses

from . import delegation, journal as journalmod


@dataclasses.dataclass(frozen=True)
class Notice:
    '''that delegation ``number`` came into ``state``; ``place`` orders them'''

    place: int
    number: int
    state: str


def newest(journal: journalmod.Journal) -> int:
    '''the place of the last one that nobody has told, or 0'''
    query = 'SELECT coalesce(max(place), 0) FROM notice WHERE NOT told'
    return journal.db.select(query)[0][0]


def claim(journal: journalmod.Journal) -> Notice | None:
    '''the first that nobody has told, which the caller tells now'''
    with journal.db.writing() as db:
        query = 'SELECT place, number, state FROM notice WHERE NOT told '
        query += 'ORDER BY place LIMIT 1'
        # hooks are told the state as it stands there
        rows = journal.db.select(
            query,
            is_sound=lambda _place, _of, state: state in delegation.STATES,
        )
        if not rows:
            return None
        (row,) = rows
        db.execute('UPDATE notice SET told = 1 WHERE place = ?', row[:1])
        # what is forgotten is told no more
        db.execute(
            'DELETE FROM notice WHERE place < ? AND number NOT IN '
            '(SELECT number FROM delegation)',
            row[:1],
        )
    return Notice(*row)


def was_wrong(journal: journalmod.Journal, notice: Notice, target: str) -> bool:
    '''whether the one told before ``notice`` said that ``target`` goes wrong'''
    rows = journal.db.select(
        'SELECT notice.state FROM notice JOIN delegation USING (number) '
        'WHERE target = ? AND place < ? '
        'AND notice.state IN (?, ?, ?, ?) ORDER BY place DESC LIMIT 1',
        target,
        notice.place,
        *(delegation.SUCCEEDED, delegation.PENDING),
        *(delegation.FAILED, delegation.LOST),
    )
    return bool(rows) and rows[0][0] != delegation.SUCCEEDED
