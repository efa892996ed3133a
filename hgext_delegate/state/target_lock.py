# target_lock.py - one process at a time delegates to a target
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''how the turn of a target is held: one process at a time delegates to it'''

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator

from .. import errors
from . import files


class LockError(errors.DelegateError):
    '''a lock cannot be taken'''


@contextlib.contextmanager
def turn(
    paths: files.Paths,
    target: str,
    patience: float,
    is_waiting: Callable[[], bool],
) -> Iterator[bool]:
    '''hold the lock of ``target``; False when waiting has no point any more

    That is once ``is_waiting`` returns False, or after ``patience`` seconds.
    Raises LockError.

    A kernel lock: it dies with its process, no child inherits it, and it
    keeps the threads of one hgweb apart as well.
    '''
    deadline = time.monotonic() + patience
    pause = 0.02
    try:
        fd = _open_lock(paths.lock(target), paths.mode)
    except OSError as exc:
        name = os.path.basename(paths.lock(target))
        raise LockError(
            'cannot lock %s: %s' % (target, exc.strerror),
            'see who may write .hg/delegate/%s' % name,
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


# A program that is started does not get them (PEP 446); a process that is
# only forked, by somebody's hook in another thread, must let go of them.
_held: set[int] = set()


def _let_go() -> None:
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)


def acquire(path: str, mode: int | None = None) -> int | None:
    '''the descriptor that holds the lock ``path``; None where another does

    It is let go by closing it, in all processes that have inherited it.
    '''
    fd = _open_lock(path, mode)
    if _acquired(fd):
        return fd
    os.close(fd)
    return None


def is_held(path: str) -> bool:
    '''whether any process has the lock ``path``'''
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return not _acquired(fd)
    finally:
        os.close(fd)


def _open_lock(path: str, mode: int | None) -> int:
    # To lock it reading is enough: another account, such as an
    # administrator's, may have made it.
    flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o666)
    if mode is not None and os.fstat(fd).st_uid == os.geteuid():
        os.fchmod(fd, mode & 0o666)
    return fd


def _acquired(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
