# SPDX-License-Identifier: GPL-2.0-or-later
'''delegations that still run in the journal, though their process is gone

The worker of a delegation holds its target's lock. If that is free, its process
was killed, and the next command or push closes the delegation.
'''

from __future__ import annotations

import contextlib

from ..state import delegation, target_lock
from . import dispatcher as dispatchermod


def close_all(dispatcher: dispatchermod.Dispatcher) -> None:
    for name in dispatcher.journal.running_targets():
        _close(dispatcher, name)


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
