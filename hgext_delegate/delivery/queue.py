# SPDX-License-Identifier: GPL-2.0-or-later
'''what waits for a target, and which of it runs now

The newest runs, and the others are merged into it. Nothing goes back to an
ancestor of what is deployed.
'''

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

from ..config import targets
from ..push import outbox
from ..state import delegation, files, journal as journalmod, waiting
from . import history as historymod, obstacles

if TYPE_CHECKING:
    from . import told


@dataclasses.dataclass(frozen=True)
class Task:
    '''the delegation ``number`` to ``target``, and what a worker needs for it

    ``news`` is set when there is something new to read. With ``regardless``
    the delegation does not wait for the target before its own.
    '''

    target: targets.Target
    number: int
    paths: files.Paths
    journal: journalmod.Journal
    history: historymod.History
    news: threading.Event
    regardless: bool = False
    teller: told.Teller | None = None


def stop(task: Task) -> bool:
    '''whether ``task`` has to wait, which is noted. Raises JournalError'''
    why = obstacles.hold(task.paths, task.target.name)
    row = None if why or task.regardless else task.journal.get(task.number)
    if row:
        why = obstacles.after(task.journal, task.history, task.target, row)
    return bool(why) and waiting.defer(task.journal, task.number, **why)


def claim(task: Task) -> delegation.Delegation | None:
    '''choose and claim what to run now for ``task``; the caller has the turn

    None if nothing is left to do for it.
    '''
    journal, name = task.journal, task.target.name
    mine = journal.get(task.number)
    if mine is None or mine.state != delegation.PENDING:
        return None
    last = journal.last(name, delegation.SUCCEEDED)
    rows = journal.pending(name)
    older, others = _divided(task, rows)
    while older:
        row = _newest(task, older)
        older.remove(row)
        left = _what_is_left(task, row)
        if left is None:
            continue
        if left.node != row.node and not _divided(task, [left])[0]:
            continue
        known = task.history.is_ancestor
        if last and delegation.supersedes(last, left, known):
            end = delegation.SUPERSEDED
            journal.end(left.number, end, merged_into=last.number)
            continue
        before = rows[: [each.number for each in rows].index(row.number)]
        merged = [each.number for each in before if each in others]
        merged += [other.number for other in older]
        claimed = journal.claim(left, last.node if last else None, merged)
        if claimed:
            return claimed
    return None


def _divided(
    task: Task, rows: list[delegation.Delegation]
) -> tuple[list[delegation.Delegation], list[delegation.Delegation]]:
    '''those of ``rows`` that may run, and those that a newer one may take along

    All may run, unless the target comes after another one.
    '''
    journal, target = task.journal, task.target
    passed = obstacles.passed(journal, task.history, target, rows)
    may = {row.number for row in passed}
    mine = journal.get(task.number) if task.regardless else None
    if mine:
        may.add(mine.number)
    known = task.history.is_ancestor
    over = [
        row
        for row in rows
        if row.number not in may
        and (
            obstacles.is_over_before(journal, target, row)
            or (mine and known(row.node, mine.node))
        )
    ]
    return [row for row in rows if row.number in may], over


def _newest(
    task: Task, rows: list[delegation.Delegation]
) -> delegation.Delegation:
    '''the last of ``rows``, into which the others are merged'''
    row = rows[-1]
    for other in rows[:-1]:
        # With the classic hook line alone, pushes are in the order in which
        # their hooks have begun.
        if row.txn and other.txn and outbox.MARK in other.txn:
            if task.history.is_ancestor(row.node, other.node):
                row = other
    return row


def _what_is_left(
    task: Task, row: delegation.Delegation
) -> delegation.Delegation | None:
    '''``row``, with the newest changeset of its push that still exists

    If there is none, ``row`` is ended.
    '''
    if task.history.exists(row.node):
        return row
    entry = row.txn and outbox.read_file(task.paths.outbox).find(row.txn)
    node = task.history.newest(task.target, entry) if entry else None
    if node:
        return task.journal.move(row.number, node)
    task.journal.end(
        row.number,
        delegation.CANCELLED,
        reason='the changeset is gone from the repository',
        remedy='it was stripped, or is hidden by now: push again',
    )
    return None
