# worker.py - the worker: claim, connect, send, relay, record
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the worker: it waits for a target's turn, delegates, and records the end

A worker has values only, never ``repo`` or ``ui``: it runs in a thread of
its own, next to other workers and to whoever prints, and it goes on when the
pusher is gone.
'''

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from typing import Any

from .. import protocol, sanitizer
from ..config import targets
from ..push import outbox
from ..ssh import session
from ..state import (
    delegation,
    files,
    journal as journalmod,
    output_log,
    target_lock,
)
from . import connection, queue, remote_cancel

# How long a partial line is held before it is shown, in seconds.
_PATIENCE = 0.5


class _Drain:
    '''both streams of a session, through their relays, into the log'''

    def __init__(
        self,
        log: output_log.Log,
        target: targets.Target,
        news: threading.Event,
    ):
        self._log = log
        self._news = news
        # What comes is bounded as well as what is shown: to make a flood safe
        # takes time even if nothing of it can be seen.
        self._room = 2 * target.output_limit
        self._relays = {n: sanitizer.Sanitizer(target.color) for n in (1, 2)}
        self._held: dict[int, float] = {}

    def receive(self, stream: int, data: bytes) -> None:
        taken, dropped = data[: self._room], data[self._room :]
        self._room -= len(taken)
        self._show(self._relays[stream].feed(taken))
        self._log.drop(dropped)

    def tick(self) -> None:
        '''let go of what was held for longer than _PATIENCE'''
        now = time.monotonic()
        for stream, relayed in self._relays.items():
            if not relayed.held:
                self._held.pop(stream, None)
            elif now - self._held.setdefault(stream, now) >= _PATIENCE:
                del self._held[stream]
                self._show(relayed.flush())

    def close(self) -> None:
        for relayed in self._relays.values():
            self._show(relayed.close())

    def _show(self, lines: list[bytes]) -> None:
        if lines:
            self._log.write(lines)
            self._news.set()


class Worker(threading.Thread):
    '''delegates what waits for ``target``, until ``number`` is dealt with

    ``news`` is set whenever an audience has something new to read, and
    ``begun`` is a login that was begun early, which is ours now. The
    thread is no daemon: a process that is told to end waits for it.
    '''

    def __init__(
        self,
        target: targets.Target,
        number: int,
        paths: files.Paths,
        journal: journalmod.Journal,
        history: queue.History,
        news: threading.Event,
        begun: connection.EarlyConnection | None = None,
    ):
        super().__init__(name='delegate-' + target.name, daemon=False)
        self.target = target
        self.number = number
        self.paths = paths
        self.journal = journal
        self._waiting = queue.Queue(target, paths, journal, history)
        self.news = news
        self._early = begun
        self._leaving = threading.Event()
        # what a cancelled delegation may have left on the far side
        self._left_behind = ''
        row = journal.get(number)
        self._attempts_before = row.attempt if row else 0

    def start(self) -> None:
        try:
            super().start()
        except RuntimeError:
            # It stays pending, and the other targets are none the worse.
            self._drop_early()
            self.journal.last_error = journalmod.JournalError(
                'no thread can be started',
                'see how many processes the server account may have',
            )

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
            # The one place where nobody is left to hand a bug on to, and
            # where Python would print it to the pusher.
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

    def _drop_early(self) -> None:
        if self._early:
            self._early.drop()
            self._early = None

    def _is_waiting(self) -> bool:
        # It may be long until our turn, and the host is not to wait for us.
        self._drop_early()
        if self._leaving.is_set() or not threading.main_thread().is_alive():
            return False
        row = self.journal.get(self.number)
        return row is not None and row.state in delegation.OPEN

    def leave(self) -> None:
        '''begin nothing any more; what runs goes on to its end'''
        self._leaving.set()

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
            row = self._waiting.claim(self.number)
            if row is None:
                return
            state, fields, again = self._attempt(row)
            gone = self._leaving.is_set()
            if state != delegation.PENDING or not again or not left or gone:
                self.journal.end(row.number, state, **fields)
                return
            fields['reason'] += delegation.TRYING_AGAIN % pause
            self.journal.end(row.number, state, **fields)
            self.news.set()
            if self._leaving.wait(pause):
                return
            pause *= 2
            left -= 1

    def _attempt(
        self, row: delegation.Delegation
    ) -> tuple[str, dict[str, Any], bool]:
        '''one session: the state that it leaves, the fields to record, and
        whether another attempt may come further'''
        log = output_log.Log(
            self.paths.log(row.id),
            self.target.output_limit,
            self.paths.mode,
            # A receiver tells an attempt after the first all of it again.
            anew=self.target.receiver,
        )
        drain = _Drain(log, self.target, self.news)
        began = time.monotonic()
        broken: session.SessionError | None = None
        try:
            end = self._session(row, drain)
        except session.SessionError as exc:
            broken = exc
            state, fields = self._broken(row, exc)
        else:
            state, fields = _verdict(end)
        finally:
            drain.close()
            log.close()
        if log.last_error:
            self.journal.last_error = journalmod.JournalError(
                'the output cannot be kept: %s' % log.last_error,
                'see who may write .hg/delegate/log, and how full the disk is',
            )
        cancelled_by = self._cancelled_by(row)
        if broken and (cancelled_by or isinstance(broken, session.Expired)):
            state, fields = self._end_there(row, state, fields)
        if cancelled_by and state != delegation.SUCCEEDED:
            state = delegation.CANCELLED
            fields['reason'] = 'cancelled by %s' % cancelled_by
            fields['remedy'] = self._left_behind
        fields['seconds'] = time.monotonic() - began
        again = not isinstance(broken, session.ConfigurationError)
        return state, fields, again

    def _end_there(
        self, row: delegation.Delegation, state: str, fields: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        '''end what the receiver goes on with without us; what that came to'''
        if not self.target.receiver:
            return state, fields
        begun = bool(fields.get('exec_sent_at', True))
        said = remote_cancel.end(self.target, self.journal, row, begun)
        if said == delegation.SUCCEEDED:
            return said, {'status': 0}
        self._left_behind = '' if said else delegation.NOT_ENDED
        return state, {
            **fields,
            'remedy': self._left_behind or fields['remedy'],
        }

    def _cancelled_by(self, row: delegation.Delegation) -> str | None:
        try:
            current = self.journal.get(row.number)
        except journalmod.JournalError:
            # no reason to end what runs well
            return None
        return current.cancelled_by if current else None

    def _open(self) -> session.Session:
        '''the session that was begun early, once; else a new one'''
        begun, self._early = self._early, None
        return (begun and begun.take()) or connection.connect(self.target)

    def _session(
        self, row: delegation.Delegation, drain: _Drain
    ) -> session.End:
        target = self.target
        data = _object(self.paths, self.journal, row)
        told_at: list[float] = []
        with self._open() as opened:

            def tick() -> None:
                drain.tick()
                if not self._cancelled_by(row):
                    return
                if target.receiver and not told_at:
                    told_at.append(time.monotonic())
                    # Where it cannot be told, the channel is closed later.
                    remote_cancel.end(target, self.journal, row)
                elif not told_at:
                    self._left_behind = delegation.GOES_ON
                    opened.cancel()
                elif time.monotonic() - told_at[0] > remote_cancel.GRACE:
                    self._left_behind = delegation.NOT_ENDED
                    opened.cancel()

            self.journal.note_exec(row.number)
            return opened.execute(
                target.command or protocol.command(target.name, row.node),
                data,
                drain.receive,
                tick,
                idle_timeout=target.idle_timeout,
                timeout=target.timeout,
            )

    def _broken(
        self, row: delegation.Delegation, exc: session.SessionError
    ) -> tuple[str, dict[str, Any]]:
        fields: dict[str, Any] = {
            'reason': exc.reason,
            'remedy': exc.remedy,
            'detail': exc.detail,
        }
        if not exc.started:
            # an earlier attempt may have come further
            return delegation.PENDING, {
                **fields,
                'exec_sent_at': row.exec_sent_at,
            }
        if isinstance(exc, session.Expired):
            return delegation.FAILED, fields
        # The receiver answers for an id that it has seen; a script would run
        # it twice.
        if self.target.receiver:
            return delegation.PENDING, fields
        return delegation.LOST, fields


def _verdict(end: session.End) -> tuple[str, dict[str, Any]]:
    fields: dict[str, Any] = {'status': end.status, 'signal': end.signal}
    if end.status == 0:
        return delegation.SUCCEEDED, fields
    if end.signal is not None:
        fields['reason'] = 'killed by signal %s' % end.signal
    else:
        fields['reason'] = 'exit status %s' % end.status
    return delegation.FAILED, fields


def _object(
    paths: files.Paths,
    journal: journalmod.Journal,
    row: delegation.Delegation,
) -> bytes:
    box = outbox.read_file(paths.outbox)
    pushes = outbox.pushes(box, journal.carried(row.number))
    repository = {'name': paths.name, 'root': paths.root}
    return protocol.compose(repository, row, pushes)
