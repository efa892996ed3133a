# SPDX-License-Identifier: GPL-2.0-or-later
'''who should know of an end is told: ``[hooks] delegated``, and mail

A process of its own does it, so nothing waits for a hook or a mail server, and
nothing fails with one. Each end is told once.
'''

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from mercurial import error, pycompat

from .. import imports
from ..config import targets as targetsmod
from ..state import (
    delegation,
    files,
    journal as journalmod,
    notices,
    target_lock,
)
from . import detached

HOOK = b'delegated'

# in seconds, for all hooks of one end, and for its mail
_LIMIT = 60.0
# how long a process waits for another that tells
_PATIENCE = 10 * _LIMIT
# the lock of that: no target begins so
_LOCK = '-told'
# in bytes: how much of what went wrong is kept
_MOST_SAID = 2000

_WRONG = (delegation.FAILED, delegation.LOST, delegation.PENDING)


def is_wanted(ui, targets: Iterable[targetsmod.Target]) -> bool:
    '''whether anybody should know of an end'''
    return any(target.notify for target in targets) or bool(hooks(ui))


def hooks(ui) -> list[bytes]:
    '''the names of the hooks'''
    names = [name for name, value in ui.configitems(b'hooks') if value]
    return [name for name in names if name.split(b'.')[0] == HOOK]


class Teller:
    '''starts that process; for workers, which must not touch ``repo``'''

    def __init__(self, repo):
        self._argv = detached.command(repo, 'debugdelegatetell')
        self._environ = detached.environment(repo)
        self._begun = 0

    def start(self, journal: journalmod.Journal) -> None:
        '''tell what nobody has told yet, and wait for nothing'''
        with contextlib.suppress(OSError, journalmod.JournalError):
            newest = notices.newest(journal)
            if newest <= self._begun:
                return
            self._begun = newest
            subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=self._environ,
            )


def tell(
    repo, targets: Sequence[targetsmod.Target], journal: journalmod.Journal
) -> None:
    '''tell, in order, what nobody has told; the process's own work'''
    paths = files.paths(repo)
    turn = target_lock.turn(paths, _LOCK, _PATIENCE, lambda: True)
    with contextlib.suppress(target_lock.LockError), turn as mine:
        while mine and (notice := notices.claim(journal)):
            row = journal.get(notice.number)
            if row:
                wanted = [t.notify for t in targets if t.name == row.target]
                to = wanted[0] if wanted else ()
                if not _is_mailed(journal, notice, row.target):
                    to = ()
                troubles = list(_tell_one(repo, journal, notice, row, to))
                _keep(paths, notice.number, troubles)


def _is_mailed(
    journal: journalmod.Journal, notice: notices.Notice, target: str
) -> bool:
    '''one mail when it goes wrong, one when it works again, none in between'''
    wrong = notice.state in _WRONG
    if not wrong and notice.state != delegation.SUCCEEDED:
        return False
    return wrong != notices.was_wrong(journal, notice, target)


def _tell_one(
    repo,
    journal: journalmod.Journal,
    notice: notices.Notice,
    row: delegation.Delegation,
    to: Sequence[str],
) -> Iterator[str]:
    '''tell ``notice`` of ``row``, by mail ``to`` these; what went wrong'''
    before = row.turn if row.turn is not None else 2**62
    was = journal.last(row.target, *delegation.RUN, before=before)
    words = {
        'target': row.target,
        'state': notice.state,
        'node': row.node,
        'previous': row.previous or '',
        'id': str(row.number),
        'was': was.state if was else '',
    }
    children = []
    if to:
        # it may have gone on since
        told = dataclasses.replace(row, state=notice.state)
        children.append(('mail', _Child(lambda: _send_mail(repo, told, to))))
    if hooks(repo.ui):
        children.append(('hook', _Child(lambda: _run_hooks(repo, words))))
    for what, child in children:
        said = child.wait()
        if said is not None:
            yield f'{what}: {said}'


def _send_mail(repo, row: delegation.Delegation, to: Sequence[str]) -> None:
    again = row.state == delegation.SUCCEEDED
    # no push sends one, and Python's package email is large
    with imports.complete():
        from ..report import mail
    message = mail.compose(repo.ui, files.paths(repo), row, to, again)
    mail.send(repo.ui, message)


def _run_hooks(repo, words: dict[str, str]) -> None:
    repo.ui.pushbuffer(error=True)
    args = {name: pycompat.sysbytes(word) for name, word in words.items()}
    failed = repo.hook(HOOK, throw=False, **args)
    said = repo.ui.popbuffer()
    if failed:
        raise error.Abort(said[-_MOST_SAID:])


class _Child:
    '''runs ``job`` in a process that can be ended, with all that it starts

    What a hook that is done in time has left running goes on.
    '''

    def __init__(self, job: Callable[[], None]):
        self._ends = time.monotonic() + _LIMIT
        self._said, theirs = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.setsid()
            status = 1
            try:
                job()
                status = 0
            except error.Abort as exc:
                os.write(theirs, exc.message[-_MOST_SAID:])
            except BaseException as exc:  # noqa: BLE001 - it is a child
                text = getattr(exc, 'strerror', None)
                text = text or f'{type(exc).__name__}: {exc}'[:_MOST_SAID]
                os.write(theirs, text.encode('utf-8', 'replace'))
            finally:
                os._exit(status)
        os.close(theirs)

    def wait(self) -> str | None:
        '''why it failed, or None'''
        left = max(0.0, self._ends - time.monotonic())
        # It says something, or it ends.
        is_over = select.select([self._said], [], [], left)[0]
        text = os.read(self._said, _MOST_SAID) if is_over else b''
        if not is_over:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
        status = os.waitpid(self._pid, 0)[1]
        os.close(self._said)
        if not is_over:
            return 'ended after %d s' % _LIMIT
        return text.decode('utf-8', 'replace') or (
            'it was killed' if status else None
        )


def _keep(paths: files.Paths, number: int, troubles: list[str]) -> None:
    '''keep what went wrong the last time, for hg delegate-check'''
    with contextlib.suppress(OSError):
        if not troubles:
            paths.untold.unlink()
            return
        lines = [f'{number} {" ".join(each.split())}\n' for each in troubles]
        text = ''.join(lines).encode('utf-8')
        paths.untold.write(files.FIRST_LINE + text)
