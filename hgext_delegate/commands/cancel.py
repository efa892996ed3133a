# cancel.py - hg delegate-cancel
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''hg delegate-cancel: end what runs or waits, on both sides'''

from __future__ import annotations

import time

from mercurial import error, pycompat, util
from mercurial.i18n import _

from .. import imports
from ..delivery import abandoned
from ..push import push
from ..report import wording
from ..state import delegation
from . import log, opened

# How long a running delegation is given to end after it was told to: its
# worker may wait for a receiver that does not answer. In seconds.
_FAREWELL = 30.0


def cancel(ui, repo, id: bytes) -> int:
    '''hg delegate-cancel: 0 once the delegation has ended'''
    with opened.to_read(ui, repo) as made:
        row = log.named(made, id)
        if not abandoned.is_open(made, row.number):
            ended = made.journal.get(row.number) or row
            if ended.remedy == delegation.NOT_ENDED:
                end_remote(made, ended)
                return report(made, ended)
            raise error.StateError(
                _(b'delegation %d is not running') % row.number,
                hint=_(b'it ended: %s') % pycompat.sysbytes(ended.state),
            )
        row = made.journal.get(row.number) or row
        if row.merged_into:
            raise error.StateError(
                _(b'delegation %d goes along with delegation %d')
                % (row.number, row.merged_into),
                hint=_(b"'hg delegate-cancel %d' cancels both")
                % row.merged_into,
            )
        if not made.journal.cancel(row.number, who()):
            await_end(made, row.number)
        elif row.exec_sent_at:
            end_remote(made, row)
        return report(made, row)


def end_remote(made, row) -> None:
    '''end what a lost connection may have left with our receiver'''
    for target in made.targets:
        if target.name == row.target and target.receiver:
            with imports.complete():
                from ..delivery import remote_cancel
            state = remote_cancel.end(target, made.journal, row)
            if state == delegation.SUCCEEDED:
                # It was over before we came.
                fields = {'status': 0, 'reason': '', 'remedy': ''}
            else:
                fields = {'remedy': '' if state else delegation.NOT_ENDED}
                state = delegation.CANCELLED
            made.journal.end(row.number, state, **fields)


def who() -> str:
    # as push.pusher() does: LOGNAME and USER say what their owner likes
    return push.text(util.username())


def await_end(made, number: int) -> None:
    deadline = time.monotonic() + _FAREWELL
    while abandoned.is_open(made, number) and time.monotonic() < deadline:
        time.sleep(0.1)


def report(made, row) -> int:
    row = made.journal.get(row.number)
    if row.state in delegation.OPEN:
        made.printer.warn(
            wording.of(
                row.target, _(b'delegation %d has not ended yet') % row.number
            ),
            _(b"'hg delegate-log %d' shows what becomes of it") % row.number,
        )
        return 1
    if row.state != delegation.CANCELLED:
        line, hints = wording.verdict(row)
        made.printer.warn(wording.of(row.target, line), *hints)
        return 1
    line = _(b'delegation %d is cancelled') % row.number
    made.printer.say(wording.of(row.target, line), wording.text(row.remedy))
    return 0
