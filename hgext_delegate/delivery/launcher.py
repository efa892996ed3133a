# SPDX-License-Identifier: GPL-2.0-or-later
'''begin to delegate, here or in a process of its own, and follow it'''

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mercurial import error, extensions, ui as uimod

from .. import imports
from ..config import targets as targetsmod
from ..report import follower as followermod, printer as printermod, wording
from ..state import delegation, files, journal as journalmod
from . import dispatcher as dispatchermod, queue

if TYPE_CHECKING:
    # it imports paramiko, which only a delegation needs
    from . import worker as workermod

# hg, with the modules that this process has found
_HG = (
    'import sys; sys.path[:] = %r; '
    'import hgdemandimport; hgdemandimport.enable(); '
    'from mercurial import dispatch; dispatch.run()'
)
# the configuration that decides whether and where it delegates
_SECTIONS = (b'extensions', b'revsetalias', b'trusted', targetsmod.SECTION)


class Launcher:
    '''delegates what ``dispatcher`` has found'''

    def __init__(self, dispatcher: dispatchermod.Dispatcher):
        self.dispatcher = dispatcher
        self.workers: list[workermod.Worker] = []
        # logins that began when the push arrived, by target
        self._early = getattr(
            dispatcher.repo, '_delegate_early_connections', {}
        )

    def run(self, jobs: dispatchermod.Jobs) -> bool:
        '''delegate in this process; True when all of it succeeded'''
        news = threading.Event()
        followers = self.start(jobs, news)
        return self._follow(followers, news) and len(followers) == len(jobs)

    def start(
        self, jobs: dispatchermod.Jobs, news: threading.Event
    ) -> list[followermod.Follower]:
        '''start a worker for each of ``jobs``; [] without paramiko'''
        if not jobs or not self._can_log_in():
            return []
        from . import worker as workermod

        dispatcher = self.dispatcher
        journal = dispatcher.journal
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
            )
            early = self._early.pop(target.name, None)
            self.workers.append(workermod.Worker(task, early))
        followers = [
            self._follower(target, number, worker.is_alive)
            for (target, number), worker in zip(jobs, self.workers)
        ]
        for worker in self.workers:
            worker.start()
        return followers

    def run_detached(self, jobs: dispatchermod.Jobs) -> bool:
        '''delegate in a process of its own and follow it

        For a push by path: its process ends when the pusher presses ^C.
        '''
        if not jobs or not self._can_log_in():
            return not jobs
        process = _detach(self.dispatcher.repo, jobs)
        followers = [
            self._follower(target, number, lambda: process.poll() is None)
            for target, number in jobs
        ]
        return self._follow(followers, threading.Event())

    def hand_over(self, jobs: dispatchermod.Jobs) -> None:
        '''let a process of its own delegate ``jobs``, and wait for nothing'''
        if not jobs or not self._can_log_in():
            return
        process = _detach(self.dispatcher.repo, jobs)
        # or it would stay a zombie of a server process
        threading.Thread(target=process.wait, daemon=True).start()
        for target, number in jobs:
            line = wording.of(target.name, wording.HANDED_OVER % number)
            self.dispatcher.printer.say(line)

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
        self.dispatcher.journal.close()

    def _can_log_in(self) -> bool:
        '''load the workers; False, with a warning, without paramiko'''
        try:
            with imports.complete():
                from . import worker  # noqa: F401
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
    journal = journalmod.open(paths.journal, paths.mode)
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


def _detach(repo, jobs: dispatchermod.Jobs) -> subprocess.Popen[bytes]:
    '''start a process of the server account that delegates ``jobs``

    It inherits no file, which would keep a pusher's connection open.
    '''
    names = [target.name for target, _number in jobs]
    return subprocess.Popen(
        [
            *(_python(), '-c', _HG % sys.path),
            *('-R', os.fsdecode(repo.root)),
            *_overrides(repo.ui, repo.baseui),
            *('delegate', '--pending', '--', *names),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _python() -> str:
    '''the interpreter of this process, also where a web server has it'''
    if re.match('python|pypy', os.path.basename(sys.executable or '')):
        return sys.executable
    # uWSGI for one names itself there
    return os.path.join(sys.prefix, 'bin', 'python3')


def _overrides(ui, baseui) -> Iterator[str]:
    '''the options for what no file says that a new hg reads

    That is what was given with --config or in a web server's own file, and
    the extension itself, which the classic hook line does not enable. ``ui``
    is ``baseui`` with what the repository's own files say.
    '''
    again = uimod.ui.load()
    for section in _SECTIONS:
        known = dict(again.configitems(section))
        for key, value in baseui.configitems(section):
            # what the repository's own files say is read there as well
            if known.get(key) != value == ui.config(section, key):
                yield from _config(section, key, value)
    ours = imports.extension()
    name = next((n for n, m in extensions.extensions() if m is ours), None)
    (folder,) = ours.__path__
    if name is None or again.config(b'extensions', name) is None:
        name = name or b'hgext_delegate'
        yield from _config(b'extensions', name, os.fsencode(folder))


def _config(section: bytes, key: bytes, value: bytes) -> tuple[str, str]:
    return '--config', os.fsdecode(b'%s.%s=%s' % (section, key, value))
