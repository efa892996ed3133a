# log.py - hg delegate-log
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''hg delegate-log: what was delegated, what became of it, what it printed'''

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

from mercurial import (
    encoding,
    error,
    logcmdutil,
    pycompat,
)
from mercurial.i18n import _
from mercurial.utils import dateutil

from ..delivery import abandoned
from ..report import follower as followermod, wording
from ..state import delegation, output_log, target_lock
from . import opened

_LIMIT = 20

# The most that sqlite takes for a number, and how many digits it has.
_MAX = 2**63 - 1
_DIGITS = 19

_DATE = b'%Y-%m-%d %H:%M:%S %1%2'

# How long nobody may hold a target's lock while somebody is about to take
# it: a push's worker at its start, or between two looks. In seconds.
_HANDOVER = 2.0


def log(ui, repo, id: bytes | None, opts) -> int:
    '''hg delegate-log'''
    with opened.to_read(ui, repo) as made:
        return _show(ui, made, id, opts)


def _show(ui, made, id: bytes | None, opts) -> int:
    '''hg delegate-log; what --follow returns is how the delegation ended'''
    if id is None and opts['follow']:
        raise error.InputError(
            _(b'--follow needs the ID of a delegation'),
            hint=_(b"'hg delegate-log' lists them"),
        )
    if id is None:
        rows = _newest(made, opts)
    else:
        rows = [named(made, id)]
    if opts['follow']:
        made.printer.insist()
        return _follow(made, rows[0])
    ui.pager(b'delegate-log')
    with ui.formatter(b'delegate-log', pycompat.byteskwargs(opts)) as fm:
        for row in rows:
            _item(ui, fm, row, ui.quiet and id is not None)
            if id is not None:
                _printed(fm, made, row)
    return 0


def named(made, id: bytes) -> delegation.Delegation:
    '''the delegation with the number that the user has written'''
    row = None
    if id.isdigit() and len(id) <= _DIGITS:
        row = made.journal.get(min(int(id), _MAX))
    if row is None:
        raise error.InputError(
            _(b"there is no delegation '%s'") % id,
            hint=_(b"'hg delegate-log' lists them"),
        )
    return row


def _newest(made, opts) -> list[Any]:
    limit = logcmdutil.getlimit(pycompat.byteskwargs(opts)) or _LIMIT
    limit = min(limit, _MAX)
    name = pycompat.sysstr(opts['target']) or None
    rows = [_unrecorded(*found) for found in made.unrecorded(name)]
    rows = rows[:limit]
    rows += made.journal.newest(name, limit - len(rows))
    if not rows and name and name not in (t.name for t in made.targets):
        raise error.InputError(
            _(b"there is no target '%s'") % opts['target'],
            hint=_(b'and nothing was ever delegated to one of that name'),
        )
    return rows


def _unrecorded(target: str, entry) -> types.SimpleNamespace:
    '''a push that no hook has looked at yet, as a delegation'''
    fields = dict.fromkeys(
        field.name for field in dataclasses.fields(delegation.Delegation)
    )
    pushed = entry.push
    fields.update(
        target=target,
        state=delegation.PENDING,
        node=entry.nodes[-1],
        pusher=pushed['pusher'],
        created=_seconds(pushed['time']),
        attempt=0,
    )
    return types.SimpleNamespace(**fields)


def _seconds(time: str) -> float:
    # Python < 3.11 does not know the Z of RFC 3339
    moment = datetime.datetime.fromisoformat(time.replace('Z', '+00:00'))
    return moment.timestamp()


def _item(ui, fm, row, silent: bool) -> None:
    '''one delegation: a line, or with -T everything that is recorded'''
    date = dateutil.makedate(int(row.began or row.created))
    fm.startitem()
    fm.data(
        id=row.number,
        protocolid=_text(row.id),
        target=_text(row.target),
        state=_text(row.state),
        node=_text(row.node),
        previous=_text(row.previous),
        pusher=_text(row.pusher),
        date=fm.formatdate(date, _DATE),
        seconds=row.seconds,
        status=row.status,
        signal=_text(row.signal),
        reason=_text(row.reason),
        remedy=_text(row.remedy),
        detail=_text(row.detail),
        attempt=row.attempt,
        taken=row.merged_into,
        stopper=_text(row.cancelled_by),
    )
    if not silent:
        _plain(ui, fm, row, date)


def _plain(ui, fm, row, date) -> None:
    state = pycompat.sysbytes(row.state)
    number = b'-' if row.number is None else b'%d' % row.number
    fm.plain(b'%5s  %-10s  ' % (number, pycompat.sysbytes(row.target)))
    fm.plain(
        b'%-10s' % state, label=b'delegate.state delegate.state.%s' % state
    )
    if ui.quiet:
        fm.plain(b'\n')
        return
    node = fm.hexfunc(bytes.fromhex(row.node))
    pusher = _text((row.pusher or '-')[:40])
    # without seconds and zone, which templates have: it fits a terminal
    when = dateutil.datestr(date, b'%Y-%m-%d %H:%M')
    fm.plain(b'  %s  %-10s  %s' % (node, pusher, when))
    for remark in _remarks(ui, row):
        fm.plain(b'  ' + remark)
    fm.plain(b'\n')
    ended = row.state != delegation.RUNNING and not row.merged_into
    if ui.verbose and row.number is not None and ended:
        _line, hints = wording.verdict(row)
        texts = [encoding.fromlocal(hint).decode('utf-8') for hint in hints]
        for hint in filter(None, [*texts, row.detail]):
            fm.plain(b'(%s)\n' % _text(hint), label=b'delegate.hint')


def _remarks(ui, row) -> Iterator[bytes]:
    if row.seconds is not None:
        yield _(b'%.1f s') % row.seconds
    if ui.verbose and row.began is not None:
        yield _(b'attempt %d') % row.attempt
        yield _(b'waited %.1f s') % max(0.0, row.began - row.created)
    if row.merged_into is not None and row.state == delegation.SUPERSEDED:
        yield _(b'by %d') % row.merged_into
    elif row.merged_into is not None:
        yield _(b'with %d') % row.merged_into
    if row.reason:
        yield _text(row.reason) or b''


def _text(value: str | None) -> bytes | None:
    '''for the terminal and for templates, in the user's encoding'''
    return None if value is None else encoding.tolocal(wording.text(value))


def _printed(fm, made, row) -> None:
    lines = _lines(made.paths.log(row.id))
    text = encoding.tolocal(b''.join(line + b'\n' for line in lines))
    fm.data(output=text)
    fm.plain(text)


def _lines(path: str) -> Iterator[bytes]:
    try:
        reader = output_log.Reader(path)
    except OSError:
        return
    try:
        while lines := reader.read():
            yield from lines
    finally:
        reader.close()


def _follow(made, row) -> int:
    follower = followermod.Follower(
        made.printer,
        made.journal,
        made.paths,
        row.target,
        row.number,
        _working(made, row),
    )
    followermod.follow([follower], threading.Event())
    return 0 if follower.succeeded else 1


def _working(made, row) -> Callable[[], bool]:
    '''whether somebody works on ``row``: what only waits has no end'''
    seen = [time.monotonic()]

    def working() -> bool:
        if not abandoned.is_open(made, row.number):
            return False
        turn = target_lock.turn(made.paths, row.target, 0, lambda: False)
        # where nobody can look, it goes by the journal alone
        with contextlib.suppress(target_lock.LockError), turn as free:
            if not free:
                seen[0] = time.monotonic()
        return time.monotonic() - seen[0] < _HANDOVER

    return working
