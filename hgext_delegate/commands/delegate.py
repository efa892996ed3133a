# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate: delegate now, another revision, or what is pending'''

from __future__ import annotations

import os
from collections.abc import Sequence

from mercurial import error, phases, pycompat
from mercurial.i18n import _

from ..config import targets as targetsmod
from ..delivery import (
    by_hand,
    detached,
    dispatcher as dispatchermod,
    ending,
    evaluation,
    launcher as launchermod,
)
from ..extension import early_login
from ..report import wording
from ..state import delegation, holds, target_lock
from . import cancel, dry_run, opened


def delegate(ui, repo, names: Sequence[bytes], opts) -> int:
    '''hg delegate: 0 only if every target succeeded'''
    if opts['pending'] and opts['rev']:
        raise error.InputError(
            _(b'cannot specify both --pending and --rev'),
            hint=_(b'what is pending says itself which changeset it is'),
        )
    if opts['pending'] and names == (detached.STANDARD_INPUT,):
        # a push is received, which may come to nothing
        early_login.EarlyLogin(repo.unfiltered()).begin()
        names = tuple(ui.fin.readline().split())
        if not names:
            return 0
    if opts['pending'] and names[:1] == (detached.STANDARD_INPUT,):
        for name in names[1:]:
            _delegate_unless_another_does(ui, repo, name, opts)
        return 0
    if opts['dry_run'] and names == (detached.STANDARD_INPUT,):
        evaluation.answer(ui, repo)
        return 0
    if opts['dry_run']:
        lines: list[bytes] = []
        with opened.to_read(ui, repo) as dispatcher:
            rolled_back = dispatcher.journal.rolled_back()
            with rolled_back:
                jobs, good = _jobs(ui, repo, dispatcher, names, opts)
                for target, number in jobs:
                    lines += dry_run.lines(
                        dispatcher, target, number, bool(opts['rev'])
                    )
        # not before: the journal is locked until here, and a pager may wait
        for line in lines:
            ui.write(line)
    else:
        with opened.to_delegate(ui, repo) as launcher:
            dispatcher = launcher.dispatcher
            jobs, good = _jobs(ui, repo, dispatcher, names, opts)
            good = _run(launcher, jobs, bool(opts['rev'])) and good
            good = _go_on(launcher) and good
            dispatcher.prune()
    return 0 if good and not dispatcher.config_errors.found else 1


def _delegate_unless_another_does(ui, repo, name: bytes, opts) -> None:
    '''delegate what waits for the target ``name``, for a process of its own

    Of those that nobody follows one is enough: it goes on with what comes until
    nothing is left. Who is about to end lets go of the lock first, and then
    looks once more: what was recorded before that is not forgotten.
    '''
    done = 0
    while True:
        with opened.to_delegate(ui, repo) as launcher:
            dispatcher = launcher.dispatcher
            target = pycompat.sysstr(name)
            jobs, _good = _jobs(ui, repo, dispatcher, [name], opts)
            row = jobs and dispatcher.journal.get(jobs[0][1])
            # what has a reason to wait is no news: its deploys push, say
            if not row or (done and (row.number <= done or row.reason)):
                return
            lock = target_lock.acquire(dispatcher.paths.next(target))
            if lock is None:
                return
            try:
                _run(launcher, jobs)
                _go_on(launcher)
                dispatcher.prune()
            finally:
                os.close(lock)
            done = row.number


def _jobs(
    ui, repo, dispatcher: dispatchermod.Dispatcher, names: Sequence[bytes], opts
) -> tuple[dispatchermod.Jobs, bool]:
    '''what to delegate, and whether each target that is meant is among it'''
    targets = _chosen(ui, dispatcher, names)
    if not targets and not dispatcher.config_errors.found:
        _say_none(dispatcher, bool(opts['pending']))
    if opts['pending']:
        dispatcher.record_all()
        waiting = [(target, dispatcher.waiting(target)) for target in targets]
        jobs = [(target, number) for target, number in waiting if number]
        if opts['dry_run']:
            return jobs, True
        free, left = dispatcher.free(jobs)
        # cron mails what is printed, and a hold is no news each time
        if names or ui.formatted():
            dispatcher.say_waiting(left)
        return free, not (names and left)
    held = False
    if not opts['dry_run']:
        targets, held = _without_held(dispatcher, targets, bool(names))
    # The lock refuses a push that was killed and not yet recovered from.
    with repo.lock():
        # what was pushed before is older, also if no hook has seen it
        dispatcher.record_all()
        wanted = _wanted(repo, dispatcher, targets, opts['rev'])
    jobs = []
    for target, node in wanted:
        if opts['rev']:
            # it waits for nothing
            number = dispatcher.journal.record(target.name, node, cancel.who())
        else:
            number = by_hand.record(dispatcher, target, node, cancel.who())
        jobs.append((target, number))
    good = len(jobs) == len(targets) and not held
    if opts['dry_run']:
        return jobs, good
    free, left = dispatcher.free(jobs, regardless=bool(opts['rev']))
    dispatcher.say_waiting(left)
    return free, good and not left


def _say_none(dispatcher: dispatchermod.Dispatcher, pending: bool) -> None:
    '''that there is no target; no error where a host runs ``--pending`` over
    all of its repositories'''
    line = _(b'no target is configured')
    hint = _(b"see 'hg help delegate.config'")
    if dispatcher.gates:
        names = b', '.join(map(pycompat.sysbytes, dispatcher.gates))
        line = _(b'only gates are configured: %s') % names
        hint = _(b'nothing is delegated to a gate: it is asked at each push')
    if not pending:
        raise error.StateError(line, hint=hint)
    if not dispatcher.gates:
        dispatcher.printer.say(line)


def _without_held(
    dispatcher: dispatchermod.Dispatcher,
    targets: Sequence[targetsmod.Target],
    named: bool,
) -> tuple[list[targetsmod.Target], bool]:
    '''those of ``targets`` that nobody holds, and whether there are others

    They are refused if the user has ``named`` them, else left out.
    '''
    free = []
    for target in targets:
        hold = holds.of(dispatcher.paths, target.name)
        if hold is None:
            free.append(target)
            continue
        reason = wording.text(wording.held(hold, target.name)[0])
        line = wording.of(target.name, _(b'not delegated: %s') % reason)
        name = pycompat.sysbytes(target.name)
        hint = _(b"'hg delegate-hold --release %s' lets it go") % name
        if named:
            raise error.StateError(line, hint=hint)
        dispatcher.printer.warn(line, hint)
    return free, len(free) < len(targets)


def _chosen(
    ui, dispatcher: dispatchermod.Dispatcher, names: Sequence[bytes]
) -> list[targetsmod.Target]:
    '''the targets named, or all of them'''
    by_name = {pycompat.sysbytes(t.name): t for t in dispatcher.targets}
    for name in names:
        if pycompat.sysstr(name) in dispatcher.gates:
            raise error.StateError(
                _(b"'%s' is a gate: nothing is delegated to it") % name,
                hint=_(b'it is asked at each push that it is for'),
            )
        if name not in by_name and name in targetsmod.names(ui):
            raise error.StateError(
                _(b"target '%s' cannot be used as it is configured") % name
            )
        if name not in by_name:
            raise opened.unknown_target(name, by_name)
    chosen = [by_name[name] for name in dict.fromkeys(names or by_name)]
    return targetsmod.in_order(chosen)


def _wanted(
    repo,
    dispatcher: dispatchermod.Dispatcher,
    targets: Sequence[targetsmod.Target],
    rev: bytes,
) -> list[tuple[targetsmod.Target, str]]:
    '''the changeset for each of ``targets``: that of ``rev``, or the newest'''
    rev_node = _revision(repo, rev) if rev else None
    names = [target.name for target in targets]
    wanted = []
    for target in targets:
        node = rev_node or by_hand.newest(dispatcher, target, names)
        if node is None:
            line = _(b'no changeset of the repository is for it')
            dispatcher.printer.warn(wording.of(target.name, line))
        if not node:
            continue  # '': the revset is wrong, which newest() has said
        wanted.append((target, node))
        dispatcher.say_left_behind(target, node, by_hand=True)
    return wanted


def _revision(repo, rev: bytes) -> str:
    '''the changeset that ``rev`` names, if the deploy side can pull it'''
    context = opened.changeset(repo, rev)
    if context.rev() in repo.filtered(b'served').changelog.filteredrevs:
        secret = context.phase() >= phases.secret
        raise error.InputError(
            (_(b'%s is secret') if secret else _(b'%s is hidden')) % context,
            hint=_(b'nobody could pull it'),
        )
    return context.hex().decode('ascii')


def _go_on(launcher: launchermod.Launcher) -> bool:
    '''delegate what has waited for another target, as long as there is some'''
    dispatcher = launcher.dispatcher
    good = True
    tried: set[int] = set()
    # each once: without paramiko, say, nothing becomes of it
    while jobs := [job for job in dispatcher.ready() if job[1] not in tried]:
        tried.update(number for _target, number in jobs)
        good = _run(launcher, jobs) and good
    dispatcher.note_again()
    return good


def _run(
    launcher: launchermod.Launcher,
    jobs: dispatchermod.Jobs,
    regardless: bool = False,
) -> bool:
    try:
        return launcher.run(jobs, regardless)
    except error.SignalInterrupt:
        # not ^C: a terminal that is closed, say. Who goes away stops nothing.
        raise
    except KeyboardInterrupt:
        # what was begun or recorded here; a push that still waits goes on
        dispatcher = launcher.dispatcher
        rows = [dispatcher.journal.get(number) for _target, number in jobs]
        running = delegation.RUNNING
        ending.end(
            dispatcher,
            [r for r in rows if r and (r.state == running or not r.txn)],
            cancel.who(),
        )
        raise
