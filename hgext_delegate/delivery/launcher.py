# SPDX-License-Identifier: GPL-2.0-or-later
'''begin to delegate, here or in a process of its own, and follow it'''

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mercurial import error

from .. import imports
from ..config import targets as targetsmod
from ..report import follower as followermod, printer as printermod, wording
from ..state import delegation, files, journal as journalmod
from . import detached, dispatcher as dispatchermod, queue

if TYPE_CHECKING:
    # it imports paramiko, which only a delegation needs
    from . import worker as workermod


class Launcher:
    '''delegates what ``dispatcher`` has found'''

    def __init__(self, dispatcher: dispatchermod.Dispatcher):
        self.dispatcher = dispatcher
        self.workers: list[workermod.Worker] = []
        # logins that began when the push arrived, by target
        self._early = getattr(
            dispatcher.repo, '_delegate_early_connections', {}
        )

    def run(self, jobs: dispatchermod.Jobs, regardless: bool = False) -> bool:
        '''delegate in this process; True when all of it succeeded

        With ``regardless`` nothing waits for the target before its own.
        '''
        news = threading.Event()
        followers = self.start(jobs, news, regardless)
        return self._follow(followers, news) and len(followers) == len(jobs)

    def start(
        self,
        jobs: dispatchermod.Jobs,
        news: threading.Event,
        regardless: bool = False,
    ) -> list[followermod.Follower]:
        '''start a worker for each of ``jobs``; [] without paramiko'''
        if not jobs or not self._can_log_in():
            return []
        from . import worker as workermod

        dispatcher = self.dispatcher
        journal = dispatcher.journal
        workers: dict[str, workermod.Worker] = {}
        for target, number in jobs:
            row = journal.get(number)
            last = journal.last(target.name, delegation.SUCCEEDED)
            if row:
                # answer now what the worker will ask
                node = last.node if last else row.node
                dispatcher.history.learn(dispatcher.repo, row.node, node)
            task = queue.Task(
                target,
                number,
                dispatcher.paths,
                journal,
                dispatcher.history,
                news,
                regardless,
                dispatcher.teller,
            )
            early = self._early.pop(target.name, None)
            before = workers.get(target.after or '')
            workers[target.name] = workermod.Worker(task, early, before)
        self.workers += workers.values()
        followers = [
            self._follower(target, number, workers[target.name].is_alive)
            for target, number in jobs
        ]
        for worker in workers.values():
            worker.start()
        return followers

    def run_detached(self, jobs: dispatchermod.Jobs) -> bool:
        '''delegate in a process of its own and follow it; as run() does'''
        followers = self.detach(jobs)
        good = self._follow(followers, threading.Event())
        return good and len(followers) == len(jobs)

    def detach(self, jobs: dispatchermod.Jobs) -> list[followermod.Follower]:
        '''delegate in a process of its own, where this one may end early

        That is a push by path, which ends when the pusher presses ^C, and one
        over HTTP, which ends with the web server's worker.
        '''
        process = self._detach(jobs)
        if not process:
            return []
        return [
            self._follower(target, number, lambda: process.poll() is None)
            for target, number in jobs
        ]

    def hand_over(self, jobs: dispatchermod.Jobs) -> None:
        '''let a process of its own delegate ``jobs``, and wait for nothing'''
        for target, number in jobs:
            # each of its own: the next push to one of them relies on it
            if not self._detach([(target, number)], followed=False):
                return
            line = wording.of(target.name, wording.HANDED_OVER % number)
            self.dispatcher.printer.say(line)

    def _detach(self, jobs: dispatchermod.Jobs, followed: bool = True):
        if not jobs or not self._can_log_in(here=False):
            return None
        names = [target.name for target, _number in jobs]
        return detached.start(self.dispatcher.repo, names, followed)

    def close(self) -> None:
        '''wait for the workers, which need the journal, and close it

        They are not cut short when this process is told to end.
        '''
        for worker in self.workers:
            worker.leave()
        for worker in self.workers:
            while worker.is_alive():
                with contextlib.suppress(
                    KeyboardInterrupt, error.SignalInterrupt
                ):
                    worker.join()
        self.dispatcher.tell()
        self.dispatcher.journal.close()

    def _can_log_in(self, here: bool = True) -> bool:
        '''load the workers if it is ``here`` that they run; False, with a
        warning, without paramiko'''
        try:
            if here:
                with imports.complete():
                    from . import worker  # noqa: F401
            elif importlib.util.find_spec('paramiko') is None:
                raise ImportError(name='paramiko')
        except ImportError as exc:
            self.dispatcher.printer.warn(*wording.of_import(exc))
            return False
        return True

    def _follower(
        self, target: targetsmod.Target, number: int, works: Callable[[], bool]
    ) -> followermod.Follower:
        dispatcher = self.dispatcher
        return followermod.Follower(
            dispatcher.printer,
            dispatcher.journal,
            dispatcher.paths,
            target.name,
            number,
            works,
        )

    def _follow(
        self, followers: Sequence[followermod.Follower], news: threading.Event
    ) -> bool:
        followermod.follow(followers, news)
        self.dispatcher.report_journal()
        return all(follower.succeeded for follower in followers)


@contextlib.contextmanager
def open(ui, repo) -> Iterator[Launcher]:
    '''a Launcher for ``repo``, whose folder and journal are made if need be

    Raises FolderError and JournalError.
    '''
    paths = files.make(repo)
    journal = journalmod.open(paths.journal)
    try:
        printer = printermod.Printer(ui)
        dispatcher = dispatchermod.Dispatcher(printer, repo, paths, journal)
    except BaseException:
        journal.close()
        raise
    launcher = Launcher(dispatcher)
    try:
        yield launcher
    finally:
        launcher.close()
