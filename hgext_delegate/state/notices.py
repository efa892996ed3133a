# SPDX-License-Identifier: GPL-2.0-or-later
'''who should know of an end: each is told once, whoever closes it

A notice is recorded in the transaction of the end itself. Whoever claims it
tells it; one that is killed over that does not tell it twice.
'''

from __future__ import annotations

import dataclasses

from . import delegation, journal as journalmod

# what ``told`` says, which is 0 before: somebody tells it, by hooks for one;
# and who should know it by mail does
_CLAIMED, _KNOWN = 1, 2
_WRONG = (delegation.FAILED, delegation.LOST, delegation.PENDING)


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


def note_known(journal: journalmod.Journal, notice: Notice, is_known: bool):
    '''note whether those who are told by mail know that it is so

    With a mail that went, or may have gone; or since nothing has changed.
    '''
    told = _KNOWN if is_known else _CLAIMED
    with journal.db.writing() as db:
        update = 'UPDATE notice SET told = ? WHERE place = ?'
        db.execute(update, (told, notice.place))


def is_news(
    journal: journalmod.Journal, notice: Notice, row: delegation.Delegation
) -> bool:
    '''whether by ``notice`` of ``row`` its target goes wrong or works again,
    for those who are told by mail'''
    if notice.state == delegation.SUCCEEDED:
        return _was_wrong(journal, notice, row.target)
    if notice.state not in _WRONG:
        return False
    known = journal.db.select(
        'SELECT notice.state, turn FROM notice JOIN delegation USING (number) '
        'WHERE target = ? AND place < ? AND told = ? '
        'AND notice.state IN (?, ?, ?, ?) ORDER BY place DESC LIMIT 1',
        *(row.target, notice.place, _KNOWN, delegation.SUCCEEDED, *_WRONG),
    )
    if not known or known[0][0] == delegation.SUCCEEDED:
        return True
    # A success has no notice where nobody was to be told, nor is it known
    # where its mail could not be sent.
    before = row.turn if row.turn is not None else 2**62
    last = journal.last(row.target, delegation.SUCCEEDED, before=before)
    turn = known[0][1]
    return bool(last and last.turn and turn and last.turn >= turn)


def _was_wrong(
    journal: journalmod.Journal, notice: Notice, target: str
) -> bool:
    '''whether it went wrong, told or not, since a success that is known'''
    of_target = (
        'FROM notice JOIN delegation USING (number) '
        'WHERE target = ? AND place < ? AND notice.state '
    )
    rows = journal.db.select(
        f'SELECT 1 {of_target} IN (?, ?, ?) AND place > (SELECT '
        f'coalesce(max(place), 0) {of_target} = ? AND told = ?) LIMIT 1',
        *(target, notice.place, *_WRONG),
        *(target, notice.place, delegation.SUCCEEDED, _KNOWN),
    )
    return bool(rows)
