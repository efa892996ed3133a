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
from ..delivery import (
    abandoned,
    dispatcher as dispatchermod,
    launcher as launchermod,
)
from ..push import origin, outbox, push, selection
from ..report import printer as printermod, wording
from ..state import delegation, files, journal


def note(ui, repo, hookargs: dict[str, Any]) -> None:
    '''let the transaction write the push into the outbox

    Nothing else is done under the repository's lock.
    '''
    transaction = repo.currenttransaction()
    first = transaction.changes[b'origrepolen']
    last = len(repo.unfiltered().changelog) - 1
    with_tags = first <= last and bool(_concerned(repo, ['tag']))
    moved = selection.moves(repo, transaction.changes, with_tags)
    moves = [*moved, *['changegroup'] * (first <= last)]
    try:
        names = _wanted(repo, moves, hookargs)
        if not names:
            return
        pushed = describe(ui, repo, first, last, hookargs)
        box = _with_push(repo, names, pushed, moved)
    except OSError as exc:
        # Any other exception here would be a traceback to the pusher.
        raise error.Abort(
            _(b'delegate: cannot read the outbox: %s')
            % encoding.strtolocal(exc.strerror or ''),
            hint=_(b'see who may read .hg/store/delegate-outbox'),
        ) from None
    outbox.write_with(repo, transaction, box)


def _concerned(repo, moves: Iterable[str]) -> list[bytes]:
    return targets.concerned(
        repo.ui, moves, policy.refused(repo, outbox.roads(repo))
    )


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
    items = dict(repo.ui.configitems(targets.SECTION))
    known = [n for n in targets.names(repo.ui) if not targets.gate(items, n)]
    if only != b'only' or not wanted or not set(wanted) <= set(known):
        line, hint = wording.bad_wish(wish, known)
        raise error.Abort(line, hint=hint)
    return [name for name in names if name in wanted]


def describe(ui, repo, first: int, last: int, hookargs) -> push.Push:
    '''the push of the revisions ``first`` to ``last``'''
    variables = policy.setting(repo, b'user-variables', outbox.roads(repo))
    named = parsers.words(variables or b'')
    who = push.pusher(ui, hookargs.get('url'), hookargs['source'], named)
    pushed = push.make(repo, first, last, hookargs, who)
    cause = _caused_by(ui, repo, hookargs)
    return dataclasses.replace(pushed, caused_by=cause)


def _caused_by(ui, repo, hookargs) -> str | None:
    '''the id of the delegation whose own deploy makes this push'''
    path = files.paths(repo).journal
    told = hookargs.get('USERVAR_DELEGATE_ID')
    uid = origin.account(ui.environ.get(b'SSH_CONNECTION'))
    if (told is None and uid is None) or not os.path.exists(path):
        return None
    usable, _errors = targets.read(ui, policy.refused(repo, outbox.roads(repo)))
    unread = contextlib.suppress(journal.JournalError)
    with unread, contextlib.closing(journal.peek(path)) as opened:
        for target in usable:
            row = opened.running(target.name)
            is_user = origin.is_user(uid, target.user)
            if row and (is_user or pycompat.sysbytes(row.id) == told):
                return row.id
    return None


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
    txns = [entry.txn for entry in box.entries]
    settled: set[tuple[str, str]] = set()
    recorded: set[tuple[str, str]] = set()
    if txns and os.path.exists(path):
        try:
            with contextlib.closing(journal.peek(path)) as opened:
                settled = opened.settled(txns)
                recorded = set().union(*map(opened.known, txns))
        except journal.JournalError:
            return box
    hasnode = repo.unfiltered().changelog.hasnode
    entries = [
        entry
        for entry in box.entries
        if any((entry.txn, name) not in settled for name in entry.targets)
        # a push is stripped when none of its nodes is there
        and any(hasnode(bin(node)) for node in entry.nodes)
    ]
    box = dataclasses.replace(box, entries=tuple(entries))
    return outbox.bounded(box, recorded)


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
        elif not done:
            came = 'node' in hookargs
            moves = selection.CHANGES if came else selection.MOVES
            skip = hookargs.get('USERVAR_DELEGATE') == b'skip'
            if skip and _concerned(repo, moves):
                printer.say(wording.SKIPPED)
            if os.path.exists(files.paths(repo).journal):
                with launchermod.open(ui, repo) as launcher:
                    abandoned.settle(launcher.dispatcher)
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
        jobs, waiting = dispatcher.free(jobs)
        dispatcher.say_waiting(waiting)
        cause = entry.push.get('caused_by')
        own = [job for job in jobs if cause and _runs(dispatcher, job, cause)]
        _hand_over_own(launcher, own)
        jobs = [job for job in jobs if job not in own]
        # nobody waits for these
        launcher.hand_over([job for job in jobs if not job[0].wait])
        jobs = [job for job in jobs if job[0].wait]
        broadcasts = getattr(repo, '_delegate_broadcasts', None)
        if broadcasts is not None:
            # the reply tells the rest
            broadcasts.append((dispatcher.paths, launcher.detach(jobs)))
            abandoned.settle(dispatcher, [target for target, _ in jobs])
            return
        # what may end before the delegation does
        leaves = entry.push['source'] == 'push'
        leaves = leaves or _is_over_http(entry.push['url'])
        run = launcher.run_detached if leaves else launcher.run
        run(jobs)
        abandoned.settle(dispatcher, [target for target, _ in jobs])
        dispatcher.prune()


def _runs(dispatcher: dispatchermod.Dispatcher, job, cause: str) -> bool:
    '''whether the delegation ``cause`` runs for the target of ``job``'''
    running = dispatcher.journal.running(job[0].name)
    return running is not None and running.id == cause


def _hand_over_own(
    launcher: launchermod.Launcher, jobs: dispatchermod.Jobs
) -> None:
    '''delegate ``jobs`` later: a deploy has pushed them that runs now

    If what it deploys was pushed by a deploy as well, it would go on for ever.
    '''
    dispatcher = launcher.dispatcher
    for target, number in jobs:
        line = wording.of(target.name, wording.OWN)
        dispatcher.printer.say(line)
        running = dispatcher.journal.running(target.name)
        carried = dispatcher.journal.carried(running.number) if running else ()
        pushes = outbox.pushes(outbox.read(dispatcher.repo), carried)
        if not any(pushed.get('caused_by') for pushed in pushes):
            launcher.hand_over([(target, number)])
            continue
        reason, remedy = wording.CIRCLE
        dispatcher.journal.end(
            number, delegation.PENDING, reason=reason, remedy=remedy
        )
        line, hints = wording.pending(target.name, reason, remedy)
        dispatcher.printer.warn(wording.of(target.name, line), *hints)


def tell_undecided(repo) -> None:
    '''tell a pusher who brought nothing what became of what is undecided'''
    ui = repo.ui
    try:
        if os.path.exists(files.paths(repo).journal):
            with launchermod.open(ui, repo) as launcher:
                jobs = abandoned.undecided(launcher.dispatcher)
                launcher.run_detached([job for job in jobs if job[0].wait])
    except (files.FolderError, journal.JournalError, OSError) as exc:
        printermod.Printer(ui).warn(*wording.of_error(exc))


def _is_over_http(url: str) -> bool:
    return url.startswith('remote:http')


def _remind(dispatcher: dispatchermod.Dispatcher, target: str) -> None:
    '''say that the last delegation to ``target`` went wrong, if it did'''
    row = dispatcher.journal.last(target, *delegation.RUN)
    if row and row.state != delegation.SUCCEEDED:
        line, hints = wording.recollection(row)
        dispatcher.printer.warn(wording.of(target, line), *hints)


def _tell_of_gates(ui, repo) -> None:
    '''say of each gate that the classic hook line alone asks none'''
    items = dict(repo.ui.configitems(targets.SECTION))
    for name in targets.names(repo.ui):
        if targets.gate(items, name):
            line, hint = wording.NOT_ENABLED
            line = wording.of(pycompat.sysstr(name), line)
            printermod.Printer(ui).warn(line, hint)


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
    if not dict(repo.ui.configitems(b'hooks')).get(b'pretxnclose.delegate'):
        _tell_of_gates(ui, repo)
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
    pushed = describe(ui, repo, first, last, hookargs)
    with repo.lock():
        box = _with_push(repo, names, pushed, {}, mark)
        outbox.write_now(repo, box)
    return box.entries[-1]
