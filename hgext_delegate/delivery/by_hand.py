# SPDX-License-Identifier: GPL-2.0-or-later
'''which changeset is delegated when somebody asks for no certain one

By ``hg delegate``, or through the push channel.
'''

from __future__ import annotations

from collections.abc import Container

from mercurial.node import bin

from ..config import targets as targetsmod
from ..push import selection
from ..state import delegation
from . import dispatcher as dispatchermod, obstacles


def newest(
    dispatcher: dispatchermod.Dispatcher,
    target: targetsmod.Target,
    beside: Container[str] = (),
) -> str | None:
    '''the newest changeset of the repository that is for ``target``

    Where it comes after another target, which is not delegated ``beside`` it:
    the newest that this has, unless ``target`` would go back by that. None if
    there is none, '' if its revset is wrong, which is said.
    '''
    repo, journal = dispatcher.repo, dispatcher.journal
    revs = selection.eligible(repo, target.trigger)
    node = dispatcher.newest_of(target, revs)
    if not node or target.after is None or target.after in beside:
        return node
    before = journal.last(target.after, delegation.SUCCEEDED)
    is_ancestor = dispatcher.history.is_ancestor
    if before is None or is_ancestor(node, before.node):
        return node
    changelog = repo.unfiltered().changelog
    if not changelog.hasnode(bin(before.node)):
        return node
    rev = changelog.rev(bin(before.node))
    has = changelog.ancestors([rev], inclusive=True)
    revs = sorted(has if revs is None else filter(has.__contains__, revs))
    older = dispatcher.newest_of(target, revs)
    last = journal.last(target.name, delegation.SUCCEEDED)
    if last and older and older != last.node:
        if is_ancestor(older, last.node):
            return node
    return older or node


def record(
    dispatcher: dispatchermod.Dispatcher,
    target: targetsmod.Target,
    node: str,
    who: str | None,
) -> int:
    '''the number of the delegation of ``node`` to ``target`` that ``who`` asks
    for: one that waits for the target before it waits only once'''
    journal = dispatcher.journal
    rows = journal.pending(target.name) if target.after else []
    rows = [r for r in rows if r.node == node and r.merged_into is None]
    if obstacles.passed(journal, dispatcher.history, target, rows):
        rows = []
    if rows:
        return rows[-1].number
    return journal.record(target.name, node, who)
