# delegate.py - hg delegate
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''hg delegate: delegate now, another revision, or what is pending'''

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from mercurial import (
    error,
    phases,
    pycompat,
    scmutil,
)
from mercurial.i18n import _

from ..config import targets as targetsmod
from ..delivery import dispatcher, launcher
from ..report import wording
from ..state import delegation
from . import cancel, dry_run as dry_runmod, opened

Wanted = list[tuple[targetsmod.Target, str]]
Jobs = list[tuple[targetsmod.Target, int]]


def delegate(ui, repo, names: Sequence[bytes], opts) -> int:
    '''hg delegate: 0 only if every target succeeded'''
    if opts['pending'] and opts['rev']:
        raise error.InputError(
            _(b'cannot specify both --pending and --rev'),
            hint=_(b'what is pending says itself which changeset it is'),
        )
    make = dry_runmod.desk if opts['dry_run'] else dispatcher.open
    with opened.opened(ui, repo, make) as desk:
        targets = _chosen(ui, desk, names)
        if not targets and not desk.has_config_errors and opts['pending']:
            # a host may run this over all of its repositories
            desk.voice.say(_(b'no target is configured'))
        if opts['pending']:
            good = _pending(ui, desk, targets, opts['dry_run'])
        else:
            with contextlib.ExitStack() as stack:
                if not opts['dry_run']:
                    # What a push that was killed has left may not stay.
                    stack.enter_context(repo.lock())
                # what was pushed before is older, also if no hook has seen it
                desk.record_all()
                wanted = _wanted(repo, desk, targets, opts['rev'])
            good = _now(ui, desk, wanted, opts['dry_run'])
            good = good and len(wanted) == len(targets)
        if not opts['dry_run']:
            desk.prune()
        return 0 if good and not desk.has_config_errors else 1


def _chosen(ui, desk, names: Sequence[bytes]) -> list[targetsmod.Target]:
    '''the targets named, or all of them'''
    by_name = {pycompat.sysbytes(t.name): t for t in desk.targets}
    for name in names:
        if name in by_name:
            continue
        if name in targetsmod.names(ui):
            raise error.StateError(
                _(b"target '%s' cannot be used as it is configured") % name
            )
        known = b', '.join(sorted(by_name)) or _(b'none, see [delegate]')
        raise error.InputError(
            _(b"there is no target '%s'") % name,
            hint=_(b'targets: %s') % known,
        )
    return [by_name[name] for name in dict.fromkeys(names or by_name)]


def _pending(ui, desk, targets, dry_run: bool) -> bool:
    if dry_run:
        for target in targets:
            dry_runmod.show_pending(ui, desk, target)
        return True
    desk.record_all()
    waiting = [(target, desk.waiting(target)) for target in targets]
    return _run(desk, [(t, number) for t, number in waiting if number])


def _wanted(repo, desk, targets, rev: bytes) -> Wanted:
    '''what to delegate again, or instead; a target with nothing is named'''
    if not targets and not desk.has_config_errors:
        raise error.StateError(
            _(b'no target is configured'),
            hint=_(b"see 'hg help delegate.config'"),
        )
    if rev:
        node = _revision(repo, rev)
        return [(target, node) for target in targets]
    wanted = []
    for target in targets:
        node = desk.newest(target)
        if node:
            wanted.append((target, node))
        elif node is None:
            desk.voice.warn(
                _(b'%s: no changeset of the repository is for it')
                % pycompat.sysbytes(target.name)
            )
    return wanted


def _revision(repo, rev: bytes) -> str:
    '''the changeset that ``rev`` names; the deploy side must be able to pull
    it'''
    context = scmutil.revsingle(repo, rev)
    number = context.rev()
    if number is None or number < 0:
        raise error.InputError(
            _(b"'%s' is not a changeset") % rev,
            hint=_(b'only what was committed can be delegated'),
        )
    if number in repo.filtered(b'served').changelog.filteredrevs:
        secret = context.phase() >= phases.secret
        raise error.InputError(
            (_(b'%s is secret') if secret else _(b'%s is hidden')) % context,
            hint=_(b'nobody could pull it'),
        )
    return context.hex().decode('ascii')


def _now(ui, desk, wanted: Wanted, dry_run: bool) -> bool:
    jobs = []
    for target, node in wanted:
        back_from = desk.newer_deployed(target, node)
        if back_from:
            desk.voice.say(
                _(b'%s: going back from %s to %s')
                % (
                    pycompat.sysbytes(target.name),
                    wording.short(back_from),
                    wording.short(node),
                )
            )
        if dry_run:
            dry_runmod.show(ui, desk, target, node)
        else:
            number = desk.journal.record(target.name, node, cancel.who())
            jobs.append((target, number))
    return _run(desk, jobs)


def _run(desk, jobs: Jobs) -> bool:
    try:
        return launcher.run(desk, jobs)
    except error.SignalInterrupt:
        # not ^C: a terminal that is closed, say. Who goes away stops nothing.
        raise
    except KeyboardInterrupt:
        _interrupt(desk, [number for _target, number in jobs])
        raise


def _interrupt(desk, numbers: Sequence[int]) -> None:
    '''cancel what was asked for here or runs; a push that waits still does'''
    stopped = []
    for number in numbers:
        row = desk.journal.get(number)
        if row.state == delegation.RUNNING or not row.txn:
            if desk.journal.cancel(number, cancel.who()) and row.exec_sent_at:
                cancel.end_remains(desk, row)
            stopped.append(row)
    for row in stopped:
        cancel.await_end(desk, row.number)
        cancel.report(desk, row)
