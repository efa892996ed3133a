# launcher.py - begin to delegate, here or in a process of its own
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''begin to delegate what a desk has, and follow it'''

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial import extensions, pycompat, ui as uimod
from mercurial.i18n import _

from .. import imports
from ..config import targets
from ..report import follower as followermod, wording
from . import dispatcher

# hg, with the modules that this process has found
_HG = (
    'import sys; sys.path[:] = %r; '
    'import hgdemandimport; hgdemandimport.enable(); '
    'from mercurial import dispatch; dispatch.run()'
)
# what decides whether and where it delegates
_SECTIONS = (b'extensions', b'revsetalias', b'trusted', targets.SECTION)


def run(desk: dispatcher.Desk, jobs: dispatcher.Jobs) -> bool:
    '''delegate in this process; True when all of it succeeded'''
    news = threading.Event()
    followers = start(desk, jobs, news)
    return _follow(desk, followers, news) and len(followers) == len(jobs)


def start(
    desk: dispatcher.Desk, jobs: dispatcher.Jobs, news: threading.Event
) -> list[followermod.Follower]:
    '''start a worker for each of ``jobs``; none if that is impossible'''
    delivery = _delivery(desk) if jobs else None
    if not delivery:
        return []
    for target, number in jobs:
        desk.prepare(target, number)
        desk.workers.append(
            delivery.Worker(
                target,
                number,
                desk.paths,
                desk.journal,
                desk.history,
                news,
                desk.early_connections.pop(target.name, None),
            )
        )
    followers = [
        desk.follower(target.name, number, worker.is_alive)
        for (target, number), worker in zip(jobs, desk.workers)
    ]
    for worker in desk.workers:
        worker.start()
    return followers


def _delivery(desk: dispatcher.Desk) -> Any:
    '''the module that delegates; None, which is said, without paramiko'''
    try:
        with imports.complete():
            from . import worker
        return worker
    except ImportError as exc:
        desk.voice.warn(*wording.of_import(exc))
        return None


def watch(desk: dispatcher.Desk, jobs: dispatcher.Jobs) -> bool:
    '''delegate in a process of its own and follow it

    For a push by path: its process ends when the pusher presses ^C.
    '''
    if not jobs or not desk.journal.persistent:
        return run(desk, jobs)
    if not _delivery(desk):
        return False
    process = _detach(desk, jobs)
    followers = [
        desk.follower(target.name, number, lambda: process.poll() is None)
        for target, number in jobs
    ]
    return _follow(desk, followers, threading.Event())


def leave(desk: dispatcher.Desk, jobs: dispatcher.Jobs) -> None:
    '''let a process of its own delegate ``jobs``, and wait for nothing'''
    if not jobs or not _delivery(desk):
        return
    process = _detach(desk, jobs)
    # A server process would keep what is left of it.
    threading.Thread(target=process.wait, daemon=True).start()
    for target, number in jobs:
        name = pycompat.sysbytes(target.name)
        if desk.journal.persistent:
            line = _(b'%s: handed over as delegation %d') % (name, number)
        else:
            # the number is one of ours alone
            line = _(b'%s: handed over') % name
        desk.voice.say(line)


def _follow(
    desk: dispatcher.Desk,
    followers: Sequence[followermod.Follower],
    news: threading.Event,
) -> bool:
    followermod.follow(followers, news)
    desk.complain()
    return all(follower.succeeded for follower in followers)


def _detach(
    desk: dispatcher.Desk, jobs: dispatcher.Jobs
) -> subprocess.Popen[bytes]:
    '''start a process of the server account that delegates ``jobs``

    It shares no file with this one, so that nothing of it keeps a pusher's
    connection open.
    '''
    names = [target.name for target, _number in jobs]
    return subprocess.Popen(
        [
            *(_python(), '-c', _HG % sys.path, '-R', desk.paths.root),
            *_overrides(desk.ui, desk.baseui),
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
    '''what was given with --config or in a web server's own file, and that
    this extension is enabled, which the classic hook line does without

    ``ui`` is ``baseui`` with what the repository's own files say.
    '''
    again = uimod.ui.load()
    for section in _SECTIONS:
        known = dict(again.configitems(section))
        for key, value in baseui.configitems(section):
            # where the repository says otherwise, that counts there as here
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
