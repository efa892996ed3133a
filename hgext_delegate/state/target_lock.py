# SPDX-License-Identifier: GPL-2.0-or-later
'''the turn of a target: one process at a time delegates to it'''

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator

from .. import errors
from . import files


class LockError(errors.DelegateError):
    '''the lock of a target cannot be taken'''


@contextlib.contextmanager
def turn(
    paths: files.Paths,
    target: str,
    patience: float,
    is_waiting: Callable[[], bool],
) -> Iterator[bool]:
    '''hold the lock of ``target``; False if that was given up

    It is given up once ``is_waiting`` returns False, or after ``patience``
    seconds. Raises LockError.

    This is a kernel lock: it is free when its process is dead, no child
    inherits it, and it separates the threads of one hgweb as well.
    '''
    deadline = time.monotonic() + patience
    pause = 0.02
    try:
        fd = _open(paths.lock(target))
    except OSError as exc:
        raise LockError(
            'cannot lock %s: %s' % (target, exc.strerror),
            'see who may write .hg/delegate/%s.lock' % target,
        ) from exc
    _held.add(fd)
    try:
        while not _acquired(fd):
            if not is_waiting() or time.monotonic() > deadline:
                yield False
                return
            time.sleep(pause)
            pause = min(2 * pause, 0.25)
        yield True
    finally:
        if fd in _held:
            _held.remove(fd)
            os.close(fd)


# A program that is started does not inherit them (PEP 446). A process that
# somebody's hook in another thread has only forked must close them.
_held: set[int] = set()


def _let_go() -> None:
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)


def acquire(file: files.File) -> int | None:
    '''the descriptor that holds the lock ``file``; None where another does

    It is let go by closing it, in all processes that have inherited it.
    '''
    fd = _open(file)
    if _acquired(fd):
        return fd
    os.close(fd)
    return None


def is_held(file: files.File) -> bool:
    '''whether any process has the lock ``file``, or that cannot be told'''
    try:
        fd = file.open(os.O_RDONLY)
    except OSError as exc:
        return not isinstance(exc, FileNotFoundError)
    try:
        return not _acquired(fd)
    finally:
        os.close(fd)


def _open(file: files.File) -> int:
    # flock() needs no right to write: the file may be another account's
    return file.make(os.O_RDONLY, is_lock=True)


def _acquired(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
