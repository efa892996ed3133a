# SPDX-License-Identifier: GPL-2.0-or-later
'''one handing-over of one or more pushes to one target, and its states'''

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from .. import protocol

PENDING = 'pending'
RUNNING = 'running'
SUCCEEDED = 'succeeded'
FAILED = 'failed'
LOST = 'lost'
SUPERSEDED = 'superseded'
CANCELLED = 'cancelled'
# what a gate has said of a push
PASSED = 'passed'
REFUSED = 'refused'
OPEN = (PENDING, RUNNING)
# the ends of one that was run
RUN = (SUCCEEDED, FAILED, LOST, CANCELLED)

# the end of the reason of one that waits for its next attempt; in seconds
TRYING_AGAIN = '; trying again in %d s'
# what that begins with; the pause follows
AGAIN = TRYING_AGAIN.partition('%')[0]

# what the remedy of one begins with that waits for something else than an
# attempt; what it waits for follows
ONCE = 'delegated once '

# the remedy where a command has ended, and not all that it has started
KEPT_OPEN = (
    'what it has left running keeps its output open; start it with its '
    "output elsewhere: '>>FILE 2>&1 &'"
)
# the remedy of one that was cancelled while the receiver was out of reach
NOT_ENDED = 'the receiver has not ended it, it may go on: cancel it again'
# and of one without our receiver
GOES_ON = 'the remote command may go on until its next output'


@dataclasses.dataclass(frozen=True)
class Delegation:
    '''one row; times are seconds since the epoch, ``seconds`` a duration

    ``txn`` and ``sequence`` name the push; ``hg delegate`` has none.
    ``merged_into`` is the number of the delegation that runs for this one.
    ``turn`` orders the runs of a target, whatever the clock does.
    ``exec_sent_at`` is when the exec request was sent: without it a delegation
    provably never started on the far side. ``detail`` is for the server's
    administrator alone: it may name files.
    '''

    number: int
    id: str
    target: str
    txn: str | None
    sequence: int | None
    state: str
    node: str
    previous: str | None
    pusher: str | None
    merged_into: int | None
    attempt: int
    turn: int | None
    created: float
    began: float | None
    exec_sent_at: float | None
    ended: float | None
    seconds: float | None
    status: int | None
    signal: str | None
    reason: str
    remedy: str
    detail: str
    cancelled_by: str | None

    @property
    def is_undecided(self) -> bool:
        '''whether it waits, and may have run: only a receiver can tell'''
        return self.state == PENDING and self.exec_sent_at is not None

    @property
    def is_of_gate(self) -> bool:
        '''whether a gate was asked: it waits for no turn'''
        return self.began is not None and self.turn is None


# The words stand in the SQL of the journal as well. A version that does not
# know one takes its row for damage: MIGRATIONS has the journal's version.
STATES = {*OPEN, *RUN, SUPERSEDED, PASSED, REFUSED}
# the year 9999: a date beyond it cannot be shown, and infinity is none
LATEST = 253402300800.0
_KINDS = {'int': int, 'str': str, 'float': float, 'None': type(None)}
_TYPES = [
    tuple(_KINDS[kind] for kind in field.type.split(' | '))
    for field in dataclasses.fields(Delegation)
]


def is_sound(*row: Any) -> bool:
    '''whether the values of ``row`` can be a Delegation's

    sqlite has no checksums, and takes any type in any column.
    '''
    if not all(map(isinstance, row, _TYPES)):
        return False
    found = Delegation(*row)
    nodes = filter(None, (found.node, found.previous))
    return (
        found.state in STATES
        and is_id(found.number, found.id)
        and is_target(found.target)
        and all(map(protocol.NODE.fullmatch, nodes))
        and all(abs(x) < LATEST for x in row if isinstance(x, float))
    )


def is_id(number: Any, id: Any) -> bool:
    '''whether ``id`` can be an id, which is part of the log's path'''
    return isinstance(id, str) and bool(protocol.ID.fullmatch(id))


def is_target(name: Any) -> bool:
    '''whether ``name`` can be a target's, which is part of the lock's path'''
    return isinstance(name, str) and bool(protocol.TARGET_NAME.fullmatch(name))


def abandoned(
    row: Delegation, resumable: bool, reason: str
) -> tuple[str, dict[str, str]]:
    '''the state, and more fields, of ``row`` whose process is dead

    One that never began on the far side waits again. So does one that the
    receiver can be asked about (``resumable``). A gate is not asked again: its
    push was not accepted.
    '''
    if row.cancelled_by:
        # its process died before it saw that
        left = NOT_ENDED if resumable else GOES_ON
        why = 'cancelled by %s' % row.cancelled_by
        remedy = left if row.exec_sent_at else ''
        return CANCELLED, {'reason': why, 'remedy': remedy}
    waits = not row.is_of_gate and (resumable or row.exec_sent_at is None)
    return (PENDING if waits else LOST), {'reason': reason}


def supersedes(
    last: Delegation, row: Delegation, is_ancestor: Callable[[str, str], bool]
) -> bool:
    '''whether ``last``, which succeeded, leaves nothing to do for ``row``

    ``last.node`` itself may be delegated again, since its bookmark or its
    phase has moved. ``hg delegate`` (no ``txn``) may go back. Neither goes
    behind what was asked for later, which has a higher number.
    '''
    same = row.node == last.node
    if (same or row.txn is None) and row.number > last.number:
        return False
    return same or is_ancestor(row.node, last.node)
