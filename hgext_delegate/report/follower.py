# follower.py - how the pusher hears a delegation
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''how the pusher hears a delegation: its lines as they come, then its end

The audience reads what the worker writes, the log and the journal, and never
the other way round: a pusher who stops or goes away reads no further, and
nobody waits for him.
'''

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..state import delegation, files, journal as journalmod, output_log
from . import printer as printermod, wording

# How often a delegation in another process is looked at, in seconds.
GLANCE = 0.1

# what TRYING_AGAIN begins with; the pause follows
_AGAIN = delegation.TRYING_AGAIN.partition('%')[0]

# When a pusher who waits for a turn is told so, in seconds; then every minute.
_REMINDERS = (1, 10, 30)


class Follower:
    '''tells ``printer`` of the delegation ``number`` to ``target``

    ``works`` says whether somebody still works on it for this pusher.
    '''

    def __init__(
        self,
        printer: printermod.Printer,
        journal: journalmod.Journal,
        paths: files.Paths,
        target: str,
        number: int,
        works: Callable[[], bool],
    ):
        self.succeeded = False
        self._printer = printer
        self._journal = journal
        self._paths = paths
        self._target = target
        self._number = number
        self._works = works
        self._since = time.time()
        self._began = time.monotonic()
        self._looked = 0.0
        self._told = ''
        self._reminded = 0
        self._heard: int | None = None
        self._detailed = (0, 0)
        self._reader: output_log.Reader | None = None
        self._progress: Any = None

    def begin(self) -> None:
        '''show what Mercurial has said of the push, and that we wait'''
        self._printer.flush()
        topic = wording.waiting(self._target)
        self._progress = self._printer.progress(topic)

    def wait(self) -> None:
        '''show how long nothing was printed yet, where that can be shown'''
        if self._progress:
            self._progress.update(int(time.monotonic() - self._began))

    def poll(self) -> bool:
        '''tell what is new; True when there is nothing more to come'''
        works = self._works()
        self._read()
        if works and time.monotonic() - self._looked < GLANCE:
            return False
        row = self._journal.get(self._number)
        self._looked = time.monotonic()
        if row is None:
            self._printer.warn(self._of(wording.record_gone()))
            return True
        runs = self._runs(row)
        self._listen(runs)
        self._read()
        if row.state in delegation.OPEN and works:
            self._explain(row, runs)
            return False
        self._conclude(row, runs)
        return True

    def close(self) -> None:
        self._stop_waiting()
        self._stop_reading()

    def _stop_reading(self) -> None:
        if self._reader:
            self._reader.close()
            self._reader = None

    def _stop_waiting(self) -> None:
        if self._progress:
            self._progress.complete()
            self._progress = None

    def _runs(self, row: delegation.Delegation) -> delegation.Delegation:
        '''the delegation that runs for ``row``: itself, or what took it'''
        return (row.merged_into and self._journal.get(row.merged_into)) or row

    def _listen(self, runs: delegation.Delegation) -> None:
        if self._heard != runs.number:
            if runs.number != self._number:
                # What superseded this one long ago has nothing new to say;
                # what was quick may have begun and ended since the last look.
                news = (runs.began or 0.0) >= self._since
                if runs.state != delegation.RUNNING and not news:
                    return
                self._printer.say(self._of(wording.takes_along(runs)))
            self._stop_reading()
            self._heard = runs.number
        self._detail(runs)
        if self._reader is None:
            with contextlib.suppress(OSError):  # it may not have begun
                self._reader = output_log.Reader(self._paths.log(runs.id))

    def _detail(self, runs: delegation.Delegation) -> None:
        '''under --verbose: its number, each attempt, how long it waited'''
        attempt = (runs.number, runs.attempt)
        if runs.began is None or attempt == self._detailed:
            return
        self._detailed = attempt
        waited = max(0.0, runs.began - runs.created)
        self._printer.note(self._of(wording.attempt(runs, waited)))

    def _read(self) -> None:
        while self._reader:
            lines = self._reader.read()
            if not lines:
                break
            self._stop_waiting()
            self._printer.relay(self._target.encode('ascii'), lines)

    def _explain(
        self, row: delegation.Delegation, runs: delegation.Delegation
    ) -> None:
        '''say what the pusher waits for, if it is not the deploy side'''
        if row.state != delegation.PENDING or runs is not row:
            return
        # A reason without it is final, and left to _conclude().
        reason, again, pause = row.reason.partition(_AGAIN)
        if again and row.reason != self._told:
            self._told = row.reason
            line = self._of(wording.text(reason))
            self._printer.say(line, wording.trying_again(pause))
        other = self._journal.running(self._target)
        waited = time.monotonic() - self._began
        if other and waited >= self._next_reminder():
            self._reminded += 1
            line = wording.waiting_for(other, self._target, waited)
            self._printer.say(line)

    def _next_reminder(self) -> int:
        if self._reminded < len(_REMINDERS):
            return _REMINDERS[self._reminded]
        return 60 * (self._reminded - len(_REMINDERS) + 1)

    def _conclude(
        self, row: delegation.Delegation, runs: delegation.Delegation
    ) -> None:
        self.close()
        if row.state != delegation.SUPERSEDED:
            runs = row
        good = runs.state == delegation.SUCCEEDED
        line, hints = wording.verdict(runs)
        if self._heard != runs.number and row.state == delegation.SUPERSEDED:
            line, hints = wording.superseded_by(runs)
        self.succeeded = good
        speak = self._printer.say if good else self._printer.warn
        label = b'delegate.state.' + runs.state.encode('ascii')
        speak(self._of(line), *hints, label=label)

    def _of(self, line: bytes) -> bytes:
        return wording.of(self._target, line)


def follow(followers: Sequence[Follower], news: threading.Event) -> None:
    '''tell all of them side by side, each until its end'''
    for follower in followers:
        follower.begin()
    for left in rounds(followers, news):
        for follower in left[:1]:
            follower.wait()


def rounds(
    followers: Sequence[Follower], news: threading.Event
) -> Iterator[Sequence[Follower]]:
    '''let ``followers`` tell what is new, time and again, to the end of all

    Yields, after each round, those that have more to tell.
    '''
    left = list(followers)
    try:
        while left:
            news.clear()
            left = [follower for follower in left if not follower.poll()]
            yield left
            if left:
                news.wait(GLANCE)
    finally:
        for follower in followers:
            follower.close()
