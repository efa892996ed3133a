# SPDX-License-Identifier: GPL-2.0-or-later
'''jobs that run one after the other, beside those of other lanes

Each runs in a process that can be ended, and none longer than a minute. What
it does, and what becomes of it, is its caller's.
'''

from __future__ import annotations

import collections
import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator

from mercurial import error

# in seconds, for each process
_LIMIT = 60.0
# in seconds: what runs for longer is not waited for
_SHORT = 2.0
# in bytes: how much of what went wrong is kept
MOST_SAID = 2000
# exit statuses
_FAILED, _NOT_BEGUN = 1, 2


class Lane:
    '''runs jobs, which are iterators of the processes that they wait for'''

    def __init__(self) -> None:
        self._jobs: collections.deque[Iterator[Child]] = collections.deque()
        self.child: Child | None = None

    def add(self, job: Iterator[Child]) -> None:
        self._jobs.append(job)

    def go_on(self) -> None:
        '''do what can be done without waiting'''
        while self._jobs and (self.child is None or self.child.is_over()):
            self.child = next(self._jobs[0], None)
            if self.child is None:
                self._jobs.popleft()

    def has_just_begun(self) -> bool:
        now = time.monotonic()
        return self.child is not None and now < self.child.began + _SHORT


def wait(lanes: Iterable[Lane], seconds: float) -> bool:
    '''until a process may have ended, or so long; False if none runs'''
    children = [lane.child for lane in lanes if lane.child]
    if children:
        select.select(children, [], [], seconds)
    return bool(children)


class Child:
    '''does what ``prepare`` returns, in a process that is ended with all that
    it starts

    What a hook that is done in time has left running goes on.
    '''

    def __init__(self, prepare: Callable[[], Callable[[], object]]):
        self.began = time.monotonic()
        self._said, theirs = os.pipe()
        # why it failed, or None
        self.said: str | None = None
        # whether it has certainly done nothing
        self.has_not_begun = False
        self._pid = os.fork()
        if not self._pid:
            _do(prepare, theirs)
        os.close(theirs)

    def fileno(self) -> int:
        return self._said

    def is_over(self) -> bool:
        '''once it has said something, ended, or run for too long'''
        is_late = time.monotonic() >= self.began + _LIMIT
        has_ended = bool(select.select([self], [], [], 0)[0])
        if not has_ended and not is_late:
            return False
        text = os.read(self._said, MOST_SAID) if has_ended else b''
        if not has_ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
        status = os.waitpid(self._pid, 0)[1]
        os.close(self._said)
        self.has_not_begun = status == _NOT_BEGUN << 8
        self.said = text.decode('utf-8', 'replace') or None
        if not has_ended:
            self.said = 'ended after %d s' % _LIMIT
        elif status:
            self.said = self.said or 'it was killed'
        return True


def _do(prepare: Callable[[], Callable[[], object]], said: int) -> None:
    '''the work of the process, which ends here'''
    os.setsid()
    status = _NOT_BEGUN
    try:
        job = prepare()
        status = _FAILED
        job()
        status = 0
    except error.Abort as exc:
        os.write(said, exc.message[-MOST_SAID:])
    except BaseException as exc:  # noqa: BLE001 - it is a child
        text = getattr(exc, 'strerror', None)
        text = text or f'{type(exc).__name__}: {exc}'[:MOST_SAID]
        os.write(said, text.encode('utf-8', 'replace'))
    finally:
        os._exit(status)
