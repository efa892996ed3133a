# SPDX-License-Identifier: GPL-2.0-or-later
'''note a push in the outbox, and delegate it'''

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable
from typing import Any

from mercurial import encoding, error, pycompat
from mercurial.i18n import _
from mercurial.node import bin

from ..config import parsers, policy, targets
from ..delivery import dispatcher as dispatchermod, launcher as launchermod
from ..push import outbox, push, selection
from ..report import printer as printermod, wording
from ..state import delegation, files, journal


def note(ui, repo, hookargs: dict[str, Any]) -> None:
    '''let the transaction write the push into the outbox

    Nothing else is done under the repository's lock.
    '''
    transaction = repo.currenttransaction()
    first = transaction.changes[b'origrepolen']
    last = len(repo.unfiltered().changelog) - 1
    moved = selection.moves(repo, transaction.changes)
    moves = [*moved, *['changegroup'] * (first <= last)]
    try:
        names = _wanted(repo, moves, hookargs)
        if not names:
            return
        pushed = _push(ui, repo, first, last, hookargs)
        box = _with_push(repo, names, pushed, moved)
    except OSError as exc:
        # Any other exception here would be a traceback to the pusher.
        raise error.Abort(
            _(b'delegate: cannot read the outbox: %s')
            % encoding.strtolocal(exc.strerror or ''),
            hint=_(b'see who may read .hg/store/delegate-outbox'),
        ) from None
    outbox.write_with(transaction, box)


def _concerned(repo, moves: Iterable[str]) -> list[bytes]:
    return targets.concerned(repo.ui, moves, policy.refused(repo, _roads(repo)))


def _roads(repo) -> policy.Roads:
    return outbox.read(repo).roads


def _wanted(repo, moves: Iterable[str], hookargs) -> list[bytes]:
    '''the targets that ``moves`` concern, without those the pusher skips

    Raises error.Abort if ``--pushvars DELEGATE=...`` is not understood.
    '''
    names = _concerned(repo, moves)
    wish = hookargs.get('USERVAR_DELEGATE')
    if wish is None or not names:
        return names
    if wish == b'skip':
        return []
    only, _colon, listed = wish.partition(b':')
    wanted = parsers.words(listed)
    known = targets.names(repo.ui)
    if only != b'only' or not wanted or not set(wanted) <= set(known):
        line, hint = wording.bad_wish(wish, known)
        raise error.Abort(line, hint=hint)
    return [name for name in names if name in wanted]


def _push(ui, repo, first: int, last: int, hookargs) -> push.Push:
    variables = policy.setting(repo, b'user-variables', _roads(repo))
    named = parsers.words(variables or b'')
    who = push.pusher(ui, hookargs.get('url'), hookargs['source'], named)
    return push.make(repo, first, last, hookargs, who)


def _with_push(
    repo, names, pushed: push.Push, moved, mark: str = ''
) -> outbox.Outbox:
    '''the outbox, pruned, with ``pushed`` at its end'''
    box = _pruned(repo, outbox.read(repo))
    road = 'ssh'
    if pushed.source == 'push':
        road = 'path'
    elif _is_over_http(pushed.url):
        road = 'http'
    roads = {**box.roads, road: policy.of_host(repo)}
    return outbox.extended(
        dataclasses.replace(box, roads=roads),
        pushed.transaction + mark,
        map(pycompat.sysstr, names),
        dataclasses.asdict(pushed),
        moved,
    )


def _pruned(repo, box: outbox.Outbox) -> outbox.Outbox:
    '''``box`` without what the journal has settled and what was stripped

    If the journal cannot be read, all of it stays.
    '''
    path = files.paths(repo).journal
    settled = set()
    if box.entries and os.path.exists(path):
        try:
            with contextlib.closing(journal.peek(path)) as opened:
                settled = opened.settled(entry.txn for entry in box.entries)
        except journal.JournalError:
            return box
    hasnode = repo.unfiltered().changelog.hasnode
    return dataclasses.replace(
        box,
        entries=tuple(
            entry
            for entry in box.entries
            if any((entry.txn, name) not in settled for name in entry.targets)
            # a push is stripped when none of its nodes is there
            and any(hasnode(bin(node)) for node in entry.nodes)
        ),
    )


def deliver(ui, repo, hookargs: dict[str, Any]) -> None:
    '''delegate the push of a changegroup hook; what goes wrong is said'''
    printer = printermod.Printer(ui)
    entry = None
    try:
        entry = _noted(ui, repo, hookargs)
        # The classic hook line and our own hook may both be there.
        txn = entry.txn if entry else pycompat.sysstr(hookargs['txnid'])
        done = getattr(repo, '_delegated', None) == txn
        repo._delegated = txn
        if entry and not done:
            _delegate(ui, repo, entry)
        elif not done and hookargs.get('USERVAR_DELEGATE') == b'skip':
            moves = ['changegroup'] if 'node' in hookargs else selection.MOVES
            if _concerned(repo, moves):
                printer.say(wording.SKIPPED)
    except (files.FolderError, journal.JournalError) as exc:
        # The push stays in the outbox, and is delegated by the next one.
        for name in entry.targets if entry else ():
            line, hints = wording.pending(name, exc.reason, exc.remedy)
            printer.warn(wording.of(name, line), *hints)
    except OSError as exc:
        printer.warn(*wording.of_error(exc))


def _delegate(ui, repo, entry: outbox.Entry) -> None:
    with launchermod.open(ui, repo) as launcher:
        dispatcher = launcher.dispatcher
        jobs = dispatcher.jobs(entry)
        for target, _number in jobs:
            _remind(dispatcher, target.name)
        # nobody waits for these
        launcher.hand_over([job for job in jobs if not job[0].wait])
        jobs = [job for job in jobs if job[0].wait]
        broadcasts = getattr(repo, '_delegate_broadcasts', None)
        if broadcasts is not None:
            # the reply tells the rest
            broadcasts.append((dispatcher.paths, launcher.detach(jobs)))
            return
        # what may end before the delegation does
        leaves = entry.push['source'] == 'push'
        leaves = leaves or _is_over_http(entry.push['url'])
        run = launcher.run_detached if leaves else launcher.run
        run(jobs)
        dispatcher.prune()


def _is_over_http(url: str) -> bool:
    return url.startswith('remote:http')


def _remind(dispatcher: dispatchermod.Dispatcher, target: str) -> None:
    '''say that the last delegation to ``target`` went wrong, if it did'''
    row = dispatcher.journal.last(target, *delegation.RUN)
    if row and row.state != delegation.SUCCEEDED:
        line, hints = wording.recollection(row)
        dispatcher.printer.warn(wording.of(target, line), *hints)


def _noted(ui, repo, hookargs: dict[str, Any]) -> outbox.Entry | None:
    '''the outbox's entry of this push; it is made now with the classic hook
    line alone, where no hook ran in the transaction'''
    txn = pycompat.sysstr(hookargs['txnid'])
    box = outbox.read(repo)
    if 'node' not in hookargs:
        return box.find(txn)
    # A bundle may have several changegroups, each with a hook of its own.
    mark = outbox.MARK + pycompat.sysstr(hookargs['node_last'])
    entry = box.find(txn) or box.find(txn + mark)
    if entry:
        return entry
    try:
        names = _wanted(repo, ['changegroup'], hookargs)
    except error.Abort as exc:
        # too late to refuse the push
        ui.warn(b'%s\n(%s)\n' % (exc.message, exc.hint))
        names = _concerned(repo, ['changegroup'])
    if not names:
        return None
    rev = repo.changelog.rev
    first, last = (rev(bin(hookargs[end])) for end in ('node', 'node_last'))
    pushed = _push(ui, repo, first, last, hookargs)
    with repo.lock():
        box = _with_push(repo, names, pushed, {}, mark)
        outbox.write_now(repo, box)
    return box.entries[-1]
