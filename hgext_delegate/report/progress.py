# SPDX-License-Identifier: GPL-2.0-or-later
'''what a pusher reads while a delegation waits or runs'''

from __future__ import annotations

import time

from mercurial.i18n import _

from ..state import delegation
from . import wording


def waiting(target: str, usual: float | None) -> bytes:
    '''the topic of the progress bar'''
    if usual is None:
        return _(b'waiting for %s') % wording.text(target)
    return _(b'waiting for %s, usually %s') % (
        wording.text(target),
        wording.duration(usual),
    )


def waiting_for(
    row: delegation.Delegation | None,
    target: str,
    seconds: float,
    usual: float | None,
) -> bytes:
    '''what a pusher waits for since so many ``seconds``'''
    if row is None:
        line = _(b'waiting for the lock of %s, %d s so far')
        return line % (target.encode('ascii'), seconds)
    line = _(b'waiting for delegation %d of %s to %s, %s')
    how_long = so_far(row, usual) or _(b'%d s so far') % seconds
    return line % (
        row.number,
        wording.whom(row),
        wording.text(target),
        how_long,
    )


def waiting_until(row: delegation.Delegation, seconds: float) -> bytes:
    '''what a pusher waits for since so many ``seconds``, while ``row`` comes
    after another target'''
    return _(b'%s, %d s so far') % (wording.text(row.reason), seconds)


def so_far(row: delegation.Delegation, usual: float | None) -> bytes:
    '''how long ``row`` runs already, of what is ``usual``; b'' if nobody can
    say'''
    if row.state != delegation.RUNNING or not row.began or usual is None:
        return b''
    seconds = max(0, int(time.time() - row.began))
    return _(b'%d s of usually %s') % (seconds, wording.duration(usual))


def takes_along(row: delegation.Delegation) -> bytes:
    line = _(b'delegation %d of %s takes this push along')
    return line % (row.number, wording.whom(row))


def attempt(row: delegation.Delegation, waited: float) -> bytes:
    line = _(b'delegation %d, attempt %d, waited %.1f s')
    return line % (row.number, row.attempt, waited)


def trying_again(pause: str) -> bytes:
    return _(b'trying again in %s') % wording.text(pause)
