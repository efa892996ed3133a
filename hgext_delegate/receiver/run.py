# SPDX-License-Identifier: GPL-2.0-or-later
'''what a receiver keeps of each id that it has seen, in a folder for each clone

    journal     the states, as the server keeps them: see state/journal.py
    lock        whoever works in the clone holds it
    log/ID      what it printed; its supervisor holds a lock on it, as long as
                it lives
    object/ID   what was sent
    spare       room for the end of a run whose script has filled the disk

A run is PENDING until its script begins, which is when it is claimed: an id
whose script may have begun is never run again.
'''

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from typing import Any

from .. import protocol
from ..state import (
    delegation,
    files,
    journal as journalmod,
    output_log,
    pruning,
    target_lock,
)
from . import process

# What the receiver exits with, where a script did not get to its end.
EXIT_GOES_ON = 1
EXIT_REFUSED = 2
EXIT_LOST = protocol.EXIT_LOST
EXIT_UNPREPARED = 121
EXIT_WAITED = 122
EXIT_TIMEOUT = 124
EXIT_CANCELLED = 125
EXIT_NOT_RUN = 126
EXIT_NOT_FOUND = 127

# in cancelled_by: nobody cancelled it, but our process was told to end
BY_SIGNAL = 'signal TERM'

KEEP = 100
# How much of the output of one run is kept, in bytes.
LIMIT = 100 * 1024 * 1024
_SPARE = 64 * 1024


def is_over(row: delegation.Delegation) -> bool:
    '''whether it has ended; a cancel may only have been asked for as yet'''
    ended = row.status is not None or row.signal is not None
    return ended and row.state not in delegation.OPEN


def say(log: output_log.Log, text: str, remedy: str = '') -> None:
    '''lines of our own in ``log``; a text of several lines is several'''
    lines = ['delegate-receive: ' + line for line in text.split('\n')]
    if remedy:
        lines.append('(%s)' % remedy)
    log.add([line.encode('utf-8', 'replace') for line in lines])


def folder_of(clone: str, folder: str) -> str:
    '''the folder in ``folder`` for the runs in ``clone``'''
    real = os.path.realpath(clone)
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:12]
    return os.path.join(folder, '%s-%s' % (os.path.basename(real), digest))


def explain(exc: Exception, folder: str) -> tuple[str, str]:
    '''reason and remedy where ``folder`` could not be used'''
    if isinstance(exc, journalmod.JournalError):
        # which knows where the server has it
        return exc.reason, exc.remedy.replace('.hg/delegate', folder)
    if isinstance(exc, OSError):
        reason = 'cannot receive: %s' % exc.strerror
        return reason, 'see %s' % (exc.filename or folder)
    raise exc


class Runs:
    '''the runs in one clone; ``clone`` is its absolute path

    Raises OSError and JournalError, as all methods do.
    '''

    def __init__(self, folder: str, clone: str):
        self.folder = folder_of(clone, folder)
        os.makedirs(self.folder, 0o700, exist_ok=True)
        status = os.stat(self.folder)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(
                0, 'another account may write there', self.folder
            )
        for kind in ('log', 'object'):
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.join(self.folder, kind), 0o700)
        self.journal = journalmod.open(self.file('journal').path)
        # a record is on disk before its script begins
        self.journal.db.sync_each_write()

    def file(self, name: str) -> files.File:
        return files.File(self.folder, name)

    def log(self, id: str) -> files.File:
        return self.file('log/' + id)

    def object(self, id: str) -> files.File:
        return self.file('object/' + id)

    def close(self) -> None:
        self.journal.close()

    def find(self, id: str) -> delegation.Delegation | None:
        return self.journal.by_id(id)

    def record(
        self, id: str, target: str, node: str = ''
    ) -> delegation.Delegation:
        '''the row of ``id``, made if need be

        What is known of by its log alone has lost its row: whatever became of
        it, it is not done again. Nor is what an older version has run.
        '''
        lost = any(
            os.path.lexists(file.path) for file in (self.log(id), self.file(id))
        )
        row = self.find(id)
        if row is None:
            number = self.journal.record(target, node, None, id=id)
            if lost:
                reason = 'its record was damaged'
                self.end(number, delegation.LOST, EXIT_LOST, reason)
            row = self.journal.get(number)
            assert row
        return row

    def save_object(self, id: str, data: bytes) -> None:
        self.object(id).write(data)

    def open_log(self, id: str) -> output_log.Log:
        return output_log.Log(self.log(id), LIMIT)

    # locks: each is let go by closing its descriptor

    def acquire(self, id: str) -> int | None:
        '''the lock of whoever sees ``id`` through; None where another does'''
        return target_lock.acquire(self.log(id))

    def acquire_clone(self) -> int | None:
        return target_lock.acquire(self.file('lock'))

    def is_held(self, id: str) -> bool:
        '''whether somebody sees ``id`` through'''
        return target_lock.is_held(self.log(id))

    def held(self) -> list[delegation.Delegation]:
        '''those that somebody sees through, in the order in which they came'''
        rows = self.journal.without_verdict()
        return [row for row in rows if self.is_held(row.id)]

    # ends

    def claim(
        self, row: delegation.Delegation, previous: str | None
    ) -> delegation.Delegation | None:
        '''note that the script of ``row`` begins; None if it was cancelled'''
        fd = self.file('spare').make(os.O_WRONLY)
        try:
            if os.fstat(fd).st_size < _SPARE:
                os.pwrite(fd, bytes(_SPARE), 0)
        finally:
            os.close(fd)
        return self.journal.claim(row, previous)

    def end(
        self,
        number: int,
        state: str,
        status: int | None,
        reason: str = '',
        **fields: Any,
    ) -> None:
        '''record how ``number`` has ended, on a full disk as well'''
        told = {'status': status, 'reason': reason, **fields}
        self.journal.last_error = None
        self.journal.end(number, state, **told)
        if self.journal.last_error:
            with contextlib.suppress(OSError):
                self.file('spare').unlink()
            self.journal.end(number, state, **told)

    def close_abandoned(self) -> None:
        '''close what supervisors that were killed have left running'''
        for row in self.journal.without_verdict():
            lock = self.acquire(row.id)
            if lock is not None:
                self.close_run(row.id)
                os.close(lock)

    def close_run(self, id: str) -> None:
        '''close ``id`` if its supervisor was killed; the caller has its lock

        What is left of its programs is ended: nobody watches over them.
        '''
        row = self.find(id)
        if row is None or is_over(row):
            return
        for session in process.marked_sessions(
            'DELEGATE_JSON', self.object(id).path
        ):
            process.end_session(session, lambda: time.sleep(0.05))
        if row.state == delegation.PENDING:
            return
        state, status, reason = row.state, EXIT_CANCELLED, 'cancelled'
        if state == delegation.RUNNING:
            state, status = delegation.LOST, EXIT_LOST
            reason = (
                'the receiver was killed, and what the script has done is '
                'unknown'
            )
            log = self.open_log(id)
            say(log, reason)
            log.close()
        self.end(row.number, state, status, reason)

    def prune(self) -> None:
        '''forget all but the newest KEEP of those that nobody sees through

        By number, whatever the clock does: one that is forgotten too soon
        would be run again.
        '''
        newest = self.journal.newest(None, KEEP)
        for row in self.journal.without_verdict():
            if row.number < newest[-1].number and not self.is_held(row.id):
                # killed before it began, and never asked for again
                self.end(row.number, delegation.CANCELLED, EXIT_CANCELLED)
        for id in pruning.prune_all(self.journal, KEEP):
            for file in (self.log(id), self.object(id)):
                with contextlib.suppress(OSError):
                    file.unlink()
