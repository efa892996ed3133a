# delegate.py - hg delegate
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''hg delegate: delegate now, another revision, or what is pending'''

from __future__ import annotations

from collections.abc import Sequence

from mercurial import (
    error,
    phases,
    pycompat,
    scmutil,
)
from mercurial.i18n import _

from ..config import targets as targetsmod
from ..delivery import dispatcher, launcher as launchermod
from ..report import wording
from ..state import delegation
from . import cancel, dry_run, opened

Wanted = list[tuple[targetsmod.Target, str]]


def delegate(ui, repo, names: Sequence[bytes], opts) -> int:
    '''hg delegate: 0 only if every target succeeded'''
    if opts['pending'] and opts['rev']:
        raise error.InputError(
            _(b'cannot specify both --pending and --rev'),
            hint=_(b'what is pending says itself which changeset it is'),
        )
    if opts['dry_run']:
        return _rehearse(ui, repo, names, opts)
    with opened.to_delegate(ui, repo) as launcher:
        made = launcher.dispatcher
        targets = _chosen(ui, made, names)
        good = True
        if opts['pending']:
            if not targets and not made.config_errors.found:
                # a host may run this over all of its repositories
                made.printer.say(_(b'no target is configured'))
            made.record_all()
            waiting = [(target, made.waiting(target)) for target in targets]
            jobs = [(target, number) for target, number in waiting if number]
        else:
            # What a push that was killed has left may not stay.
            with repo.lock():
                # what was pushed before is older, also if no hook has seen it
                made.record_all()
                wanted = _wanted(repo, made, targets, opts['rev'])
            good = len(wanted) == len(targets)
            jobs = [
                (target, made.journal.record(target.name, node, cancel.who()))
                for target, node in wanted
            ]
        good = _run(launcher, jobs) and good
        made.prune()
        return 0 if good and not made.config_errors.found else 1


def _rehearse(ui, repo, names: Sequence[bytes], opts) -> int:
    '''say what would be delegated'''
    lines: list[bytes] = []
    good = True
    with opened.to_read(ui, repo) as made, made.journal.rolled_back():
        targets = _chosen(ui, made, names)
        made.record_all()
        if opts['pending']:
            for target in targets:
                lines += dry_run.of_pending(made, target)
        else:
            wanted = _wanted(repo, made, targets, opts['rev'])
            for target, node in wanted:
                lines += dry_run.of_node(made, target, node)
            good = len(wanted) == len(targets)
    # not before: the journal is locked until here, and a pager may wait
    for line in lines:
        ui.write(line)
    return 0 if good and not made.config_errors.found else 1


def _chosen(ui, made, names: Sequence[bytes]) -> list[targetsmod.Target]:
    '''the targets named, or all of them'''
    by_name = {pycompat.sysbytes(t.name): t for t in made.targets}
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


def _wanted(repo, made, targets, rev: bytes) -> Wanted:
    '''what to delegate again, or instead; a target with nothing is named'''
    if not targets and not made.config_errors.found:
        raise error.StateError(
            _(b'no target is configured'),
            hint=_(b"see 'hg help delegate.config'"),
        )
    if rev:
        node = _revision(repo, rev)
        wanted = [(target, node) for target in targets]
    else:
        wanted = [(target, made.newest(target)) for target in targets]
    for target, node in wanted:
        if node is None:
            line = _(b'no changeset of the repository is for it')
            made.printer.warn(wording.of(target.name, line))
            continue
        back_from = node and made.newer_deployed(target, node)
        if back_from:
            line = _(b'going back from %s to %s')
            line %= wording.short(back_from), wording.short(node)
            made.printer.say(wording.of(target.name, line))
    return [(target, node) for target, node in wanted if node]


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


def _run(launcher: launchermod.Launcher, jobs: dispatcher.Jobs) -> bool:
    try:
        return launcher.run(jobs)
    except error.SignalInterrupt:
        # not ^C: a terminal that is closed, say. Who goes away stops nothing.
        raise
    except KeyboardInterrupt:
        _interrupt(launcher.dispatcher, [number for _target, number in jobs])
        raise


def _interrupt(made: dispatcher.Dispatcher, numbers: Sequence[int]) -> None:
    '''cancel what was asked for here or runs; a push that waits still does'''
    stopped = []
    for number in numbers:
        row = made.journal.get(number)
        if row and (row.state == delegation.RUNNING or not row.txn):
            if made.journal.cancel(number, cancel.who()) and row.exec_sent_at:
                cancel.end_remote(made, row)
            stopped.append(row)
    for row in stopped:
        cancel.await_end(made, row.number)
        cancel.report(made, row)
