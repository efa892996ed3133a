# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate-log: what was delegated, what became of it, what it printed'''

from __future__ import annotations

import contextlib
import itertools
import re
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

from mercurial import encoding, error, logcmdutil, pycompat
from mercurial.i18n import _
from mercurial.utils import dateutil

from ..delivery import abandoned, dispatcher as dispatchermod
from ..push import outbox
from ..report import follower as followermod, printer, progress, wording
from ..state import (
    delegation,
    files,
    holds,
    output_log,
    statistics as statisticsmod,
    target_lock,
)
from . import opened, statistics

_LIMIT = 20
_SAME = (
    *('target', 'state', 'node', 'previous', 'pusher', 'attempt'),
    *('seconds', 'status', 'signal', 'reason', 'remedy', 'detail'),
)
# keyword of templates -> field of Delegation
_KEYWORDS = {
    'id': 'number',
    'protocolid': 'id',
    'taken': 'merged_into',
    'stopper': 'cancelled_by',
    **dict(zip(_SAME, _SAME)),
}
_DATE = b'%Y-%m-%d %H:%M:%S %1%2'

# For so long a target's lock can be free while somebody is about to take it:
# a push's worker at its start, or between two attempts. In seconds.
_HANDOVER = 2.0


def log(ui, repo, id: bytes | None, opts) -> int:
    '''hg delegate-log; with --follow 0 only if all succeeded'''
    try:
        return _log(ui, repo, id, opts)
    except opened.UnreadableError as exc:
        printer.Printer(ui).warn(exc.message, exc.hint)
        return 1


def _log(ui, repo, id: bytes | None, opts) -> int:
    if opts['stat']:
        if id is not None or opts['follow']:
            raise error.InputError(
                _(b'cannot specify --stat with an ID or --follow'),
                hint=_(b'it is about all that is recorded of a target'),
            )
        return statistics.show(ui, repo, opts)
    with opened.to_read(ui, repo) as dispatcher:
        if id is not None:
            rows = [named(dispatcher, id)]
        elif opts['follow']:
            rows = _running(dispatcher, opts)
        else:
            rows = _newest(dispatcher, opts)
        if opts['follow']:
            return _follow(dispatcher, rows)
        ui.pager(b'delegate-log')
        widths = _widths(rows)
        held = holds.all(dispatcher.paths)
        usual = {
            name: statisticsmod.usual(dispatcher.journal, name)
            for name in {row.target for row in rows}
        }
        with ui.formatter(b'delegate-log', pycompat.byteskwargs(opts)) as fm:
            if id is None and not ui.quiet:
                _holds(fm, held, opts['target'])
                if rows:
                    _heading(fm, widths)
            for row in rows:
                fm.startitem()
                date = dateutil.makedate(int(row.began or row.created))
                fm.data(date=fm.formatdate(date, _DATE))
                for keyword, field in _KEYWORDS.items():
                    fm.data(**{keyword: _text(getattr(row, field))})
                _held(fm, held.get(row.target))
                fm.data(usual=usual[row.target])
                if id is None or not ui.quiet:
                    so_far = progress.so_far(row, usual[row.target])
                    _line(ui, fm, row, date, widths, id is not None, so_far)
                if id is not None:
                    _output(fm, dispatcher.paths.log(row.id))
        abandoned.settle(dispatcher)
    return 0


def named(
    dispatcher: dispatchermod.Dispatcher, id: bytes
) -> delegation.Delegation:
    '''the delegation with the number that the user has written'''
    row = None
    if re.match(rb'[0-9]{1,18}\Z', id):  # sqlite takes no longer ones
        row = dispatcher.journal.get(int(id))
    if row is None:
        raise error.InputError(
            _(b"there is no delegation '%s'") % id,
            hint=_(b"'hg delegate-log' lists them"),
        )
    return row


def _running(dispatcher: dispatchermod.Dispatcher, opts) -> list[Any]:
    journal = dispatcher.journal
    names = journal.running_targets()
    if opts['target']:
        wanted = pycompat.sysstr(opts['target'])
        names = [name for name in names if name == wanted]
    rows = [row for row in map(journal.running, names) if row]
    if not rows:
        raise error.InputError(
            _(b'no delegation is running'),
            hint=_(b"'hg delegate-log' lists the last ones"),
        )
    return rows


def _newest(dispatcher: dispatchermod.Dispatcher, opts) -> list[Any]:
    limit = logcmdutil.getlimit(pycompat.byteskwargs(opts)) or _LIMIT
    limit = min(limit, sys.maxsize)
    name = pycompat.sysstr(opts['target']) or None
    rows: list[Any] = []
    try:
        usable = {target.name for target in dispatcher.targets}
        for target, entry in itertools.islice(
            dispatcher.unrecorded(name), limit
        ):
            rows.append(_unrecorded(target, entry))
            if target not in usable:
                rows[-1].reason = "its target is wrong: see 'hg delegate-check'"
    except PermissionError as exc:
        # the outbox: the journal may be for more accounts
        why = wording.text(str(exc.strerror))
        dispatcher.printer.warn(_(b'what else waits cannot be read: %s') % why)
    rows += dispatcher.journal.newest(name, limit - len(rows))
    if not rows and name and name not in (t.name for t in dispatcher.targets):
        raise error.InputError(
            _(b"there is no target '%s'") % opts['target'],
            hint=_(b'and nothing was ever delegated to one of that name'),
        )
    return rows


def _unrecorded(target: str, entry: outbox.Entry) -> types.SimpleNamespace:
    '''a push that no hook has looked at yet, with a delegation's fields'''
    row = types.SimpleNamespace()
    vars(row).update(dict.fromkeys(delegation.Delegation.__annotations__))
    row.target = target
    row.state = delegation.PENDING
    row.node = entry.nodes[-1]
    row.pusher = entry.push['pusher']
    seconds = pycompat.sysbytes(entry.push['time'][:19])
    row.created, _zone = dateutil.parsedate(seconds + b'Z')
    row.attempt = 0
    return row


def _who(row) -> bytes:
    return _text((row.pusher or '-')[:40])


def _widths(rows) -> tuple[int, int]:
    '''of the columns of targets and of pushers'''
    names = [len(row.target) for row in rows]
    pushers = [encoding.colwidth(_who(row)) for row in rows]
    return max([10, *names]), max([10, *pushers])


def _holds(fm, held: dict[str, holds.Hold], target: bytes) -> None:
    '''say who holds a target, whether anything waits for it or not'''
    for name, hold in held.items():
        if not target or pycompat.sysbytes(name) == target:
            reason = encoding.tolocal(wording.text(wording.held(hold, name)[0]))
            line = wording.of(name, reason) + b'\n'
            fm.plain(line, label=b'delegate.state.pending')


def _held(fm, hold: holds.Hold | None) -> None:
    '''the keywords about who holds the target now'''
    since = hold and hold.since and dateutil.makedate(int(hold.since))
    fm.data(
        heldby=hold and _text(hold.who),
        heldsince=since and fm.formatdate(since, _DATE),
        heldreason=hold and _text(hold.reason),
    )


def _heading(fm, widths: tuple[int, int]) -> None:
    names = b'id', b'target', b'state', b'changeset', b'pusher', b'time'
    form = b'%%5s  %%-%ds  %%-10s  %%-12s  %%-%ds  %%s\n' % widths
    fm.plain(form % names)


def _line(
    ui, fm, row, date, widths: tuple[int, int], is_alone: bool, so_far: bytes
) -> None:
    state = pycompat.sysbytes(row.state)
    number = b'-' if row.number is None else b'%d' % row.number
    label = b'delegate.state delegate.state.%s' % state
    target = pycompat.sysbytes(row.target).ljust(widths[0])
    fm.plain(b'%5s  %s  ' % (number, target))
    fm.plain(b'%-10s' % state, label=label)
    if ui.quiet:
        fm.plain(b'\n')
        return
    node = fm.hexfunc(bytes.fromhex(row.node))
    who = _who(row)
    who += b' ' * (widths[1] - encoding.colwidth(who))
    # a date without seconds and zone, so that the line fits a terminal
    when = dateutil.datestr(date, b'%Y-%m-%d %H:%M')
    shown = [b'%s  %s  %s' % (node, who, when), *_remarks(ui, row)]
    shown += filter(None, [so_far])
    fm.plain(b'  %s\n' % b'  '.join(shown))
    ended = row.state != delegation.RUNNING and not row.merged_into
    if ui.verbose and row.number is not None and ended:
        _verdict, hints = wording.verdict(row)
        if is_alone:  # this is more
            hints = tuple(each for each in hints if each != wording.more(row))
        for hint in filter(None, [*hints, _text(row.detail)]):
            line = b'(%s)\n' % encoding.tolocal(printer.advice(ui, hint))
            fm.plain(line, label=b'delegate.hint')


def _remarks(ui, row) -> Iterator[bytes]:
    if row.seconds is not None:
        yield _(b'%.1f s') % row.seconds
    if ui.verbose and row.began is not None:
        yield _(b'attempt %d') % row.attempt
        yield _(b'waited %.1f s') % max(0.0, row.began - row.created)
    if row.merged_into is not None:
        superseded = row.state == delegation.SUPERSEDED
        yield (_(b'by %d') if superseded else _(b'with %d')) % row.merged_into
    if row.number is not None and row.is_undecided:
        yield _(b'it may have run')
    if row.reason:
        yield _text(row.reason)


def _text(value: Any) -> Any:
    '''text for the terminal and for templates, in the user's encoding'''
    if isinstance(value, str):
        return encoding.tolocal(wording.text(value))
    return value


def _output(fm, log: files.File) -> None:
    lines = b''
    without_log = contextlib.suppress(OSError)  # it has not begun
    with without_log, contextlib.closing(output_log.Reader(log)) as reader:
        while more := reader.read():
            lines += more
    text = encoding.tolocal(lines)
    fm.data(output=text)
    fm.plain(text)


def _follow(dispatcher: dispatchermod.Dispatcher, rows: list[Any]) -> int:
    dispatcher.printer.insist()
    followers = [
        followermod.Follower(
            dispatcher.printer,
            dispatcher.journal,
            dispatcher.paths,
            row.target,
            row.number,
            _works(dispatcher, row),
        )
        for row in rows
    ]
    followermod.follow(followers, threading.Event())
    return 0 if all(follower.succeeded for follower in followers) else 1


def _works(
    dispatcher: dispatchermod.Dispatcher, row: delegation.Delegation
) -> Callable[[], bool]:
    '''whether a process works on ``row``: one that waits may not end'''
    seen = time.monotonic()

    def works() -> bool:
        nonlocal seen
        if not abandoned.is_open(dispatcher, row.number):
            return False
        turn = target_lock.turn(dispatcher.paths, row.target, 0, lambda: False)
        # where the lock cannot be opened, the journal alone decides
        with contextlib.suppress(target_lock.LockError), turn as is_free:
            if not is_free:
                seen = time.monotonic()
        return time.monotonic() - seen < _HANDOVER

    return works
