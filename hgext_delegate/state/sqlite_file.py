# SPDX-License-Identifier: GPL-2.0-or-later
'''the sqlite file of the journal: made, versioned, set aside if damaged'''

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import sqlite3
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

from .. import errors
from . import files, schema

# How long another process may hold the file, in seconds.
BUSY_SECONDS = 5.0
# How many files that were damaged are kept.
_KEPT_ASIDE = 3

# A statement of ours takes milliseconds; one of a schema that somebody has
# changed since may be endless. In seconds, looked at after so many steps.
_LONGEST = 10.0
_STEPS = 100_000


class JournalError(errors.DelegateError):
    '''the journal cannot be used; if ``damaged``, the file is set aside'''

    def __init__(self, reason: str, remedy: str, damaged: bool = False):
        super().__init__(reason, remedy)
        self.damaged = damaged


# How an OperationalError begins if the content of the file is not at fault.
# Python before 3.11 does not tell sqlite's error codes.
_OUTSIDE = (
    'database ',
    'attempt to write a readonly database',
    'unable to open database file',
    'disk I/O error',
    'locking protocol',
    'out of memory',
)
_LOCKED = 'another process holds it; see fuser .hg/delegate/journal'
_UNWRITABLE = (
    'see who may write .hg/delegate/journal*, and how full the disk is'
)


class Database:
    '''one connection, for all threads of a process

    ``path`` is made if need be. With ``readonly`` it is not made, and no lock
    is waited for.
    All methods raise JournalError. A file that is found damaged is renamed,
    and ``broken`` is true from then on: renew() or the next process that opens
    the journal begins a new one.
    '''

    def __init__(self, path: str, readonly: bool = False):
        self._lock = threading.RLock()
        self._path = path
        self.readonly = readonly
        self._late_at = 0.0
        self._writing = False
        self._open(path, readonly)

    def _open(self, path: str, readonly: bool) -> None:
        self.broken = False
        self._inode = None
        self._aside = ''
        with self._watched():
            if path != ':memory:' and not readonly:
                self._inode = _made(_file(path))
            self._db = _connect(path, readonly)
        try:
            with self._watched():
                self._prepare(readonly)
                if path != ':memory:':
                    _check_place(path)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, readonly: bool) -> None:
        self._db.set_trace_callback(self._begin_statement)
        self._db.set_progress_handler(self._is_late, _STEPS)
        # both of one moment: another process may just be making it
        self._db.execute('BEGIN')
        version = self._version()
        found = schema.read(self._db)
        self._db.execute('COMMIT')
        if version > schema.VERSION:
            raise JournalError(
                'the journal is of a newer version (%d)' % version,
                'upgrade hg-delegate, or move .hg/delegate/journal away',
            )
        if version < 0 or found != _known_schema(version):
            # Who may write in the repository may write in the file: a view or
            # a trigger could be endless, or change what is recorded.
            raise sqlite3.DatabaseError('its schema is not ours')
        if readonly:
            return
        # On a file system without shared memory sqlite keeps its rollback
        # journal, which is safe in a power cut only with the default
        # "synchronous". An error here is no matter: sqlite does not wait
        # while another process changes the mode.
        with contextlib.suppress(sqlite3.OperationalError):
            mode = self._db.execute('PRAGMA journal_mode = WAL').fetchone()[0]
            if mode == 'wal':
                self._db.execute('PRAGMA synchronous = NORMAL')
        if self._db.execute('PRAGMA application_id').fetchone()[0] != schema.ID:
            self._db.execute('PRAGMA application_id = %d' % schema.ID)
        if version < schema.VERSION:
            with self.writing():
                for migration in schema.MIGRATIONS[self._version() :]:
                    for statement in migration.split(';'):
                        self._db.execute(statement)
                self._db.execute('PRAGMA user_version = %d' % schema.VERSION)

    def _begin_statement(self, statement: str) -> None:
        self._late_at = time.monotonic() + _LONGEST

    def _is_late(self) -> bool:
        return time.monotonic() > self._late_at

    def sync_each_write(self) -> None:
        '''let what is written outlive a power failure as well'''
        with self._lock, self._watched():
            self._db.execute('PRAGMA synchronous = FULL')

    def _version(self) -> int:
        return self._db.execute('PRAGMA user_version').fetchone()[0]

    def renew(self, fill: Callable[[sqlite3.Connection], None]) -> None:
        '''begin a new file if this one is broken, and ``fill`` it'''
        with self._lock:
            if not self.broken or self._writing:
                return
            self._db.close()
            try:
                self._open(self._path, readonly=False)
                with self.writing() as db:
                    fill(db)
            except BaseException:
                self.broken = True
                self._db.close()
                raise

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def select(
        self,
        query: str,
        *values: Any,
        is_sound: Callable[..., bool] = lambda *row: True,
    ) -> list[tuple[Any, ...]]:
        '''the rows; a row that is not sound is damage of the file'''
        with self._lock, self._watched():
            rows = self._db.execute(query, values).fetchall()
            if not all(is_sound(*row) for row in rows):
                raise sqlite3.DatabaseError('it has a malformed record')
            return rows

    @contextlib.contextmanager
    def writing(self, commit: bool = True) -> Iterator[sqlite3.Connection]:
        '''a transaction, exclusive among writers; an inner one is part of
        the outer one'''
        with self._lock, self._watched():
            if self._writing:
                yield self._db
                return
            self._db.execute('BEGIN IMMEDIATE')
            self._writing = True
            try:
                yield self._db
                self._db.execute('COMMIT' if commit else 'ROLLBACK')
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute('ROLLBACK')
                raise
            finally:
                self._writing = False

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError) as exc:
            raise self._error(exc) from exc

    def _error(self, exc: Exception) -> JournalError:
        '''``exc`` as a JournalError; a damaged file is set aside'''
        # the text of an OSError would name a path of the server
        why = getattr(exc, 'strerror', None) or str(exc)
        if isinstance(exc, sqlite3.OperationalError):
            damaged = not why.startswith(_OUTSIDE)
        else:
            # a ProgrammingError says that the connection was closed
            damaged = isinstance(
                exc, (sqlite3.DatabaseError, UnicodeDecodeError)
            ) and not isinstance(exc, sqlite3.ProgrammingError)
        what = 'is damaged' if damaged else 'cannot be used'
        if 'decode' in why:
            # sqlite would go on with the text of a record
            why = 'it has text that is not UTF-8'
        remedy = _LOCKED if why.endswith('locked') else _UNWRITABLE
        if damaged or self._was_moved():
            self.broken = damaged = True
            remedy = self._set_aside()
        return JournalError(f'the journal {what}: {why}', remedy, damaged)

    def _was_moved(self) -> bool:
        '''whether another process has set the file aside meanwhile

        sqlite may then report a disk I/O error.
        '''
        try:
            return self._inode not in (None, os.stat(self._path).st_ino)
        except OSError as exc:
            return isinstance(exc, FileNotFoundError)

    def _set_aside(self) -> str:
        '''rename the file, unless another process has done so; the remedy'''
        with contextlib.suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:
                moment = int(time.time())
                while os.path.lexists(f'{self._path}.damaged-{moment}'):
                    moment += 1
                os.rename(self._path, f'{self._path}.damaged-{moment}')
                self._aside = f'journal.damaged-{moment}'
                for suffix in ('-wal', '-shm'):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(self._path + suffix)
                self._forget_oldest()
        if self._aside:
            return f'it is kept as .hg/delegate/{self._aside}, a new one begins'
        return 'the next push begins a new one'

    def _forget_oldest(self) -> None:
        '''keep the newest few of the files that were set aside'''
        folder, name = os.path.split(self._path)
        form = re.compile(re.escape(name) + r'\.damaged-([0-9]{1,18})')
        found = filter(None, map(form.fullmatch, os.listdir(folder)))
        for each in sorted(found, key=lambda m: int(m[1]))[:-_KEPT_ASIDE]:
            files.File(folder, each[0]).unlink()


@functools.cache
def _known_schema(version: int) -> set[tuple[str, ...]]:
    '''what our own migrations make'''
    with contextlib.closing(sqlite3.connect(':memory:')) as db:
        for migration in schema.MIGRATIONS[:version]:
            db.executescript(migration)
        return schema.read(db)


def _connect(path: str, readonly: bool) -> sqlite3.Connection:
    # quoted whole, or what follows a leading // would be a host name
    uri = 'file:' + urllib.parse.quote(os.fsencode(path), safe='')
    if readonly:
        _file(path).status()  # a pipe would hold us
        uri += '?mode=ro'
        if _is_idle(path):
            uri += '&immutable=1'
    return sqlite3.connect(
        uri,
        timeout=0 if readonly else BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )


def _is_idle(path: str) -> bool:
    '''whether nobody has the file open, so that all is in the file itself

    It is then read as it is. Otherwise sqlite makes files beside it, which
    needs the right to.
    '''
    if threading.active_count() > 1 or os.path.exists(path + '-wal'):
        # see _MAKING: another thread may have it open
        return False
    with open(_file(path).open(os.O_RDONLY), 'rb') as file:
        # "The SQLite Database File Format" 1.3: 2 is WAL
        return file.read(20)[18:19] == b'\2'


# Closing a file drops the locks that sqlite, in another thread, has on it
# (POSIX). So no thread opens a file that another one is just making.
_MAKING = threading.Lock()


def _made(file: files.File) -> int:
    '''the inode of ``file``, which is made if need be'''
    # before sqlite does: its companion files take their permission from this
    with _MAKING, contextlib.suppress(FileExistsError):
        os.close(file.make_new(os.O_RDWR))
    return file.status().st_ino


def _check_place(path: str) -> None:
    '''raise OSError unless ``path``, which sqlite has opened, is ours

    sqlite would follow a link to another repository's journal.
    '''
    if not os.path.samestat(_file(path).status(), os.stat(path)):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _file(path: str) -> files.File:
    return files.File(*os.path.split(path))
