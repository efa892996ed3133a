# SPDX-License-Identifier: GPL-2.0-or-later
'''why a delegation waits that nobody begins now'''

from __future__ import annotations

from . import journal as journalmod


def defer(
    journal: journalmod.Journal, number: int, reason: str, remedy: str
) -> bool:
    '''note why ``number`` waits; False if it does not wait by itself any more

    It may have ended, or another one has taken it along. Raises JournalError.
    '''
    where = "number = ? AND state = 'pending' AND merged_into IS NULL"
    with journal.db.writing() as db:
        done = db.execute(
            'UPDATE delegation SET reason = ?, remedy = ? WHERE ' + where,
            (reason, remedy, number),
        ).rowcount
    return bool(done)
