# worker.py - the thread that delegates to one target
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the thread that delegates to one target: it waits for the target's turn, runs
what the queue says, and records the end

A worker has values only, never ``repo`` or ``ui``: it runs next to other
workers and to whoever prints, and it goes on when the pusher is gone.
'''

from __future__ import annotations

import contextlib
import os
import threading
import traceback

from ..config import targets as targetsmod
from ..ssh import session
from ..state import delegation, files, journal as journalmod, target_lock
from . import attempt, connection, queue


class Worker(threading.Thread):
    '''delegates what waits for ``target``, until ``number`` is dealt with

    ``news`` is set whenever there is something new to read, and ``early`` is
    a login that was begun early, which is ours now. The thread is no daemon:
    a process that is told to end waits for it.
    '''

    def __init__(
        self,
        target: targetsmod.Target,
        number: int,
        paths: files.Paths,
        journal: journalmod.Journal,
        history: queue.History,
        news: threading.Event,
        early: connection.EarlyConnection | None = None,
    ):
        super().__init__(name='delegate-' + target.name, daemon=False)
        self.target = target
        self.number = number
        self.paths = paths
        self.journal = journal
        self.news = news
        self._queue = queue.Queue(target, paths, journal, history)
        self._early = early
        self._leaving = threading.Event()
        row = journal.get(number)
        self._attempts_before = row.attempt if row else 0

    def start(self) -> None:
        try:
            super().start()
        except RuntimeError:
            # It stays pending, and the other targets go on.
            self._drop_early()
            self.journal.last_error = journalmod.JournalError(
                'no thread can be started',
                'see how many processes the server account may have',
            )

    def leave(self) -> None:
        '''begin nothing any more; what runs goes on to its end'''
        self._leaving.set()

    def run(self) -> None:
        try:
            # whoever runs now, and whoever takes all that waits after that
            patience = 2 * self.target.timeout + 60
            with target_lock.turn(
                self.paths, self.target.name, patience, self._is_waiting
            ) as mine:
                if mine:
                    self._close_abandoned()
                    self._deliver()
        except journalmod.JournalError as exc:
            self.journal.last_error = exc
        except target_lock.LockError as exc:
            self.journal.last_error = journalmod.JournalError(
                exc.reason, exc.remedy
            )
        except Exception as exc:  # noqa: BLE001
            # Nobody is above a thread, and Python would print it to the
            # pusher.
            self.journal.last_error = self._internal(exc)
        finally:
            self._drop_early()
            self.news.set()

    def _internal(self, exc: Exception) -> journalmod.JournalError:
        with contextlib.suppress(OSError):
            path = os.path.join(self.paths.folder, 'traceback')
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with open(os.open(path, flags, 0o600), 'wb') as out:
                out.write(traceback.format_exc().encode('utf-8', 'replace'))
        return journalmod.JournalError(
            'internal error: %s' % type(exc).__name__,
            'please report it, with .hg/delegate/traceback',
        )

    def _is_waiting(self) -> bool:
        # It may be long until our turn, and the host is not to wait for us.
        self._drop_early()
        if self._leaving.is_set() or not threading.main_thread().is_alive():
            return False
        row = self.journal.get(self.number)
        return row is not None and row.state in delegation.OPEN

    def _deliver(self) -> None:
        try:
            self._attempts()
        except journalmod.JournalError as exc:
            self._close_abandoned(reason=exc.reason)
            raise
        except BaseException:
            self._close_abandoned(reason='internal error')
            raise

    def _close_abandoned(self, **reason: str) -> None:
        self.journal.close_abandoned(
            self.target.name, self.target.receiver, **reason
        )

    def _attempts(self) -> None:
        '''try until it begins on the far side, :retries times more at most

        Those who waited meanwhile were taken along in each attempt, which
        counts for them as well: a dead target costs all of them that once.
        '''
        pause = 1.0
        mine = self.journal.get(self.number)
        if mine is None:
            return
        left = self.target.retries - (mine.attempt - self._attempts_before)
        while left >= 0:
            row = self._queue.claim(self.number)
            if row is None:
                return
            outcome = attempt.Attempt(
                self.target, self.paths, self.journal, row, self.news
            ).run(self._connect)
            again = outcome.state == delegation.PENDING and outcome.may_retry
            if not again or not left or self._leaving.is_set():
                self.journal.end(row.number, outcome.state, **outcome.fields)
                return
            outcome.fields['reason'] += delegation.TRYING_AGAIN % pause
            self.journal.end(row.number, outcome.state, **outcome.fields)
            self.news.set()
            if self._leaving.wait(pause):
                return
            pause *= 2
            left -= 1

    def _connect(self) -> session.Session:
        '''the session that was begun early, once; else a new one'''
        early, self._early = self._early, None
        return (early and early.take()) or connection.connect(self.target)

    def _drop_early(self) -> None:
        if self._early:
            self._early.drop()
            self._early = None
