# records.py - whether the record of delegations is in order
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''whether outbox and journal are in order, found out without touching them'''

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence

from mercurial import pycompat
from mercurial.i18n import _

from ...push import outbox
from ...report import wording
from ...state import delegation, files, journal as journalmod, sqlite_file
from . import finding

Findings = Iterator[finding.Finding]

_ABOUT = finding.About(b'', b'journal')


def check(repo, names: Sequence[bytes]) -> Findings:
    '''what is wrong with outbox and journal, for the targets ``names``'''
    targets = [pycompat.sysstr(name) for name in names]
    paths = files.paths(repo)
    barred = [
        path
        for path in _written(repo, paths.folder)
        if not os.access(path, os.W_OK)
    ]
    for path in barred:
        yield _ABOUT.error(
            _(b'%s cannot be written') % os.fsencode(path),
            _(b'give the account that serves pushes the right to'),
        )
    if _is_left(repo):
        yield _ABOUT.error(
            _(b'a push was killed and has left its transaction'),
            _(b"'hg recover' takes it back"),
        )
    try:
        box = outbox.read(repo)
    except OSError as exc:
        yield _ABOUT.error(
            _(b'the outbox cannot be read: %s')
            % wording.text(str(exc.strerror)),
            _(b'let the account that serves pushes read .hg/store'),
        )
        return
    if box.unread:
        yield _ABOUT.warning(
            _(b'the outbox has damaged lines: %d') % len(box.unread),
            _(b"they are left alone; 'hg delegate' delegates by hand"),
        )
    try:
        abandoned = _abandoned(paths)
        with _journal(paths) as journal:
            waiting = _waiting(journal, box, targets)
            last = {t: journal.last(t, *delegation.RUN) for t in targets}
    except journalmod.JournalError as exc:
        if exc.damaged:
            yield _ABOUT.warning(
                wording.text(exc.reason),
                _(b'the next push sets it aside and begins a new one'),
            )
        else:
            reason, remedy = exc.reason, exc.remedy
            yield _ABOUT.error(wording.text(reason), wording.text(remedy))
        return
    if not barred:
        line = _(b'outbox and journal (version %d) can be written')
        yield _ABOUT.ok(line % sqlite_file.VERSION)
    for target in targets:
        yield from _of_target(paths, target, abandoned, waiting[target])
        row = last[target]
        if row and row.state != delegation.SUCCEEDED:
            about = finding.About(pycompat.sysbytes(target), _ABOUT.topic)
            line, (hint,) = wording.recollection(row)
            yield about.warning(line, hint)


def _of_target(
    paths: files.Paths, target: str, abandoned, count: int
) -> Findings:
    name = pycompat.sysbytes(target)
    about = finding.About(name, _ABOUT.topic)
    number = abandoned.get(target)
    if number:
        yield about.warning(
            _(b'delegation %d is abandoned: its process is gone') % number,
            _(b"see 'hg delegate-log'; 'hg delegate %s' delegates again")
            % name,
        )
    if count and not _is_held(paths.lock(target)):
        yield about.warning(
            _(b'pushes that wait for it: %d') % count,
            _(b"'hg delegate --pending %s' delegates them") % name,
        )
    elif not number:
        yield about.ok(_(b'nothing is abandoned, pushes that wait: %d') % count)


def _written(repo, folder: str) -> Iterator[str]:
    '''what a push writes, as far as it is there'''
    yield os.fsdecode(repo.svfs.join(b''))
    if not os.path.isdir(folder):
        yield os.path.dirname(folder)
        return
    yield folder
    # A lock need not be: to read it is enough.
    for name in ('journal', 'journal-wal', 'journal-shm', 'log'):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            yield path


def _is_left(repo) -> bool:
    '''whether there is a transaction of a process that is gone'''
    # Whoever has one has the lock, from before to after it.
    steps = (b'journal', b'lock', b'journal')
    return [repo.svfs.lexists(name) for name in steps] == [True, False, True]


def _abandoned(paths: files.Paths) -> dict[str, int]:
    '''by target, the delegation that runs in the journal and nowhere else'''
    running = _running(paths)
    gone = {
        target: row
        for target, row in running.items()
        if not _is_held(paths.lock(target))
    }
    # It may have ended before its lock was looked at, and another begun.
    again = _running(paths) if gone else {}
    return {t: row.number for t, row in gone.items() if again.get(t) == row}


def _running(paths: files.Paths) -> dict[str, delegation.Delegation]:
    with _journal(paths) as journal:
        names = journal.running_targets()
        rows = {name: journal.running(name) for name in names}
    return {name: row for name, row in rows.items() if row}


def _waiting(
    journal: journalmod.Journal, box: outbox.Outbox, targets: Iterable[str]
) -> collections.Counter[str]:
    '''by target, how many pushes or calls of hg delegate wait'''
    count: collections.Counter[str] = collections.Counter()
    for entry in box.entries:
        known = journal.known(entry.txn)
        for target in entry.targets:
            count[target] += (entry.txn, target) not in known
    for target in targets:
        count[target] += len(journal.pending(target))
    return count


@contextlib.contextmanager
def _journal(paths: files.Paths) -> Iterator[journalmod.Journal]:
    '''the journal to be read, an empty one where there is none

    Raises JournalError.
    '''
    there = os.path.exists(paths.journal)
    journal = journalmod.peek(paths.journal) if there else journalmod.empty()
    with contextlib.closing(journal):
        yield journal


def _is_held(path: str) -> bool:
    '''whether a process has the lock; it is not made where there is none'''
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:
        # Nobody can tell; that it cannot be written is said.
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
