# SPDX-License-Identifier: GPL-2.0-or-later
'''what one repository has to delegate to which target

Here pushes in the outbox become delegations in the journal. What runs later
gets values, and no object of Mercurial's.
'''

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..config import parsers, policy, targets as targetsmod
from ..push import outbox, selection
from ..report import config_errors, printer as printermod, wording
from ..state import delegation, files, journal as journalmod, pruning
from . import evaluation, history, names, obstacles, queue, told

# a target, and the number of the delegation to run for it
Jobs = Sequence[tuple[targetsmod.Target, int]]


@dataclasses.dataclass(eq=False)
class Dispatcher:
    '''decides what ``repo`` delegates; ``printer`` says what is wrong'''

    printer: printermod.Printer
    repo: Any
    paths: files.Paths
    journal: journalmod.Journal

    def __post_init__(self) -> None:
        repo = self.repo
        self.history = history.History(repo)
        self.config_errors = config_errors.Reporter(self.printer, repo)
        self._evaluator = evaluation.Evaluator()
        found, wrong = policy.read(repo, outbox.roads(repo))
        # to a gate nothing is delegated
        self.targets = [target for target in found if not target.gate]
        self.gates = [target.name for target in found if target.gate]
        self.teller: told.Teller | None = None
        if told.is_wanted(repo.ui, self.targets):
            self.journal.keep_notices()
            self.teller = told.Teller(repo)
        for each in wrong:
            self.config_errors.report(each)
        self.report_journal()

    def report_journal(self) -> None:
        '''say what the journal could not do'''
        if self.journal.last_error:
            self.printer.warn(*wording.of_error(self.journal.last_error))
            self.journal.last_error = None

    def tell(self) -> None:
        '''let those know of the ends who should, also of what others left'''
        if self.teller and not self.journal.db.readonly:
            self.teller.start(self.journal)

    def jobs(self, entry: outbox.Entry) -> Jobs:
        '''record ``entry`` and what waits before it; the jobs of ``entry``

        Raises JournalError.
        '''
        try:
            self._record(outbox.read(self.repo), entry)
        except journalmod.JournalError as exc:
            if not exc.damaged:
                raise
            self.journal.last_error = exc
        if self.journal.last_error:
            # it was set aside; the outbox says what there is to do
            self.report_journal()
            self._record(outbox.read(self.repo), entry)
        found = [
            (t, self.journal.find(t.name, entry.txn)) for t in self.targets
        ]
        return [(t, number) for t, number in found if number is not None]

    def record_all(self) -> None:
        '''make a delegation of each push whose transaction is complete'''
        self._record(outbox.committed(self.repo))

    def _record(
        self, box: outbox.Outbox, own: outbox.Entry | None = None
    ) -> None:
        '''make a delegation of each push up to ``own``, that of this hook

        The changesets of a later push may not be there yet: its own hook
        records it.
        '''
        for entry in box.entries:
            if own and entry.sequence > own.sequence:
                continue
            known = self.journal.known(entry.txn)
            for target in self.targets:
                key = (entry.txn, target.name)
                if target.name in entry.targets and key not in known:
                    self._record_one(target, entry, own)

    def _record_one(
        self,
        target: targetsmod.Target,
        entry: outbox.Entry,
        own: outbox.Entry | None,
    ) -> None:
        pushed = selection.brought(
            self.repo, entry.push, entry.moved, target.trigger
        )
        if pushed is None:
            return
        node = self.newest_of(target, pushed)
        if node:
            who = entry.push['pusher']
            push = (entry.txn, entry.sequence)
            self.journal.record(target.name, node, who, *push)
            if entry == own:
                self.say_left_behind(target, node)
                self._say_others(target, node, entry)
        elif node is None and (entry == own or self._is_over(target, entry)):
            self.journal.unmatched(target.name, entry.txn)

    def _is_over(self, target: targetsmod.Target, entry: outbox.Entry) -> bool:
        '''whether ``target`` has all of ``entry`` already

        Until then the push stays, where its own hook has not found that it is
        for no target: another configuration may give another answer.
        '''
        last = self.journal.last(target.name, delegation.SUCCEEDED)
        return last is not None and all(
            self.history.is_ancestor(node, last.node) for node in entry.nodes
        )

    def is_for(self, target: targetsmod.Target, rev: int) -> bool | None:
        '''whether the revset of ``target`` has ``rev``, which can be pulled

        None if its revset is wrong, which is said.
        '''
        found = self.newest_of(target, [rev])
        return None if found == '' else found is not None

    def newest_of(
        self, target: targetsmod.Target, revs: Iterable[int] | None
    ) -> str | None:
        '''the newest of ``revs`` that is for ``target``

        None if there is none, '' if its revset is wrong, which is said.
        '''
        try:
            return self._evaluator.newest(self.repo, target, revs)
        except selection.REVSET_ERRORS as exc:
            self.config_errors.report_revset(target.name, exc)
            return ''

    def waiting(self, target: targetsmod.Target) -> int | None:
        '''what to run for ``target``: the newest, which takes all along'''
        rows = self.journal.pending(target.name)
        may_run = obstacles.passed(self.journal, self.history, target, rows)
        rows = may_run or rows
        for row in reversed(rows):
            if self.history.exists(row.node):
                return row.number
        # its worker will say that it is gone
        return rows[-1].number if rows else None

    def how_many_wait(self, name: str) -> int:
        '''how many pushes, and what ``hg delegate`` asked for, wait for the
        target ``name`` by themselves'''
        rows = self.journal.pending(name)
        unrecorded = sum(1 for _ in self.unrecorded(name))
        return unrecorded + sum(row.merged_into is None for row in rows)

    def free(self, jobs: Jobs, regardless: bool = False) -> tuple[Jobs, Jobs]:
        '''those of ``jobs`` that can begin, and those that have to wait, which
        is noted

        What comes after another target waits here for it if that is among
        them; with ``regardless`` it does not wait at all. Raises JournalError.
        '''
        found: tuple[list, list] = ([], [])
        news = threading.Event()
        for target, number in jobs:
            begun = [each.name for each, _number in found[0]]
            goes = regardless or target.after in begun
            task = queue.Task(
                target,
                number,
                self.paths,
                self.journal,
                self.history,
                news,
                goes,
            )
            found[queue.stop(task)].append((target, number))
        return found

    def ready(self) -> Jobs:
        '''what has waited for another target, and need not any more'''
        return obstacles.ready(
            self.paths, self.journal, self.history, self.targets
        )

    def note_again(self) -> None:
        '''note anew why what waits for another target does so'''
        obstacles.note_again(self.journal, self.history, self.targets)

    def say_waiting(self, jobs: Jobs) -> None:
        '''say why ``jobs`` have to wait'''
        for target, number in jobs:
            row = self.journal.get(number)
            if row:
                line, hints = wording.verdict(row)
                label = b'delegate.state.' + row.state.encode('ascii')
                line = wording.of(target.name, line)
                self.printer.warn(line, *hints, label=label)

    def unrecorded(
        self, name: str | None
    ) -> Iterator[tuple[str, outbox.Entry]]:
        '''the targets and pushes that no hook has recorded, newest first'''
        for entry in reversed(outbox.read(self.repo).entries):
            known = self.journal.known(entry.txn)
            for target in entry.targets:
                if name in (None, target) and (entry.txn, target) not in known:
                    yield target, entry

    def say_left_behind(
        self, target: targetsmod.Target, node: str, by_hand: bool = False
    ) -> None:
        '''say if ``node`` does not contain what ``target`` has now

        A push never goes back to an ancestor, but ``hg delegate`` may.
        '''
        last = self.journal.last(target.name, delegation.SUCCEEDED)
        if last is None or last.node == node:
            return
        for pair in ((last.node, node), (node, last.node)):
            self.history.learn(self.repo, *pair)
        if not self.history.is_ancestor(last.node, node):
            back = self.history.is_ancestor(node, last.node)
            if by_hand or not back:
                line = wording.left_behind(last.node, node, back)
                self.printer.say(wording.of(target.name, line))
        elif not by_hand and (older := self._undone(last)):
            line = wording.rolled_back(last, older.node)
            self.printer.say(wording.of(target.name, line))

    def _undone(
        self, last: delegation.Delegation
    ) -> delegation.Delegation | None:
        '''what ``last``, the last success, has gone back from by hand'''
        row: delegation.Delegation | None = last
        # from the newest on, as far as the last that a push has brought
        while row and row.txn is None and row.turn:
            row = self.journal.last(
                last.target, delegation.SUCCEEDED, before=row.turn
            )
            if row and row.node != last.node:
                self.history.learn(self.repo, last.node, row.node)
                if self.history.is_ancestor(last.node, row.node):
                    return row
        return None

    def _say_others(
        self, target: targetsmod.Target, node: str, entry: outbox.Entry
    ) -> None:
        '''say that ``node`` was chosen, where the push has more open heads'''
        heads = [
            head['node'] for head in entry.push['heads'] if not head['closed']
        ]
        if node in heads and len(heads) > 1:
            count = self._evaluator.count(self.repo, target, heads)
            if count > 1:
                line, hint = wording.chosen(node, count, target.name)
                self.printer.say(wording.of(target.name, line), hint)

    def prune(self) -> None:
        '''forget the oldest records, and what they printed'''
        box = outbox.read(self.repo)
        keep = parsers.keep(policy.setting(self.repo, b'keep', box.roads))
        targets = [target.name for target in self.targets]
        names_of_all = [*targets, *self.gates]
        pruning.prune(self.journal, self.paths, names_of_all, keep, box)
        names.refresh(self.paths, self.journal, targets)
