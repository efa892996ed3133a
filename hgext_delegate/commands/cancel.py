# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate-cancel: end what runs or waits, on both sides'''

from __future__ import annotations

from mercurial import error, pycompat, util
from mercurial.i18n import _

from ..delivery import abandoned, ending
from ..push import push
from ..state import delegation
from . import log, opened


def cancel(ui, repo, id: bytes) -> int:
    '''hg delegate-cancel: 0 once the delegation has ended'''
    with opened.to_read(ui, repo) as dispatcher:
        number = log.named(dispatcher, id).number
        is_open = abandoned.is_open(dispatcher, number)
        row = log.named(dispatcher, id)
        if is_open and row.merged_into:
            line = _(b'delegation %d goes along with delegation %d')
            hint = _(b"'hg delegate-cancel %d' cancels both")
            raise error.StateError(
                line % (number, row.merged_into), hint=hint % row.merged_into
            )
        if not is_open and row.remedy != delegation.NOT_ENDED:
            raise error.StateError(
                _(b'delegation %d is not running') % number,
                hint=_(b'it ended: %s') % pycompat.sysbytes(row.state),
            )
        return ending.end(dispatcher, [row], who())


def who() -> str:
    # as push.pusher() does: LOGNAME and USER say what their owner likes
    return push.text(util.username())
