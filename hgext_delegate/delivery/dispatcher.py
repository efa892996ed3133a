# dispatcher.py - what one repository has to delegate
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what one repository has to delegate: targets, outbox and journal together

This is where Mercurial's objects end: what stands below gets values.
'''

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mercurial import (
    error,
    pycompat,
)
from mercurial.i18n import _
from mercurial.utils import stringutil

from ..config import parsers, policy, targets
from ..push import outbox, selection
from ..report import follower as followermod, printer, wording
from ..state import delegation, files, journal, target_lock
from . import history

if TYPE_CHECKING:
    # it brings paramiko, which only a delegation needs
    from . import worker as workermod

Jobs = Sequence[tuple[targets.Target, int]]


class Desk:
    '''one repository's targets, journal and outbox, while it delegates'''

    def __init__(self, ui, repo, paths: files.Paths):
        self.voice = printer.Printer(ui)
        self.targets, mistakes = targets.read(ui, policy.refused(repo))
        self.has_config_errors = bool(mistakes)
        self._reported: set[targets.ConfigError] = set()
        self.paths = paths
        self.history = history.History(repo)
        self.journal = self._journal()
        self.workers: list[workermod.Worker] = []
        # logins that began when the push arrived, by target: see ahead
        self.early_connections = getattr(
            repo, '_delegate_early_connections', {}
        )
        self.ui = ui
        # without what the repository's own files say
        self.baseui = repo.baseui
        self._repo = repo
        for mistake in mistakes:
            self._report(mistake)

    def close(self) -> None:
        '''wait for the workers, which need the journal, and close it

        Also when this process was told to end: what runs goes on to its end.
        '''
        for worker in self.workers:
            worker.leave()
        for worker in self.workers:
            while worker.is_alive():
                with contextlib.suppress(
                    KeyboardInterrupt, error.SignalInterrupt
                ):
                    worker.join()
        self.journal.close()

    def _journal(self) -> journal.Journal:
        if not self.paths.lasting:
            self.voice.warn(
                _(b'.hg/delegate cannot be written: nothing is recorded'),
                _(b'give the server account the right to write in .hg'),
            )
            return journal.Journal()
        try:
            opened = journal.open(self.paths.journal, self.paths.mode)
        except journal.JournalError as exc:
            self._complain(exc)
            return journal.Journal()
        if opened.last_error:
            self._complain(opened.last_error)
            opened.last_error = None
        return opened

    def _complain(self, exc: journal.JournalError) -> None:
        self.voice.warn(wording.text(exc.reason), wording.text(exc.remedy))

    def _report(self, mistake: targets.ConfigError) -> None:
        self.has_config_errors = True
        if mistake in self._reported:
            # each push that waits for it comes to it again
            return
        self._reported.add(mistake)
        line = _(b'%s in %s: %s')
        line %= mistake.item, self._shown(mistake.source), mistake.problem
        self.voice.warn(wording.safe(line), wording.safe(mistake.remedy))

    def _shown(self, source: bytes) -> bytes:
        # A pusher is to learn which file it is, but not where it lies.
        for folder in (self._repo.root, self._repo.sharedpath):
            if source.startswith(folder + b'/'):
                return source[len(folder) + 1 :]
        return os.path.basename(source)

    def jobs(self, entry: outbox.Entry) -> Jobs:
        '''record ``entry`` and what waits before it; what to run for it'''
        try:
            self.record(outbox.read(self._repo), entry.sequence)
        except journal.JournalError as exc:
            self._replace_journal(exc)
            self.record(outbox.read(self._repo), entry.sequence)
        found = [
            (t, self.journal.find(t.name, entry.txn)) for t in self.targets
        ]
        return [(t, number) for t, number in found if number is not None]

    def _replace_journal(self, exc: journal.JournalError) -> None:
        '''go on with a new journal; the outbox says what there is to do'''
        self.journal.close()
        if exc.damaged:
            self.journal = self._journal()
        else:
            self.journal = journal.Journal()
        self._complain(exc)

    def record(self, box: outbox.Outbox, until: int) -> None:
        '''make a delegation of each push up to the sequence ``until``

        Those after it are the business of their own hooks: their changesets
        may not be there yet.
        '''
        for entry in box.entries:
            if entry.sequence > until:
                continue
            known = self.journal.known(entry.txn)
            for target in self.targets:
                key = (entry.txn, target.name)
                if target.name in entry.targets and key not in known:
                    self._record(target, entry)

    def _record(self, target: targets.Target, entry: outbox.Entry) -> None:
        pushed = selection.brought(
            self._repo, entry.push, entry.moved, target.trigger
        )
        if pushed is None:
            return
        try:
            node = selection.newest(self._repo, target.when, pushed)
        except selection.REVSET_ERRORS as exc:
            self._bad_revset(target, exc)
            return
        if node is None:
            self.journal.unmatched(target.name, entry.txn)
            return
        pusher = entry.push['pusher']
        self.journal.record(
            target.name, node, pusher, entry.txn, entry.sequence
        )

    def newest(self, target: targets.Target) -> str | None:
        '''the newest changeset of the repository that concerns ``target``

        None if there is none, '' if its revset is wrong, which is said.
        '''
        try:
            revs = selection.eligible(self._repo, target.trigger)
            return selection.newest(self._repo, target.when, revs)
        except selection.REVSET_ERRORS as exc:
            self._bad_revset(target, exc)
            return ''

    def record_all(self) -> None:
        self.record(outbox.committed(self._repo), sys.maxsize)

    def waiting(self, target: targets.Target) -> int | None:
        '''what to run for ``target``: the newest, which takes the others'''
        rows = self.journal.pending(target.name)
        for row in reversed(rows):
            if self.history.exists(row.node):
                return row.number
        # its turn will say that it is gone
        return rows[-1].number if rows else None

    def pushes(self, rows: Sequence[delegation.Delegation]) -> list[dict]:
        '''what a run of ``rows`` would tell the deploy side of'''
        box = outbox.read(self._repo)
        found = [box.find(row.txn) for row in rows if row.txn]
        return [entry.push for entry in found if entry]

    def unrecorded(
        self, name: str | None
    ) -> Iterator[tuple[str, outbox.Entry]]:
        '''the targets and pushes that no hook has looked at, newest first'''
        for entry in reversed(outbox.read(self._repo).entries):
            known = self.journal.known(entry.txn)
            for target in entry.targets:
                if name in (None, target) and (entry.txn, target) not in known:
                    yield target, entry

    def newer_deployed(self, target: targets.Target, node: str) -> str | None:
        '''what ``target`` has now, if ``node`` is an ancestor of it'''
        last = self.journal.last(target.name, delegation.SUCCEEDED)
        if last and last.node != node:
            if self.history.is_ancestor(node, last.node):
                return last.node
        return None

    def is_open(self, number: int) -> bool:
        '''whether ``number`` has not ended, and somebody works on it'''
        row = self.journal.get(number)
        if row and row.state == delegation.RUNNING:
            self._close_abandoned(row.target)
            row = self.journal.get(number)
        return row is not None and row.state in delegation.OPEN

    def _close_abandoned(self, name: str) -> None:
        resumable = any(t.name == name and t.receiver for t in self.targets)
        turn = target_lock.turn(self.paths, name, 0, lambda: False)
        with contextlib.suppress(target_lock.LockError), turn as mine:
            if mine:
                self.journal.close_abandoned(name, resumable)

    def close_abandoned(self) -> None:
        '''close, in the journal, what killed processes have left running'''
        for name in self.journal.running_targets():
            self._close_abandoned(name)

    def _bad_revset(self, target: targets.Target, exc: Exception) -> None:
        item = pycompat.sysbytes(target.name) + b':when'
        source = self.ui.configsource(targets.SECTION, item)
        if source in (b'none', b'default'):
            item = b'*:when'
            source = self.ui.configsource(targets.SECTION, item)
        problem = getattr(exc, 'message', None) or stringutil.forcebytestr(exc)
        remedy = _(b"see 'hg help revsets'; pushes wait for it meanwhile")
        if isinstance(exc, error.RepoLookupError):
            # such as branch(stable), before there is one
            remedy = _(b'write present(...) around what may not be there yet')
        self._report(targets.ConfigError(item, source, problem, remedy))

    def follower(self, name: str, number: int, works) -> followermod.Follower:
        return followermod.Follower(
            self.voice, self.journal, self.paths, name, number, works
        )

    def complain(self) -> None:
        '''say what the journal could not do'''
        if self.journal.last_error:
            self._complain(self.journal.last_error)

    def prepare(self, target: targets.Target, number: int) -> None:
        '''answer now what a worker will want to know of the history'''
        row = self.journal.get(number)
        last = self.journal.last(target.name, delegation.SUCCEEDED)
        if row:
            other = last.node if last else row.node
            self.history.learn(self._repo, row.node, other)

    def remind(self, target: targets.Target) -> None:
        '''say that the last delegation to ``target`` went wrong, if it did'''
        row = self.journal.last(target.name, *delegation.RUN)
        if row and row.state != delegation.SUCCEEDED:
            line, more = wording.recollection(row)
            self.voice.warn(b'%s: %s' % (wording.text(target.name), line), more)

    def prune(self) -> None:
        '''forget the oldest records, and what they printed'''
        keep = parsers.keep(policy.setting(self._repo, b'keep'))
        box = outbox.read(self._repo)
        first = min((e.sequence for e in box.entries), default=box.following)
        for target in self.targets:
            for id in self.journal.prune(target.name, keep, first):
                with contextlib.suppress(OSError):
                    os.unlink(self.paths.log(id))
        self.journal.prune_unmatched(entry.txn for entry in box.entries)


@contextlib.contextmanager
def open(ui, repo) -> Iterator[Desk]:
    '''a Desk for ``repo``, with its folder made if need be'''
    with files.made(repo) as made:
        opened = Desk(ui, repo, made)
        try:
            yield opened
        finally:
            opened.close()
