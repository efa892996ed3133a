# abandoned.py - delegations whose process is gone
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''delegations that still run in the journal, though their process is gone

Whoever runs a delegation holds its target's lock. Where that is free, the
process was killed, and whoever comes next closes the delegation.
'''

from __future__ import annotations

import contextlib

from ..state import delegation, target_lock
from . import dispatcher


def close_all(made: dispatcher.Dispatcher) -> None:
    for name in made.journal.running_targets():
        _close(made, name)


def is_open(made: dispatcher.Dispatcher, number: int) -> bool:
    '''whether ``number`` has not ended, and somebody works on it'''
    row = made.journal.get(number)
    if row and row.state == delegation.RUNNING:
        _close(made, row.target)
        row = made.journal.get(number)
    return row is not None and row.state in delegation.OPEN


def _close(made: dispatcher.Dispatcher, name: str) -> None:
    resumable = any(t.name == name and t.receiver for t in made.targets)
    turn = target_lock.turn(made.paths, name, 0, lambda: False)
    with contextlib.suppress(target_lock.LockError), turn as mine:
        if mine:
            made.journal.close_abandoned(name, resumable)
