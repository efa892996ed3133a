# handover.py - begin to delegate, here or in a process of its own
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''begin to delegate what a desk has, and follow it'''

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

from mercurial import pycompat
from mercurial.i18n import _
from mercurial.utils import stringutil

from . import audience, desk as deskmod, eager, target as targetmod

_HG = (
    'import hgdemandimport; hgdemandimport.enable(); '
    'from mercurial import dispatch; dispatch.run()'
)


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
            *(sys.executable, '-c', _HG, '-R', desk.place.root),
            *_overrides(desk.ui),
            *('delegate', '--pending', '--', *names),
        ],
        cwd='/',
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _overrides(ui) -> Iterator[str]:
    '''what was given with --config, for nothing else reads it again'''
    for section in (b'extensions', targetmod.SECTION):
        for key, value in ui.configitems(section):
            if ui.configsource(section, key) == b'--config':
                item = b'%s.%s=%s' % (section, key, value)
                yield from ('--config', os.fsdecode(item))
