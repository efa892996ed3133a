# SPDX-License-Identifier: GPL-2.0-or-later
'''delegations that still run in the journal, though their process is gone

The worker of a delegation holds its target's lock. If that is free, its process
was killed, and the next command or push closes the delegation. Where a receiver
can tell what became of it, it is undecided until somebody asks.
'''

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from ..config import targets
from ..report import wording
from ..state import delegation, holds, target_lock
from . import detached, dispatcher as dispatchermod


def close_all(dispatcher: dispatchermod.Dispatcher) -> None:
    for name in dispatcher.journal.running_targets():
        _close(dispatcher, name)


def undecided(dispatcher: dispatchermod.Dispatcher) -> dispatchermod.Jobs:
    '''the newest that waits for each target, if it may have run already

    Those are left out of which somebody asks the receiver now, and of targets
    that are held: a receiver that has not seen one would run it.
    '''
    close_all(dispatcher)
    found = []
    for target in dispatcher.targets:
        rows = dispatcher.journal.pending(target.name)
        if rows and rows[-1].is_undecided:
            paths = dispatcher.paths
            is_asked = target_lock.is_held(paths.lock(target.name))
            if not is_asked and not holds.of(paths, target.name):
                found.append((target, rows[-1].number))
    return found


def settle(
    dispatcher: dispatchermod.Dispatcher, asked: Sequence[targets.Target] = ()
) -> None:
    '''let a process of its own ask about what is undecided, and say so; and
    one delegate what has waited for another target, and need not any more

    But not the receivers of the targets that were just ``asked``.
    '''
    jobs = [job for job in undecided(dispatcher) if job[0] not in asked]
    ready = dispatcher.ready()
    if (jobs or ready) and os.access(dispatcher.paths.folder, os.W_OK):
        for target, _number in ready:
            detached.start(dispatcher.repo, [target.name], followed=False)
        for target, number in jobs:
            detached.start(dispatcher.repo, [target.name], followed=False)
            line = wording.of(target.name, wording.UNDECIDED % number)
            dispatcher.printer.warn(line)


def is_open(dispatcher: dispatchermod.Dispatcher, number: int) -> bool:
    '''whether ``number`` has not ended, and somebody works on it'''
    row = dispatcher.journal.get(number)
    if row and row.state == delegation.RUNNING:
        _close(dispatcher, row.target)
        row = dispatcher.journal.get(number)
    return row is not None and row.state in delegation.OPEN


def _close(dispatcher: dispatchermod.Dispatcher, name: str) -> None:
    resumable = any(t.name == name and t.receiver for t in dispatcher.targets)
    turn = target_lock.turn(dispatcher.paths, name, 0, lambda: False)
    with contextlib.suppress(target_lock.LockError), turn as mine:
        if mine:
            dispatcher.journal.close_abandoned(name, resumable)
