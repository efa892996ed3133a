# SPDX-License-Identifier: GPL-2.0-or-later
'''ask our receiver to end a delegation, or what became of it

Each is a session of its own, also after the delegation's own was lost.
'''

from __future__ import annotations

from typing import Any

from .. import protocol
from ..config import targets
from ..ssh import session
from ..state import delegation, journal as journalmod
from . import connection

# How long the receiver may take to end it, in seconds.
GRACE = 10.0


def end(
    target: targets.Target,
    journal: journalmod.Journal,
    row: delegation.Delegation,
    begun: bool = True,
) -> str:
    '''let our receiver end ``row``, if it has ``begun``, and what is merged
    into it

    The state that ``row`` is in then; '' if something may still go on.
    '''
    # The newest first: it waits for those before it, and begins once they end.
    said = {
        each.number: _tell_receiver(target, each)
        for each in reversed(journal.carried(row.number))
        if (begun if each.number == row.number else each.exec_sent_at)
    }
    if not all(said.values()):
        return ''
    return said.get(row.number, delegation.CANCELLED)


def _tell_receiver(target: targets.Target, row: delegation.Delegation) -> str:
    '''let our receiver end the process group of ``row``

    The state that the receiver answers; '' if it cannot be told, or has not
    ended it.
    '''
    told = protocol.parse_status(_ask(target, row, protocol.CANCEL), row.id)
    return told['state'] if told else ''


def status(
    target: targets.Target, row: delegation.Delegation
) -> dict[str, Any] | None:
    '''what became of ``row``, as protocol.parse_status() says it; None if the
    receiver does not answer'''
    return protocol.parse_status(_ask(target, row, protocol.STATUS), row.id)


def _ask(
    target: targets.Target, row: delegation.Delegation, verb: str
) -> bytes:
    '''the answer to ``verb``; b'' if there was none'''
    request, data = protocol.compose_named(verb, row.target, row.id)
    said = bytearray()

    def receive(stream: int, output: bytes) -> None:
        if stream == 1 and len(said) < protocol.MAX_BYTES:
            said.extend(output)

    try:
        with connection.connect(target) as other:
            end = other.execute(
                request,
                data,
                receive,
                lambda: None,
                idle_timeout=GRACE,
                timeout=GRACE,
            )
    except session.SessionError:
        return b''
    return bytes(said) if end.status == 0 else b''
