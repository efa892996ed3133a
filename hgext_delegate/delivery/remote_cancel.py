# SPDX-License-Identifier: GPL-2.0-or-later
'''end a delegation on the far side, also after its connection was lost'''

from __future__ import annotations

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
    request, data = protocol.compose_named(protocol.CANCEL, row.target, row.id)
    said: list[bytes] = []
    try:
        with connection.connect(target) as other:
            end = other.execute(
                request,
                data,
                lambda stream, output: said.append(output[:100]),
                lambda: None,
                idle_timeout=GRACE,
                timeout=GRACE,
            )
    except session.SessionError:
        return ''
    return protocol.parse_cancelled(b''.join(said)) if end.status == 0 else ''
