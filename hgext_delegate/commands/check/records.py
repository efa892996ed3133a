# SPDX-License-Identifier: GPL-2.0-or-later
'''whether outbox and journal are in order; nothing is written to find out'''

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from mercurial import pycompat
from mercurial.i18n import _

from ...push import outbox
from ...report import wording
from ...state import (
    delegation,
    files,
    holds,
    journal as journalmod,
    schema,
    target_lock,
)
from .. import opened
from . import finding, rights

_ABOUT = finding.About(b'', b'journal')
# in bytes
_MOST_UNTOLD = 16 * 1024
_MOST_TROUBLES = 5


def check(repo, names: Sequence[bytes]) -> Iterator[finding.Finding]:
    '''what is wrong with outbox and journal, for the targets ``names``'''
    paths = files.paths(repo)
    # What a push writes, if it is there; it need not write a lock file.
    ours = ('journal', 'journal-wal', 'journal-shm', 'log')
    written = [os.path.join(paths.folder, name) for name in ours]
    written = [
        path for path in (paths.folder, *written) if os.path.exists(path)
    ]
    written = written or [os.path.dirname(paths.folder)]
    written.append(os.fsdecode(repo.svfs.join(b'')))
    unwritable = [path for path in written if not os.access(path, os.W_OK)]
    for path in unwritable:
        yield _ABOUT.error(
            _(b'%s cannot be written') % os.fsencode(path),
            rights.granting(os.fsencode(path), b'w'),
        )
    for path in (paths.deployed, paths.deployed + '.new'):
        if os.path.isdir(path):
            line = _(b'%s is a folder: no deployed name is kept')
            remedy = _(b'move it away; the next push writes what is missing')
            yield _ABOUT.error(line % os.fsencode(path), remedy)
    # A process has the lock from before its transaction until after it.
    sequence = (b'journal', b'lock', b'journal')
    if [repo.svfs.lexists(name) for name in sequence] == [True, False, True]:
        yield _ABOUT.error(
            _(b'a push was killed and has left its transaction'),
            _(b"'hg recover' takes it back"),
        )
    try:
        box = outbox.read(repo)
    except OSError as exc:
        line = _(b'the outbox cannot be read: %s')
        yield _ABOUT.error(
            line % wording.text(str(exc.strerror)),
            rights.granting(repo.svfs.join(outbox.FILENAME), b'r'),
        )
        return
    if box.unread:
        yield _ABOUT.warning(
            _(b'the outbox has damaged lines: %d') % len(box.unread),
            _(b"they are left alone; 'hg delegate' delegates by hand"),
        )
    yield from _journal(paths, box, names, bool(unwritable))
    yield from _untold(paths)


def _untold(paths: files.Paths) -> Iterator[finding.Finding]:
    '''what went wrong the last time that somebody was to be told of an end'''
    with contextlib.suppress(OSError):
        with open(paths.untold.open(os.O_RDONLY), 'rb') as file:
            kept = file.read(_MOST_UNTOLD).decode('utf-8', 'replace')
        # of the hooks and of mail
        for line in kept.splitlines()[1:][:_MOST_TROUBLES]:
            number, _space, said = line.partition(' ')
            yield _ABOUT.warning(
                _(b'delegation %s: %s')
                % tuple(wording.text(each) for each in (number, said)),
                _(b'it goes away once the same succeeds for another end'),
            )


def _journal(
    paths: files.Paths,
    box: outbox.Outbox,
    names: Sequence[bytes],
    unwritable: bool,
) -> Iterator[finding.Finding]:
    try:
        with contextlib.closing(opened.journal(paths, True)) as journal:
            found = [
                each
                for name in names
                for each in _of_target(paths, journal, box, name)
            ]
    except opened.UnreadableError as exc:
        yield _ABOUT.error(exc.message, exc.hint)
        return
    except journalmod.JournalError as exc:
        reason, remedy = wording.of_error(exc)
        if exc.damaged:
            remedy = _(b'the next push sets it aside and begins a new one')
            yield _ABOUT.warning(reason, remedy)
        else:
            yield _ABOUT.error(reason, remedy)
        return
    if not unwritable:
        line = _(b'outbox and journal (version %d) can be written')
        yield _ABOUT.ok(line % schema.VERSION)
    yield from found


def _of_target(
    paths: files.Paths,
    journal: journalmod.Journal,
    box: outbox.Outbox,
    name: bytes,
) -> Iterator[finding.Finding]:
    about = finding.About(name, _ABOUT.topic)
    target = pycompat.sysstr(name)
    running = journal.running(target)
    held = target_lock.is_held(paths.lock(target))
    # It may have ended before its lock was looked at, and another begun.
    abandoned = not held and running and journal.running(target) == running
    waiting = len(journal.pending(target)) + sum(
        (entry.txn, target) not in journal.known(entry.txn)
        for entry in box.entries
        if target in entry.targets
    )
    if running and abandoned:
        line = _(b'delegation %d is abandoned: its process has ended')
        remedy = _(b"see 'hg delegate-log'; 'hg delegate %s' delegates again")
        yield about.warning(line % running.number, remedy % name)
    hold = holds.of(paths, target)
    rows, once = journal.pending(target), delegation.ONCE
    if hold:
        reason = wording.text(wording.held(hold, target)[0])
        line = _(b'%s; pushes that wait: %d')
        remedy = _(b"'hg delegate-hold --release %s' delegates what waits")
        yield about.warning(line % (reason, waiting), remedy % name)
    elif waiting and not held and rows and rows[-1].remedy.startswith(once):
        line = _(b'%s; pushes that wait: %d') % (
            wording.text(rows[-1].reason),
            waiting,
        )
        yield about.warning(line, wording.text(rows[-1].remedy))
    elif waiting and not held:
        if rows and rows[-1].is_undecided:
            line = _(b'delegation %d may have run: its receiver is to be asked')
            remedy = _(b"'hg delegate --pending %s' asks it")
            yield about.warning(line % rows[-1].number, remedy % name)
        remedy = _(
            b"'hg delegate --pending %s', or contrib/delegate-pending by cron"
        )
        line = _(b'pushes that wait for it: %d')
        yield about.warning(line % waiting, remedy % name)
    elif not abandoned:
        line = _(b'no delegation is abandoned, %d pushes are waiting')
        yield about.ok(line % waiting)
    last = journal.last(target, *delegation.RUN)
    if last and last.state != delegation.SUCCEEDED:
        line, (hint,) = wording.recollection(last)
        yield about.warning(line, hint)
