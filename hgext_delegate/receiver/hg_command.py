# SPDX-License-Identifier: GPL-2.0-or-later
'''a command of Mercurial's in this process, and a lock in its way'''

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from mercurial import dispatch, lock as lockmod

try:
    from mercurial.main_script import request
except ImportError:  # hg <= 7.1
    from mercurial.dispatch import request


def run(words: Sequence[str], out: BinaryIO, error: BinaryIO) -> int:
    '''its exit status; an exception that Mercurial does not know is raised'''
    asked = request(list(map(os.fsencode, words)), fout=out, ferr=error)
    return dispatch.dispatch(asked)


@contextlib.contextmanager
def output() -> Iterator[BinaryIO]:
    '''a file that takes what hg prints, and all programs that it starts

    In memory where the system has that: the disk may be full.
    '''
    if hasattr(os, 'memfd_create'):
        fd = os.memfd_create('output')
    else:
        fd, path = tempfile.mkstemp()
        os.unlink(path)
    saved = [os.dup(number) for number in (1, 2)]
    for number in (1, 2):
        os.dup2(fd, number)
    try:
        with open(fd, 'w+b', 0) as file:
            yield file
    finally:
        for number, old in zip((1, 2), saved):
            os.dup2(old, number)
            os.close(old)


def break_foreign_lock(path: str, wait: float) -> str | None:
    '''remove a lock that another host or container has left; whose it was

    Mercurial cannot know whether a process there lives, and would wait.
    ``wait`` in seconds: how old the lock must be.
    '''
    own = os.fsdecode(lockmod._getlockprefix())
    give_up = time.monotonic() + wait
    while True:
        try:
            holder = os.readlink(path)
            age = time.time() - os.lstat(path).st_mtime
        except OSError:  # mostly there is none
            return None
        if holder.rpartition(':')[0] == own:
            return None
        if age > wait or time.monotonic() > give_up:
            os.unlink(path)
            return holder
        time.sleep(0.1)
