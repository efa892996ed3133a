# SPDX-License-Identifier: GPL-2.0-or-later
'''what keeps a delegation waiting that could begin

Somebody holds its target; or that comes ``:after`` another target, which has
not had the changeset yet.
'''

from __future__ import annotations

from collections.abc import Iterable

from ..config import targets as targetsmod
from ..report import wording
from ..state import delegation, files, holds, journal as journalmod, waiting
from . import history as historymod

Rows = list[delegation.Delegation]
# what a target has that has had no success yet
_NOTHING = 40 * '0'
# the reason, and the remedy
Why = dict[str, str]


def hold(paths: files.Paths, target: str) -> Why:
    '''who holds ``target``, and until when; {} if nobody does'''
    found = holds.of(paths, target)
    return _why(wording.held(found, target)) if found else {}


def after(
    journal: journalmod.Journal,
    history: historymod.History,
    target: targetsmod.Target,
    row: delegation.Delegation,
) -> Why:
    '''what the target before ``target`` lacks for ``row``; {} if nothing'''
    if target.after is None or passed(journal, history, target, [row]):
        return {}
    number = row.txn and journal.find(target.after, row.txn)
    before = journal.get(number) if number else None
    known = journal.known(row.txn) if row.txn and not before else ()
    excluded = (row.txn, target.after) in known
    return _why(wording.after(target.after, before, excluded))


def passed(
    journal: journalmod.Journal,
    history: historymod.History,
    target: targetsmod.Target,
    rows: Rows,
) -> Rows:
    '''those of ``rows`` that have succeeded at the target before ``target``

    That is: its last success has them. What was stripped needs no such thing.
    All of them where no target comes before.
    '''
    if target.after is None or not rows:
        return rows
    last = journal.last(target.after, delegation.SUCCEEDED)
    nodes = {row.node for row in rows}
    lacking = history.lacking(nodes, last.node if last else _NOTHING)
    return [row for row in rows if row.node not in lacking]


def is_over_before(
    journal: journalmod.Journal,
    target: targetsmod.Target,
    row: delegation.Delegation,
) -> bool:
    '''whether the target before ``target`` has had ``row``, or has taken it
    along with a newer one: then a newer one at ``target`` may do so as well'''
    number = target.after and row.txn and journal.find(target.after, row.txn)
    before = journal.get(number) if number else None
    over = (delegation.SUCCEEDED, delegation.SUPERSEDED)
    return before is not None and before.state in over


def ready(
    paths: files.Paths,
    journal: journalmod.Journal,
    history: historymod.History,
    targets: Iterable[targetsmod.Target],
) -> list[tuple[targetsmod.Target, int]]:
    '''what has waited for the target before its own, and need not any more'''
    found = []
    for target in targets:
        if target.after is None or hold(paths, target.name):
            continue
        once = wording.once_after(target.after)
        rows = [
            row
            for row in journal.pending(target.name)
            if row.merged_into is None
            # a process that was killed has noted nothing
            and (not row.reason or row.remedy == once)
        ]
        if rows := passed(journal, history, target, rows):
            found.append((target, rows[-1].number))
    return found


def note_again(
    journal: journalmod.Journal,
    history: historymod.History,
    targets: Iterable[targetsmod.Target],
) -> None:
    '''note anew why what waits for another target does so'''
    for target in targets:
        once = target.after and wording.once_after(target.after)
        for row in journal.pending(target.name) if once else ():
            if row.remedy == once:
                why = after(journal, history, target, row)
                if why and why['reason'] != row.reason:
                    waiting.defer(journal, row.number, **why)


def _why(words: tuple[str, str]) -> Why:
    return dict(zip(('reason', 'remedy'), words))
