# handover.py - from a repository to its workers, and their audience
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''hand pushes over to workers: what the hook and ``hg delegate`` share

This is where Mercurial's objects end: what stands below gets values.
'''

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence

from mercurial import (
    error,
    pycompat,
    util,
)
from mercurial.i18n import _
from mercurial.utils import stringutil

from . import (
    audience,
    eager,
    history,
    journal as journalmod,
    outbox,
    place as placemod,
    policy,
    push,
    target as targetmod,
)

Jobs = Sequence[tuple[targetmod.Target, int]]


class Desk:
    '''one repository's targets, journal and outbox, while it delegates'''

    def __init__(self, ui, repo, place: placemod.Place):
        self.voice = audience.Voice(ui)
        self.targets, mistakes = targetmod.read(ui, policy.refused(repo))
        self.mistaken = bool(mistakes)
        self.place = place
        self.history = history.History(repo)
        self.journal = self._journal()
        self._ui = ui
        self._repo = repo
        for mistake in mistakes:
            self._report(mistake)

    def _journal(self) -> journalmod.Journal:
        if not self.place.lasting:
            self.voice.warn(
                _(b'.hg/delegate cannot be written: nothing is recorded'),
                _(b'give the server account the right to write in .hg'),
            )
            return journalmod.Journal()
        try:
            return journalmod.open(self.place.journal, self.place.mode)
        except journalmod.JournalError as exc:
            self._complain(exc)
            return journalmod.Journal()

    def _complain(self, exc: journalmod.JournalError) -> None:
        self.voice.warn(audience.text(exc.reason), audience.text(exc.remedy))

    def _report(self, mistake: targetmod.Mistake) -> None:
        self.mistaken = True
        self.voice.warn(
            _(b'%s in %s: %s')
            % (mistake.item, self._shown(mistake.source), mistake.problem),
            mistake.remedy,
        )

    def _shown(self, source: bytes) -> bytes:
        # A pusher is to learn which file it is, but not where it lies.
        for folder in (self._repo.root, self._repo.sharedpath):
            if source.startswith(folder + b'/'):
                return source[len(folder) + 1 :]
        return os.path.basename(source)

    def serve(self, entry: outbox.Entry, keep: int) -> bool:
        '''delegate the push ``entry``, and what waits for its targets

        True if all went well.
        '''
        try:
            jobs = self._jobs(entry)
        except journalmod.JournalError as exc:
            self._replace_journal(exc)
            jobs = self._jobs(entry)
        leaving = [job for job in jobs if not job[0].wait]
        waiting = [job for job in jobs if job[0].wait]
        try:
            for target, _number in jobs:
                self._remind(target)
            self._leave(leaving)
            if entry.push['source'] == 'push':
                good = self.watch(waiting)
            else:
                good = self.run(waiting)
            self.prune(keep)
        except journalmod.JournalError as exc:
            self._complain(exc)
            return False
        return good and not self.mistaken

    def _jobs(self, entry: outbox.Entry) -> Jobs:
        self.record(outbox.read(self._repo), entry.sequence)
        jobs = []
        for target in self.targets:
            number = self.journal.find(target.name, entry.txn)
            if number is not None:
                jobs.append((target, number))
        return jobs

    def _replace_journal(self, exc: journalmod.JournalError) -> None:
        '''go on with a new journal; the outbox says what there is to do'''
        self.journal.close()
        if exc.damaged:
            journalmod.set_aside(self.place.journal)
            self.journal = self._journal()
        else:
            self.journal = journalmod.Journal()
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

    def _record(self, target: targetmod.Target, entry: outbox.Entry) -> None:
        pushed = push.span(self._repo, entry.push)
        if pushed is None:
            return
        try:
            node = push.newest(self._repo, target.when, pushed)
        except _REVSET_ERRORS as exc:
            self._bad_revset(target, exc)
            return
        if node is None:
            self.journal.unmatched(target.name, entry.txn)
            return
        pusher = entry.push.get('pusher')
        self.journal.record(
            target.name, node, pusher, entry.txn, entry.sequence
        )

    def newest(self, target: targetmod.Target) -> str | None:
        '''the newest changeset of the repository that concerns ``target``

        None if there is none, '' if its revset is wrong, which is said.
        '''
        try:
            return push.newest(self._repo, target.when, None)
        except _REVSET_ERRORS as exc:
            self._bad_revset(target, exc)
            return ''

    def record_all(self) -> None:
        self.record(outbox.committed(self._repo), sys.maxsize)

    def waiting(self, target: targetmod.Target) -> list[int]:
        '''what to run for ``target``; the newest push takes the others'''
        rows = self.journal.pending(target.name)
        pushed = [row.number for row in rows if row.txn]
        return [row.number for row in rows if not row.txn] + pushed[-1:]

    def pushes(self, row: journalmod.Delegation) -> list[dict]:
        '''what a run of ``row`` would tell the deploy side of'''
        box = outbox.read(self._repo)
        rows = self.journal.pending(row.target) if row.txn else []
        found = [box.find(other.txn) for other in rows if other.txn]
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

    def newer_deployed(self, target: targetmod.Target, node: str) -> str | None:
        '''what ``target`` has now, if ``node`` is an ancestor of it'''
        last = self.journal.last(target.name, journalmod.SUCCEEDED)
        if last and last.node != node:
            if self.history.is_ancestor(node, last.node):
                return last.node
        return None

    def is_open(self, number: int) -> bool:
        '''whether ``number`` has not ended, and somebody works on it'''
        row = self.journal.get(number)
        if row and row.state == journalmod.RUNNING:
            self._close_abandoned(row.target)
            row = self.journal.get(number)
        return row is not None and row.state in journalmod.OPEN

    def _close_abandoned(self, name: str) -> None:
        resumable = any(t.name == name and t.receiver for t in self.targets)
        with placemod.turn(self.place, name, 0, lambda: False) as mine:
            if mine:
                reason = 'the server process was killed'
                self.journal.close_abandoned(name, resumable, reason)

    def close_abandoned(self) -> None:
        '''close, in the journal, what killed processes have left running'''
        for name in self.journal.running_targets():
            self._close_abandoned(name)

    def _bad_revset(self, target: targetmod.Target, exc: Exception) -> None:
        item = pycompat.sysbytes(target.name) + b':when'
        source = self._ui.configsource(targetmod.SECTION, item)
        if source in (b'none', b'default'):
            item = b'*:when'
            source = self._ui.configsource(targetmod.SECTION, item)
        problem = getattr(exc, 'message', None) or stringutil.forcebytestr(exc)
        remedy = _(b"see 'hg help revsets'; pushes wait for it meanwhile")
        self._report(targetmod.Mistake(item, source, problem, remedy))

    def run(self, jobs: Jobs) -> bool:
        '''delegate in this process; True when all of it succeeded'''
        if not jobs:
            return True
        try:
            delivery = eager.load('delivery')
        except ImportError as exc:
            self.voice.warn(
                _(b'cannot log in anywhere: %s') % stringutil.forcebytestr(exc),
                _(b'install paramiko for the Python that runs hg'),
            )
            return False
        news = threading.Event()
        followers = []
        for target, number in jobs:
            self._prepare(target, number)
            worker = delivery.Worker(
                target, number, self.place, self.journal, self.history, news
            )
            followers.append(
                self.follower(target.name, number, worker.is_alive)
            )
            worker.start()
        return self._follow(followers, news)

    def watch(self, jobs: Jobs) -> bool:
        '''delegate in a process of its own and follow it

        For a push by path: its process ends when the pusher presses ^C.
        '''
        if not jobs or not self.journal.persistent:
            return self.run(jobs)
        process = self._detach(jobs)
        return self._follow(
            [
                self.follower(
                    target.name, number, lambda: process.poll() is None
                )
                for target, number in jobs
            ],
            threading.Event(),
        )

    def _leave(self, jobs: Jobs) -> None:
        '''let a process of its own delegate ``jobs``, and wait for nothing'''
        if jobs:
            self._detach(jobs)
        for target, number in jobs:
            self.voice.say(
                _(b'%s: handed over as delegation %d')
                % (pycompat.sysbytes(target.name), number)
            )

    def _detach(self, jobs: Jobs) -> subprocess.Popen[bytes]:
        '''start a process of the server account that delegates ``jobs``

        It shares no file with this one, so that nothing of it keeps a
        pusher's connection open.
        '''
        names = [target.name for target, _number in jobs]
        return subprocess.Popen(
            [
                *(sys.executable, '-c', _HG, '-R', self.place.root),
                *self._overrides(),
                *('delegate', '--pending', '--', *names),
            ],
            cwd='/',
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _overrides(self) -> Iterator[str]:
        '''what was given with --config, for nothing else reads it again'''
        for section in (b'extensions', targetmod.SECTION):
            for key, value in self._ui.configitems(section):
                if self._ui.configsource(section, key) == b'--config':
                    item = b'%s.%s=%s' % (section, key, value)
                    yield from ('--config', os.fsdecode(item))

    def _prepare(self, target: targetmod.Target, number: int) -> None:
        '''answer now what the worker will want to know of the history'''
        row = self.journal.get(number)
        last = self.journal.last(target.name, journalmod.SUCCEEDED)
        if row and last:
            self.history.learn(self._repo, row.node, last.node)
        elif row:
            self.history.learn(self._repo, row.node, row.node)

    def follower(self, name: str, number: int, works) -> audience.Follower:
        return audience.Follower(
            self.voice, self.journal, self.place, name, number, works
        )

    def _follow(self, followers, news: threading.Event) -> bool:
        audience.follow(followers, news)
        if self.journal.trouble:
            self._complain(self.journal.trouble)
        return all(follower.succeeded for follower in followers)

    def _remind(self, target: targetmod.Target) -> None:
        '''say that the last delegation to ``target`` went wrong, if it did'''
        row = self.journal.last(
            target.name,
            journalmod.SUCCEEDED,
            journalmod.FAILED,
            journalmod.LOST,
            journalmod.CANCELLED,
        )
        if row and row.state != journalmod.SUCCEEDED:
            line = _(b'%s: the last delegation, %d of %s at %s, %s: %s')
            self.voice.warn(
                line % audience.recollection(row),
                _(b"'hg delegate-log %d' on the server shows more")
                % row.number,
            )

    def prune(self, keep: int) -> None:
        '''forget the oldest records, and what they printed'''
        box = outbox.read(self._repo)
        first = min((e.sequence for e in box.entries), default=box.following)
        for target in self.targets:
            for id in self.journal.prune(target.name, keep, first):
                with contextlib.suppress(OSError):
                    os.unlink(self.place.log(id))
        self.journal.prune_unmatched(entry.txn for entry in box.entries)


_HG = 'from mercurial import dispatch; dispatch.run()'

_REVSET_ERRORS = (
    error.Error,
    error.RepoError,
    error.StorageError,
    ValueError,
    RecursionError,
)


@contextlib.contextmanager
def desk(ui, repo) -> Iterator[Desk]:
    '''a Desk for ``repo``, with its folder made if need be'''
    with _place(repo) as place:
        opened = Desk(ui, repo, place)
        try:
            yield opened
        finally:
            opened.journal.close()


@contextlib.contextmanager
def _place(repo) -> Iterator[placemod.Place]:
    folder = os.path.join(repo.sharedpath, b'delegate')
    mode = repo.store.createmode
    lasting = True
    try:
        util.makedirs(os.path.join(folder, b'log'), mode)
        lasting = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        lasting = False
    temporary = '' if lasting else tempfile.mkdtemp(prefix='hg-delegate-')
    if temporary:
        os.mkdir(os.path.join(temporary, 'log'))
    try:
        yield placemod.Place(
            name=os.path.basename(push.text(repo.root)),
            root=os.fsdecode(repo.root),
            folder=temporary or os.fsdecode(folder),
            store=os.fsdecode(repo.svfs.join(b'')),
            outbox=os.fsdecode(repo.svfs.join(outbox.FILENAME)),
            mode=mode,
            lasting=lasting,
        )
    finally:
        if temporary:
            shutil.rmtree(temporary)
