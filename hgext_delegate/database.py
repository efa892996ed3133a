# database.py - the sqlite file of the journal
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the sqlite file of the journal: made, versioned, and set aside if damaged'''

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any

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
)
VERSION = len(MIGRATIONS)


class JournalError(Exception):
    '''the journal cannot be used; ``remedy`` says what to do

    ``damaged`` tells whether the file itself is broken.
    '''

    def __init__(self, reason: str, remedy: str, damaged: bool = False):
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.damaged = damaged


@contextlib.contextmanager
def translated() -> Iterator[None]:
    '''sqlite's errors as JournalError'''
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        # sqlite says DatabaseError itself for SQLITE_CORRUPT and
        # SQLITE_NOTADB; locked, full and unreadable files are a kind of it
        damaged = type(exc) is sqlite3.DatabaseError
        remedy = 'see that .hg/delegate can be written and the disk has room'
        if damaged:
            remedy = 'the next push sets it aside and begins a new one'
        raise JournalError(
            'the journal cannot be used: %s' % exc, remedy, damaged
        ) from exc


class Database:
    '''one connection, for all threads of a process

    ``path`` is made if need be, with the permission ``mode`` (None for what
    the umask says). Raises JournalError, as all methods do.
    '''

    def __init__(self, path: str, mode: int | None):
        self._lock = threading.RLock()
        with translated():
            if path != ':memory:':
                _touch(path, mode)
            self._db = sqlite3.connect(
                path,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            with translated():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        version = self._version()
        if version > VERSION:
            raise JournalError(
                'the journal is of a newer version (%d)' % version,
                'upgrade hg-delegate, or move .hg/delegate/journal away',
            )
        # Where the file system has no shared memory sqlite stays with its
        # rollback journal, which is as safe.
        self._db.execute('PRAGMA journal_mode = WAL')
        self._db.execute('PRAGMA synchronous = NORMAL')
        # the first page of the schema: if that is damaged it shows now
        self._db.execute('SELECT count(*) FROM sqlite_master').fetchone()
        if version < VERSION:
            with self.writing():
                for migration in MIGRATIONS[self._version() :]:
                    for statement in migration.split(';'):
                        self._db.execute(statement)
                self._db.execute('PRAGMA user_version = %d' % VERSION)

    def _version(self) -> int:
        return self._db.execute('PRAGMA user_version').fetchone()[0]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def select(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock, translated():
            return self._db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        '''a transaction, which no other writer overlaps'''
        with self._lock, translated():
            self._db.execute('BEGIN IMMEDIATE')
            try:
                yield self._db
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute('ROLLBACK')
                raise
            self._db.execute('COMMIT')


def _touch(path: str, mode: int | None) -> None:
    # before sqlite does: its companion files take their permission from this
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return
    if mode is not None:
        os.fchmod(fd, mode & 0o666)
    os.close(fd)


def set_aside(path: str) -> str:
    '''move a damaged file out of the way; its new name'''
    aside = '%s.damaged-%d' % (path, time.time())
    with translated():
        os.rename(path, aside)
        for suffix in ('-wal', '-shm'):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + suffix)
    return aside
