# SPDX-License-Identifier: GPL-2.0-or-later
'''cancel what runs or waits, on both sides, and say what came of it'''

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from mercurial.i18n import _

from .. import imports
from ..report import wording
from ..state import delegation
from . import abandoned, dispatcher as dispatchermod

# How long a running delegation is given to end after it was told to: its
# worker may wait for a receiver that does not answer. In seconds.
_END_TIMEOUT = 30.0


def end(
    dispatcher: dispatchermod.Dispatcher,
    rows: Sequence[delegation.Delegation],
    who: str,
) -> int:
    '''end all of ``rows`` for ``who``, and report each; 0 if all of them are
    cancelled'''
    journal = dispatcher.journal
    for row in rows:
        may_go_on = row.remedy == delegation.NOT_ENDED
        if row.state in delegation.OPEN:
            done = journal.cancel(row.number, who)
            may_go_on = done and row.exec_sent_at is not None
        if may_go_on:
            _end_remote(dispatcher, row)
    return max([0, *(_report(dispatcher, row) for row in rows)])


def _end_remote(
    dispatcher: dispatchermod.Dispatcher, row: delegation.Delegation
) -> None:
    '''end what a lost connection may have left with our receiver'''
    for target in dispatcher.targets:
        if target.name == row.target and target.receiver:
            with imports.complete():
                from . import remote_requests
            state = remote_requests.end(target, dispatcher.journal, row)
            fields: dict[str, Any] = {'remedy': ''}
            if state == delegation.SUCCEEDED:
                # it was over before it could be cancelled
                fields.update(status=0, reason='')
            else:
                fields['remedy'] = '' if state else delegation.NOT_ENDED
                state = delegation.CANCELLED
            dispatcher.journal.end(row.number, state, **fields)


def _report(
    dispatcher: dispatchermod.Dispatcher, row: delegation.Delegation
) -> int:
    '''wait for the end of ``row``, and say it; 0 if it is cancelled'''
    deadline = time.monotonic() + _END_TIMEOUT
    while abandoned.is_open(dispatcher, row.number):
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    printer = dispatcher.printer
    row = dispatcher.journal.get(row.number) or row
    if row.state == delegation.CANCELLED:
        line = _(b'delegation %d is cancelled') % row.number
        printer.say(wording.of(row.target, line), wording.text(row.remedy))
        return 0
    if row.state in delegation.OPEN:
        line = _(b'delegation %d has not ended yet') % row.number
        hint = _(b"'hg delegate-log %d' shows what becomes of it") % row.number
        printer.warn(wording.of(row.target, line), hint)
    else:
        line, hints = wording.verdict(row)
        printer.warn(wording.of(row.target, line), *hints)
    return 1
