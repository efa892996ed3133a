# SPDX-License-Identifier: GPL-2.0-or-later
'''the thread that delegates to one target: it waits for the target's turn, runs
what the queue says, and records the end

A worker has values only, never ``repo`` or ``ui``: other threads use those, and
it goes on when the pusher is gone.
'''

from __future__ import annotations

import contextlib
import threading
import time
import traceback

from ..ssh import session
from ..state import delegation, files, journal as journalmod, target_lock
from . import attempt as attemptmod, connection, names, obstacles, queue

# How long somebody may hold the lock of a target without a delegation that
# runs, or that is tried again after a pause, in seconds.
_PATIENCE = 30.0

# how often it is looked whether this process is to end, in seconds
_GLANCE = 0.2


class Worker(threading.Thread):
    '''delegates what waits for the target of ``task``, until that is done

    ``early`` is a login that was begun early, which is ours now. The thread is
    no daemon: a process that is told to end waits for it. ``before`` is the
    worker of the target that this one comes after, if it is at work here.
    '''

    def __init__(
        self,
        task: queue.Task,
        early: connection.EarlyConnection | None = None,
        before: Worker | None = None,
    ):
        super().__init__(name='delegate-' + task.target.name, daemon=False)
        self._task = task
        self._early = early
        self._before = before
        self._leaving = threading.Event()
        row = task.journal.get(task.number)
        self._attempts_before = row.attempt if row else 0
        self._held_by_us_at = time.monotonic()

    def start(self) -> None:
        try:
            super().start()
        except RuntimeError:
            # it stays pending; the other targets go on
            self._drop_early()
            self._task.journal.last_error = journalmod.JournalError(
                'no thread can be started',
                'see how many processes the server account may have',
            )

    def leave(self) -> None:
        '''start nothing more; what runs goes on to its end'''
        self._leaving.set()

    def run(self) -> None:
        task = self._task
        try:
            if not self._comes_after():
                return
            # first the one that runs now, then the one that takes all others
            patience = 2 * task.target.timeout + 60
            with target_lock.turn(
                task.paths, task.target.name, patience, self._is_waiting
            ) as mine:
                if mine:
                    self._deliver()
        except journalmod.JournalError as exc:
            task.journal.last_error = exc
        except target_lock.LockError as exc:
            why = {'reason': exc.reason, 'remedy': exc.remedy}
            task.journal.end(task.number, delegation.PENDING, **why)
        except Exception as exc:  # noqa: BLE001
            # Python would print it to the pusher.
            task.journal.last_error = internal_error(task.paths.traceback, exc)
        finally:
            self._drop_early()
            task.news.set()

    def _comes_after(self) -> bool:
        '''wait for the worker of the target before this one

        False if this process is to end meanwhile.
        '''
        task = self._task
        if self._before and self._before.is_alive():
            self._drop_early()
            queue.stop(task)
        while self._before and self._before.is_alive():
            if self._is_leaving():
                return False
            self._before.join(_GLANCE)
        return True

    def _is_leaving(self) -> bool:
        return self._leaving.is_set() or not threading.main_thread().is_alive()

    def _is_waiting(self) -> bool:
        # the turn may come late, and no host should keep a login for us
        self._drop_early()
        if self._is_leaving():
            return False
        journal, name = self._task.journal, self._task.target.name
        row = journal.get(self._task.number)
        if row is None or row.state not in delegation.OPEN:
            return False
        if queue.stop(self._task):
            return False
        now = time.monotonic()
        if journal.at_work(name):
            self._held_by_us_at = now
        elif now - self._held_by_us_at > _PATIENCE:
            raise target_lock.LockError(
                'another process has the lock of %s, and delegates nothing'
                % name,
                'see fuser -v .hg/delegate/%s.lock' % name,
            )
        return True

    def _deliver(self) -> None:
        target, journal = self._task.target, self._task.journal
        journal.close_abandoned(target.name, target.receiver)
        reason = 'internal error'
        try:
            self._attempts()
        except BaseException as exc:
            if isinstance(exc, journalmod.JournalError):
                reason = exc.reason
            journal.close_abandoned(target.name, target.receiver, reason)
            raise

    def _attempts(self) -> None:
        '''try until it begins on the far side, at most :retries times more

        An attempt counts for all that is merged into it as well. So a target
        that is down costs the retries once, and not once for each push.
        '''
        task = self._task
        mine = task.journal.get(task.number)
        if mine is None:
            return
        pause = 1.0
        left = task.target.retries - (mine.attempt - self._attempts_before)
        while left >= 0:
            row = None if queue.stop(task) else queue.claim(task)
            if row is None:
                return
            # Who has just held it looks next what runs. Now it is one of us
            # who sees the other.
            if why := obstacles.hold(task.paths, row.target):
                task.journal.end(row.number, delegation.PENDING, **why)
                continue
            attempt = attemptmod.Attempt(task, row)
            state, fields = attempt.run(self._connect)
            again = state == delegation.PENDING and attempt.may_retry
            again = again and left > 0 and not self._leaving.is_set()
            if again:
                fields['reason'] += delegation.TRYING_AGAIN % pause
            if state == delegation.SUCCEEDED:
                names.note(task.paths, task.target.name, row.node)
            task.journal.end(row.number, state, **fields)
            task.news.set()
            if task.teller:
                task.teller.start(task.journal)
            if not again or self._leaving.wait(pause):
                return
            pause *= 2
            left -= 1

    def _connect(self) -> session.Session:
        '''the session that was begun early, once; else a new one'''
        early, self._early = self._early, None
        return (early and early.take()) or connection.connect(self._task.target)

    def _drop_early(self) -> None:
        if self._early:
            self._early.drop()
            self._early = None


def internal_error(file: files.File, exc: Exception) -> journalmod.JournalError:
    '''``exc``, a bug; its traceback is written into ``file``'''
    with contextlib.suppress(OSError):
        text = traceback.format_exc().encode('utf-8', 'replace')
        file.write(files.FIRST_LINE + text)
    return journalmod.JournalError(
        'internal error: %s' % type(exc).__name__,
        'please report it, with .hg/delegate/traceback',
    )
