# handover.py - begin to delegate, here or in a process of its own
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

from mercurial import pycompat, ui as uimod
from mercurial.i18n import _
from mercurial.utils import stringutil

from . import audience, desk as deskmod, eager, target as targetmod

# hg, with the modules that this process has found
_HG = (
    'import sys; sys.path[:] = %r; '
    'import hgdemandimport; hgdemandimport.enable(); '
    'from mercurial import dispatch; dispatch.run()'
)
# what decides whether and where it delegates
_SECTIONS = (b'extensions', b'trusted', targetmod.SECTION)


def run(desk: deskmod.Desk, jobs: deskmod.Jobs) -> bool:
    '''delegate in this process; True when all of it succeeded'''
    news = threading.Event()
    followers = start(desk, jobs, news)
    return _follow(desk, followers, news) and len(followers) == len(jobs)


def start(
    desk: deskmod.Desk, jobs: deskmod.Jobs, news: threading.Event
) -> list[audience.Follower]:
    '''start a worker for each of ``jobs``; none if that is impossible'''
    if not jobs:
        return []
    try:
        delivery = eager.load('delivery')
    except ImportError as exc:
        desk.voice.warn(
            _(b'cannot log in anywhere: %s') % stringutil.forcebytestr(exc),
            _(b'install paramiko for the Python that runs hg'),
        )
        return []
    for target, number in jobs:
        desk.prepare(target, number)
        desk.workers.append(
            delivery.Worker(
                target,
                number,
                desk.place,
                desk.journal,
                desk.history,
                news,
                desk.openings.pop(target.name, None),
            )
        )
    followers = [
        desk.follower(target.name, number, worker.is_alive)
        for (target, number), worker in zip(jobs, desk.workers)
    ]
    for worker in desk.workers:
        worker.start()
    return followers


def watch(desk: deskmod.Desk, jobs: deskmod.Jobs) -> bool:
    '''delegate in a process of its own and follow it

    For a push by path: its process ends when the pusher presses ^C.
    '''
    if not jobs or not desk.journal.persistent:
        return run(desk, jobs)
    process = _detach(desk, jobs)
    followers = [
        desk.follower(target.name, number, lambda: process.poll() is None)
        for target, number in jobs
    ]
    return _follow(desk, followers, threading.Event())


def leave(desk: deskmod.Desk, jobs: deskmod.Jobs) -> None:
    '''let a process of its own delegate ``jobs``, and wait for nothing'''
    if jobs:
        _detach(desk, jobs)
    for target, number in jobs:
        desk.voice.say(
            _(b'%s: handed over as delegation %d')
            % (pycompat.sysbytes(target.name), number)
        )


def _follow(
    desk: deskmod.Desk,
    followers: Sequence[audience.Follower],
    news: threading.Event,
) -> bool:
    audience.follow(followers, news)
    desk.complain()
    return all(follower.succeeded for follower in followers)


def _detach(desk: deskmod.Desk, jobs: deskmod.Jobs) -> subprocess.Popen[bytes]:
    '''start a process of the server account that delegates ``jobs``

    It shares no file with this one, so that nothing of it keeps a pusher's
    connection open.
    '''
    names = [target.name for target, _number in jobs]
    return subprocess.Popen(
        [
            *(_python(), '-c', _HG % sys.path, '-R', desk.place.root),
            *_overrides(desk.baseui),
            *('delegate', '--pending', '--', *names),
        ],
        cwd='/',
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


def _overrides(baseui) -> Iterator[str]:
    '''what was given with --config or in a web server's own file'''
    again = uimod.ui.load()
    for section in _SECTIONS:
        known = dict(again.configitems(section))
        for key, value in baseui.configitems(section):
            if known.get(key) != value:
                item = b'%s.%s=%s' % (section, key, value)
                yield from ('--config', os.fsdecode(item))
