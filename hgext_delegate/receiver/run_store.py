# run_store.py - what a receiver knows of each id that it has seen
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what a receiver knows of each id that it has seen: a folder for each

    FOLDER/CLONE/lock          whoever works in the clone holds it
    FOLDER/CLONE/last          the number of the last one that was asked for
    FOLDER/CLONE/ID/lock       its supervisor holds it, as long as it lives
    FOLDER/CLONE/ID/state      JSON, replaced as a whole
    FOLDER/CLONE/ID/object     what was sent
    FOLDER/CLONE/ID/log        what it printed
    FOLDER/CLONE/ID/cancel     it is to end

Locks are the kernel's: one whose process is gone is free.
'''

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time

PENDING = 'pending'
RUNNING = 'running'
SUCCEEDED = 'succeeded'
FAILED = 'failed'
LOST = 'lost'
CANCELLED = 'cancelled'

# What the receiver exits with, where a script did not get to its end.
EXIT_GOES_ON = 1
EXIT_REFUSED = 2
EXIT_LOST = 120
EXIT_UNPREPARED = 121
EXIT_WAITED = 122
EXIT_TIMEOUT = 124
EXIT_CANCELLED = 125
EXIT_NOT_RUN = 126
EXIT_NOT_FOUND = 127

KEEP = 100

# A state is no longer than that, mostly, and has that much room on the disk
# beforehand: what a script came to is kept also when it has filled the disk.
_ROOM = 4096


@dataclasses.dataclass(frozen=True)
class State:
    '''what became of one id

    ``status`` is what the receiver exits with for it, ``signal`` the number
    of the one that ended its script instead. Times are RFC 3339 in UTC.
    '''

    id: str
    target: str | None
    node: str | None = None
    state: str = PENDING
    status: int | None = None
    signal: int | None = None
    reason: str = ''
    began: str | None = None
    ended: str | None = None
    # of those in one clone, in the order in which they were asked for
    number: int = 0

    @property
    def over(self) -> bool:
        return self.state not in (PENDING, RUNNING)


def now() -> str:
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())


def acquire(path: str) -> int | None:
    '''the descriptor that holds the lock ``path``; None where another does

    It is let go by closing it, in all processes that have inherited it.
    '''
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _sync_folder(path: str) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Runs:
    '''the runs in one clone; ``clone`` is its absolute path'''

    def __init__(self, folder: str, clone: str):
        real = os.path.realpath(clone)
        digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:12]
        name = '%s-%s' % (os.path.basename(real), digest)
        self.folder = os.path.join(folder, name)
        self.lock = os.path.join(self.folder, 'lock')
        os.makedirs(self.folder, 0o700, exist_ok=True)
        status = os.stat(self.folder)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(
                0, 'another account may write there', self.folder
            )

    def get(self, id: str) -> Run:
        '''the run ``id``, which is made if need be'''
        path = os.path.join(self.folder, id)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
            _sync_folder(self.folder)
        return Run(path)

    def find(self, id: str) -> Run | None:
        path = os.path.join(self.folder, id)
        return Run(path) if os.path.isdir(path) else None

    def all(self) -> list[Run]:
        with os.scandir(self.folder) as found:
            return [Run(entry.path) for entry in found if entry.is_dir()]

    def count(self) -> int:
        '''the next number; that counts on whatever the clock does'''
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        fd = os.open(os.path.join(self.folder, 'last'), flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            digits = os.read(fd, 20)
            if digits.isdigit():
                number = int(digits) + 1
            else:
                # after a power failure there may be anything in it
                number = 1 + max((r.number() for r in self.all()), default=0)
            os.ftruncate(fd, 0)
            os.pwrite(fd, b'%d' % number, 0)
            return number
        finally:
            os.close(fd)

    def count_open(self) -> int:
        '''how many there are that somebody sees through now'''
        return sum(run.is_open() for run in self.all())

    def prune(self) -> None:
        '''forget all but the newest KEEP of those that are not open

        By number: one that is forgotten too soon would be run again.
        '''
        closed = [run for run in self.all() if not run.is_open()]
        # what has no number may be about to begin
        closed.sort(key=lambda run: run.number() or sys.maxsize, reverse=True)
        for run in closed[KEEP:]:
            shutil.rmtree(run.path, ignore_errors=True)


class Run:
    '''one id'''

    def __init__(self, path: str):
        self.path = path
        self.id = os.path.basename(path)
        self.object = os.path.join(path, 'object')
        self.log = os.path.join(path, 'log')
        self._state = os.path.join(path, 'state')
        self._cancel = os.path.join(path, 'cancel')

    def acquire(self) -> int | None:
        return acquire(os.path.join(self.path, 'lock'))

    def read(self) -> State | None:
        '''its state; None for one that was never written'''
        try:
            with open(self._state, encoding='utf-8') as file:
                return State(**json.load(file))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            # whatever it did, it is not done again
            reason = 'its record is damaged'
            return State(
                self.id, None, state=LOST, reason=reason, status=EXIT_LOST
            )

    def number(self) -> int:
        '''that of its state; 0 where that is unknown'''
        state = self.read()
        return state.number if state else 0

    def is_before(self, number: int) -> bool:
        '''whether it was asked for before the one of that ``number``'''
        state = self.read()
        return state is not None and state.number < number

    def is_over(self) -> bool:
        state = self.read()
        return state is not None and state.over

    def is_held(self) -> bool:
        try:
            lock = self.acquire()
        except FileNotFoundError:
            return False  # it is pruned just now
        if lock is not None:
            os.close(lock)
        return lock is None

    def is_open(self) -> bool:
        '''whether it is not over, and somebody sees it through'''
        return not self.is_over() and self.is_held()

    def write(self, state: State) -> None:
        '''replace the state, on the disk as well: it outlives a crash'''
        new = self._state + '.new'
        data = json.dumps(dataclasses.asdict(state)).encode('ascii')
        self._save(new, data.ljust(_ROOM))
        os.rename(new, self._state)
        _sync_folder(self.path)
        if not state.over:
            self._save(new, b' ' * _ROOM)

    def save_object(self, data: bytes) -> None:
        self._save(self.object, data)

    def _save(self, path: str, data: bytes) -> None:
        # not O_TRUNC, which would give the room away
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o600), 'wb') as file:
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    def open_log(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return os.open(self.log, flags, 0o600)

    def cancel(self) -> None:
        '''ask whoever runs it to end it'''
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        os.close(os.open(self._cancel, flags, 0o600))

    def is_cancelled(self) -> bool:
        return os.path.exists(self._cancel)
