# wording.py - a delegation in words
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''a delegation in words: what became of it, and what to do next'''

from __future__ import annotations

import re
import time

from mercurial import encoding
from mercurial.i18n import _

from ..state import delegation, journal


def verdict(row: delegation.Delegation) -> tuple[bytes, tuple[bytes, ...]]:
    '''what became of ``row``, as the last line, and what to do next'''
    name = text(row.target)
    reason = text(row.reason)
    seconds = row.seconds or 0.0
    again = _(b"'hg delegate %s' on the server runs it again") % name
    if row.state == delegation.SUCCEEDED:
        return _(b'deployed %s in %.1f s') % (short(row.node), seconds), ()
    if row.state == delegation.FAILED:
        line = _(b'failed: %s after %.1f s') % (reason, seconds)
        more = _(b"'hg delegate-log %d' on the server shows more") % row.number
        return line, (text(row.remedy), more, again)
    if row.state == delegation.CANCELLED:
        return _(b'failed: %s') % reason, (text(row.remedy), again)
    if row.state == delegation.LOST:
        line = _(b'lost: %s after %.1f s') % (reason, seconds)
        return line, (_(b'nobody knows whether it was deployed'), again)
    if row.state == delegation.SUPERSEDED:
        return _(b'superseded'), ()
    later = _(
        b"tried again at the next push to %s, or by 'hg delegate --pending'"
    )
    line = _(b'pending: %s') % (reason or _(b'it has not begun'))
    return line, (text(row.remedy), later % name)


def whom(row: delegation.Delegation) -> bytes:
    '''who pushed what ``row`` delegates, safe to print'''
    return text(row.pusher[:40]) if row.pusher else _(b'an unknown pusher')


def recollection(row: delegation.Delegation) -> tuple[bytes, bytes]:
    '''that an earlier one went wrong, and where there is more'''
    moment = time.gmtime(row.ended or row.created)
    when = time.strftime('%Y-%m-%d %H:%M UTC', moment).encode('ascii')
    lost = row.state == delegation.LOST
    line = _(b'the last delegation, %d of %s, %s: %s')
    line %= (
        row.number,
        whom(row),
        _(b'was lost') if lost else _(b'failed'),
        text(row.reason),
    )
    more = _(b"on %s; 'hg delegate-log %d' on the server shows more")
    return line, more % (when, row.number)


def of_error(exc: journal.JournalError | OSError) -> tuple[bytes, bytes]:
    '''what is wrong, and what to do'''
    if isinstance(exc, journal.JournalError):
        return text(exc.reason), text(exc.remedy)
    line = _(b'cannot delegate now: %s')
    return (
        line % encoding.strtolocal(exc.strerror or ''),
        _(b"later, 'hg delegate --pending' on the server does"),
    )


def of_import(exc: ImportError) -> tuple[bytes, bytes]:
    '''what is wrong; its own text may name folders of the server'''
    why = '%s cannot be imported' % (exc.name or 'paramiko')
    return (
        _(b'cannot log in anywhere: %s') % text(why),
        _(b'install paramiko for the Python that runs hg'),
    )


def short(node: str) -> bytes:
    return node[:12].encode('ascii')


def safe(value: bytes) -> bytes:
    '''``value`` as it is, without what could steer the terminal'''
    return re.sub(rb'[\0-\x1f\x7f]|\xc2[\x80-\x9f]', b'?', value)


def text(value: str) -> bytes:
    '''``value`` for the terminal, without what could steer it'''
    shown = ''.join(c if c.isprintable() else '?' for c in value)
    return shown.encode("utf-8")
