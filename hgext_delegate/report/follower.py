# SPDX-License-Identifier: GPL-2.0-or-later
'''how the pusher hears a delegation: its lines as they come, then its end

It reads the log and the journal, which the worker writes. The worker does not
know it: a pusher who stops or goes away delays nobody.
'''

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..state import (
    delegation,
    files,
    journal as journalmod,
    output_log,
    statistics,
    target_lock,
)
from . import printer as printermod, progress, wording

# How often a delegation in another process is polled, in seconds; and how
# often the journal is read at most where there is news but no output.
GLANCE = 0.1
_SHORTEST = 0.01

# How many pieces of a log are told in one round: an audience that buffers
# what is said, for an HTTP reply, holds no more.
_PIECES = 4

# When a pusher who waits for a turn is told so, in seconds; then each minute.
_REMINDERS = (1, 10, 30)


@dataclasses.dataclass(eq=False)
class Follower:
    '''tells ``printer`` of the delegation ``number`` to ``target``

    ``works`` returns whether a worker for this pusher is still alive.
    '''

    printer: printermod.Printer
    journal: journalmod.Journal
    paths: files.Paths
    target: str
    number: int
    works: Callable[[], bool]

    def __post_init__(self) -> None:
        self.succeeded = False
        # whether there is more to tell than one round takes
        self.is_behind = False
        self._since = time.time()
        self._began = time.monotonic()
        self._looked = 0.0
        self._told = ''
        self._reminders = itertools.chain(_REMINDERS, itertools.count(60, 60))
        self._remind_at = next(self._reminders)
        self._heard: int | None = None
        self._detailed = (0, 0)
        self._reader: output_log.Reader | None = None
        self._progress: Any = None

    def begin(self) -> None:
        '''show what Mercurial has said of the push, and a progress bar'''
        self.printer.flush()
        usual = statistics.usual(self.journal, self.target)
        topic = progress.waiting(self.target, usual)
        self._progress = self.printer.progress(topic, usual)

    def wait(self) -> None:
        '''show in the progress bar how long nothing was printed yet'''
        if self._progress:
            waited = int(time.monotonic() - self._began)
            if waited > (self._progress.total or 0):
                self._progress.total = None
            self._progress.update(waited)

    def poll(self) -> bool:
        '''tell what is new; True after the end was told'''
        works = self.works()
        pause = GLANCE if self._read() else _SHORTEST
        if works and time.monotonic() - self._looked < pause:
            return False
        row = self.journal.get(self.number)
        self._looked = time.monotonic()
        if row is None:
            self.printer.warn(self._of(wording.RECORD_GONE))
            return True
        # what runs for this one: itself, or what it is merged into
        runs = (row.merged_into and self.journal.get(row.merged_into)) or row
        self._listen(runs)
        self._read()
        if self.is_behind:
            return False
        if row.state in delegation.OPEN and works:
            self._explain(row, runs)
            return False
        self._conclude(row, runs)
        return True

    def close(self) -> None:
        self._stop_waiting()
        self._read_from(None)

    def _read_from(self, reader: output_log.Reader | None) -> None:
        if self._reader:
            self._reader.close()
        self._reader = reader

    def _stop_waiting(self) -> None:
        if self._progress:
            self._progress.complete()
            self._progress = None

    def _listen(self, runs: delegation.Delegation) -> None:
        if self._heard != runs.number:
            if runs.number != self.number:
                # The output of what superseded this one long ago is no news.
                # But a quick one may have begun and ended since the last look.
                news = (runs.began or 0.0) >= self._since
                if runs.state != delegation.RUNNING and not news:
                    return
                self.printer.say(self._of(progress.takes_along(runs)))
            self._read_from(None)
            self._heard = runs.number
        attempt = (runs.number, runs.attempt)
        if runs.began is not None and attempt != self._detailed:
            self._detailed = attempt
            waited = max(0.0, runs.began - runs.created)
            self.printer.note(self._of(progress.attempt(runs, waited)))
        if self._reader is None and runs.began is not None:
            with contextlib.suppress(OSError):  # there may be none yet
                self._read_from(output_log.Reader(self.paths.log(runs.id)))

    def _read(self) -> bool:
        '''show the new lines; whether there were some'''
        came = False
        for _piece in range(_PIECES):
            lines = self._reader.read() if self._reader else b''
            self.is_behind = bool(lines)
            if not lines:
                break
            came = True
            self._stop_waiting()
            self.printer.relay(self.target.encode('ascii'), lines)
        return came

    def _explain(
        self, row: delegation.Delegation, runs: delegation.Delegation
    ) -> None:
        '''say what a pending one waits for'''
        if row.state != delegation.PENDING or runs is not row:
            return
        reason, again, pause = row.reason.partition(delegation.AGAIN)
        if again and row.reason != self._told:
            self._told = row.reason
            line = self._of(wording.text(reason))
            self.printer.say(line, progress.trying_again(pause))
        waited = time.monotonic() - self._began
        # what has had its turn is over otherwise: _conclude() tells that
        had_turn = (row.began or 0.0) >= self._since
        if again or had_turn or waited < self._remind_at:
            return
        if row.remedy.startswith(delegation.ONCE):
            self._remind_at = next(self._reminders)
            self.printer.say(self._of(progress.waiting_until(row, waited)))
            return
        other = self.journal.at_work(self.target)
        if other or target_lock.is_held(self.paths.lock(self.target)):
            self._remind_at = next(self._reminders)
            usual = statistics.usual(self.journal, self.target)
            line = progress.waiting_for(other, self.target, waited, usual)
            self.printer.say(line)

    def _conclude(
        self, row: delegation.Delegation, runs: delegation.Delegation
    ) -> None:
        self.close()
        superseded = row.state == delegation.SUPERSEDED
        if not superseded:
            runs = row
        line, hints = wording.verdict(runs)
        if superseded and self._heard != runs.number:
            line, hints = wording.superseded_by(runs)
        good = (delegation.SUCCEEDED, delegation.PASSED)
        self.succeeded = runs.state in good
        speak = self.printer.say if self.succeeded else self.printer.warn
        label = b'delegate.state.' + runs.state.encode('ascii')
        speak(self._of(line), *hints, label=label)

    def _of(self, line: bytes) -> bytes:
        return wording.of(self.target, line)


def follow(followers: Sequence[Follower], news: threading.Event) -> None:
    '''tell of all ``followers`` side by side, each until its end'''
    for follower in followers:
        follower.begin()
    for left in rounds(followers, news):
        for follower in left[:1]:
            follower.wait()


def rounds(
    followers: Sequence[Follower], news: threading.Event
) -> Iterator[Sequence[Follower]]:
    '''poll ``followers`` until the end of all; ``news`` wakes it

    Yields, after each round, those that have more to tell.
    '''
    left = list(followers)
    try:
        while left:
            news.clear()
            left = [follower for follower in left if not follower.poll()]
            yield left
            if left and not any(follower.is_behind for follower in left):
                news.wait(GLANCE)
    finally:
        for follower in followers:
            follower.close()
