# sqlite_file.py - the sqlite file of the journal
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the sqlite file of the journal: made, versioned, and set aside if damaged'''

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

from .. import errors

# How long another process may hold the file, in seconds.
BUSY_SECONDS = 5.0

# The statements that lead from each version to the next.
MIGRATIONS = (
    '''
    CREATE TABLE delegation (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        target TEXT NOT NULL,
        txn TEXT,
        sequence INTEGER,
        state TEXT NOT NULL,
        node TEXT NOT NULL,
        previous TEXT,
        pusher TEXT,
        taken INTEGER,
        attempt INTEGER NOT NULL DEFAULT 0,
        turn INTEGER,
        created REAL NOT NULL,
        began REAL,
        asked REAL,
        ended REAL,
        seconds REAL,
        status INTEGER,
        signal TEXT,
        reason TEXT NOT NULL DEFAULT '',
        remedy TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        stopper TEXT,
        UNIQUE (txn, target)
    );
    CREATE INDEX delegation_state ON delegation (target, state);
    CREATE INDEX delegation_turn ON delegation (target, turn);
    CREATE INDEX delegation_taken ON delegation (taken);
    CREATE TABLE unmatched (
        txn TEXT NOT NULL,
        target TEXT NOT NULL,
        PRIMARY KEY (txn, target)
    )
    ''',
    '''
    ALTER TABLE delegation RENAME COLUMN taken TO merged_into;
    ALTER TABLE delegation RENAME COLUMN asked TO exec_sent_at;
    ALTER TABLE delegation RENAME COLUMN stopper TO cancelled_by
    ''',
)
VERSION = len(MIGRATIONS)


class JournalError(errors.DelegateError):
    '''the journal cannot be used; if ``damaged``, the file is set aside'''

    def __init__(self, reason: str, remedy: str, damaged: bool = False):
        super().__init__(reason, remedy)
        self.damaged = damaged


@contextlib.contextmanager
def translated() -> Iterator[None]:
    '''sqlite's errors as JournalError'''
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeDecodeError) as exc:
        damaged = _is_damage(exc)
        what = 'is damaged' if damaged else 'cannot be used'
        # an OSError would name a path of the server
        why = getattr(exc, 'strerror', None) or str(exc)
        if 'decode' in why:
            # what follows is somebody's record
            why = 'it has text that is none'
        # sqlite's codes are known since Python 3.11 only
        remedy = _LOCKED if why.endswith('locked') else _UNWRITABLE
        raise JournalError(
            'the journal %s: %s' % (what, why), remedy, damaged
        ) from exc


# How an OperationalError begins where not the file's content is at fault; of
# sqlite's codes older Pythons know nothing.
_OUTSIDE = (
    'database is locked',
    'database schema is locked',
    'database table is locked',
    'database or disk is full',
    'attempt to write a readonly database',
    'unable to open database file',
    'disk I/O error',
    'locking protocol',
    'out of memory',
)


def _is_damage(exc: Exception) -> bool:
    if isinstance(exc, sqlite3.OperationalError):
        return not str(exc).startswith(_OUTSIDE)
    # which says that it was closed
    if isinstance(exc, sqlite3.ProgrammingError):
        return False
    return isinstance(exc, (sqlite3.DatabaseError, UnicodeDecodeError))


_LOCKED = 'another process holds it; see fuser .hg/delegate/journal'
_UNWRITABLE = (
    'see who may write .hg/delegate/journal*, and how full the disk is'
)


class Database:
    '''one connection, for all threads of a process

    ``path`` is made if need be, with the permission ``mode`` (None for what
    the umask says); not if ``readonly``, which also waits for nobody. Raises
    JournalError, as all methods do. Whoever finds the file damaged moves it
    away, so that the next to open it begins a new one.
    '''

    def __init__(self, path: str, mode: int | None, readonly: bool = False):
        self._lock = threading.RLock()
        self._path = path
        self._inode = None
        self._aside = ''
        with self._watched():
            if path != ':memory:' and not readonly:
                _touch(path, mode)
                self._inode = _inode(path)
            self._db = _connect(path, readonly)
        try:
            with self._watched():
                self._prepare(readonly)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, readonly: bool) -> None:
        version = self._version()
        if version > VERSION:
            raise JournalError(
                'the journal is of a newer version (%d)' % version,
                'upgrade hg-delegate, or move .hg/delegate/journal away',
            )
        if readonly:
            return
        # Where the file system has no shared memory sqlite stays with its
        # rollback journal, which a power cut can break unless it is synced.
        # Here sqlite waits for nobody: while another one changes the mode the
        # file is locked. What else is wrong shows below.
        with contextlib.suppress(sqlite3.OperationalError):
            mode = self._db.execute('PRAGMA journal_mode = WAL').fetchone()[0]
            if mode == 'wal':
                self._db.execute('PRAGMA synchronous = NORMAL')
        # the first page of the schema: if that is damaged it shows now
        self._db.execute('SELECT count(*) FROM sqlite_master').fetchone()
        if version < VERSION:
            with self.writing():
                for migration in MIGRATIONS[self._version() :]:
                    for statement in migration.split(';'):
                        self._db.execute(statement)
                self._db.execute('PRAGMA user_version = %d' % VERSION)

    def sync_each_write(self) -> None:
        '''let what is written outlive a power failure as well'''
        with self._lock, self._watched():
            self._db.execute('PRAGMA synchronous = FULL')

    def _version(self) -> int:
        return self._db.execute('PRAGMA user_version').fetchone()[0]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def select(
        self,
        query: str,
        *values: Any,
        is_sound: Callable[..., bool] = lambda *row: True,
    ) -> list[tuple[Any, ...]]:
        '''the rows; one that is not sound is damage of the file'''
        with self._lock, self._watched():
            rows = self._db.execute(query, values).fetchall()
            if not all(is_sound(*row) for row in rows):
                raise sqlite3.DatabaseError('it has a record that is none')
            return rows

    @contextlib.contextmanager
    def writing(self, commit: bool = True) -> Iterator[sqlite3.Connection]:
        '''a transaction, which no other writer overlaps; one within another
        is part of it'''
        with self._lock, self._watched():
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute('BEGIN IMMEDIATE')
            try:
                yield self._db
                self._db.execute('COMMIT' if commit else 'ROLLBACK')
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute('ROLLBACK')
                raise

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            with translated():
                yield
        except JournalError as exc:
            exc.damaged = exc.damaged or self._was_moved()
            if exc.damaged:
                exc.remedy = self._set_aside()
            raise

    def _was_moved(self) -> bool:
        '''whether another process has set the file aside meanwhile

        What comes of that may be a disk I/O error as well.
        '''
        try:
            return self._inode not in (None, os.stat(self._path).st_ino)
        except OSError as exc:
            return isinstance(exc, FileNotFoundError)

    def _set_aside(self) -> str:
        '''move the file away, if it still is the one; what to say of it'''
        with contextlib.suppress(OSError):
            # another process may have been here before
            if os.stat(self._path).st_ino == self._inode:
                self._aside = os.path.basename(_move_away(self._path))
        if self._aside:
            return 'it is kept as .hg/delegate/%s, a new one begins' % (
                self._aside
            )
        return 'the next push begins a new one'


def _connect(path: str, readonly: bool) -> sqlite3.Connection:
    if readonly:
        return _connect_readonly(path)
    return sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _connect_readonly(path: str) -> sqlite3.Connection:
    uri = 'file:%s?mode=ro' % urllib.parse.quote(os.fsencode(path))
    if _is_idle(path):
        uri += '&immutable=1'
    return sqlite3.connect(
        uri, timeout=0, isolation_level=None, check_same_thread=False, uri=True
    )


def _is_idle(path: str) -> bool:
    '''whether the file is in WAL mode, and nobody has it open

    To read it sqlite would make files beside it, for which not everybody has
    the right. As it stands all is in the file itself.
    '''
    with open(path, 'rb') as file:
        # "The SQLite Database File Format" 1.3: 2 is WAL
        header = file.read(20)
    return header[18:19] == b'\2' and not os.path.exists(path + '-wal')


# Closing a file takes away the locks that sqlite, in another thread, has on
# it: no thread is let near a file that another one is making.
_MAKING = threading.Lock()


def _touch(path: str, mode: int | None) -> None:
    # before sqlite does: its companion files take their permission from this
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    with _MAKING, contextlib.suppress(FileExistsError):
        fd = os.open(path, flags, 0o666)
        try:
            if mode is not None:
                os.fchmod(fd, mode & 0o666)
        finally:
            os.close(fd)


def _inode(path: str) -> int:
    # sqlite would follow a link to another repository's journal
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return status.st_ino


def _move_away(path: str) -> str:
    '''the new name'''
    moment = int(time.time())
    while os.path.lexists('%s.damaged-%d' % (path, moment)):
        moment += 1
    aside = '%s.damaged-%d' % (path, moment)
    os.rename(path, aside)
    for suffix in ('-wal', '-shm'):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)
    return aside
