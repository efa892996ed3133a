# SPDX-License-Identifier: GPL-2.0-or-later
'''who should know of an end is told: ``[hooks] delegated``, and mail

A process of its own does it, so nothing waits for a hook or a mail server, and
nothing fails with one. Each end is told once. Each hook, and mail, has its own
queue, in order: one that hangs keeps no other waiting.
'''

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence

from mercurial import error, hook as hookmod, pycompat

from .. import imports
from ..config import targets as targetsmod
from ..state import (
    delegation,
    files,
    journal as journalmod,
    notices,
    target_lock,
)
from . import detached, lane

HOOK = b'delegated'

# in seconds: how long a process waits for another that tells
_PATIENCE = 600.0
# the lock of that: no target begins so
_LOCK = '-told'
# in seconds: how often the one that tells looks for more
_PAUSE = 0.5
# the queue of mail; those of the hooks begin with their kind
_MAIL = 'mail'
# in bytes
_LONGEST_FILE = 100_000


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

    def is_left() -> bool:
        # the one at work takes what comes
        return notices.newest(journal) > 0

    paths = files.paths(repo)
    turn = target_lock.turn(paths, _LOCK, _PATIENCE, is_left)
    with contextlib.suppress(target_lock.LockError), turn as mine:
        if mine:
            _Telling(repo, paths, targets, journal).run()


class _Telling:
    def __init__(
        self,
        repo,
        paths: files.Paths,
        targets: Sequence[targetsmod.Target],
        journal: journalmod.Journal,
    ):
        self._repo = repo
        self._paths = paths
        self._journal = journal
        self._notify = {t.name: t.notify for t in targets if t.notify}
        self._hooks = {
            'hook ' + pycompat.sysstr(name): name for name in hooks(repo.ui)
        }
        self._lanes = {name: lane.Lane() for name in [_MAIL, *self._hooks]}
        # what goes wrong, until the same hook or mail does not
        self._wrong = {
            name: line
            for name, line in _untold(paths)
            if name in self._hooks or (name == _MAIL and self._notify)
        }
        self._write()

    def run(self) -> None:
        lanes = self._lanes.values()
        while True:
            for each in lanes:
                each.go_on()
            # What is claimed is lost if this process is killed: so one at a
            # time, but for a hook that takes long.
            notice = None
            if not any(each.has_just_begun() for each in lanes):
                notice = notices.claim(self._journal)
            row = notice and self._journal.get(notice.number)
            if notice and row:
                self._add(notice, row)
            elif not lane.wait(lanes, _PAUSE) and not notice:
                return

    def _add(self, notice: notices.Notice, row: delegation.Delegation) -> None:
        before = row.turn if row.turn is not None else 2**62
        was = self._journal.last(row.target, *delegation.RUN, before=before)
        words = {
            'target': row.target,
            'state': notice.state,
            'node': row.node,
            'previous': row.previous or '',
            'id': str(row.number),
            'was': was.state if was else '',
        }
        self._lanes[_MAIL].add(self._mail(notice, row))
        for name in self._hooks:
            self._lanes[name].add(self._hook(name, words))

    def _hook(self, name: str, words: dict[str, str]) -> Iterator[lane.Child]:
        hook = self._hooks[name]
        run = functools.partial(_run_hook, self._repo, hook, words)
        child = lane.Child(lambda: run)
        yield child
        self._keep(name, words['id'], child.said)

    def _mail(
        self, notice: notices.Notice, row: delegation.Delegation
    ) -> Iterator[lane.Child]:
        '''one mail when it goes wrong, one when it works again, none between'''
        to = self._notify.get(row.target, ())
        is_news = notices.is_news(self._journal, notice, row)
        if is_news and not to and notice.state != delegation.SUCCEEDED:
            return  # whoever is to be told from now on is told of the next
        # before it is sent: one that is killed may have sent it
        notices.note_known(self._journal, notice, True)
        if not is_news or not to:
            return
        # it may have gone on since
        told = dataclasses.replace(row, state=notice.state)
        child = lane.Child(lambda: _prepare_mail(self._repo, told, to))
        yield child
        if child.has_not_begun:
            notices.note_known(self._journal, notice, False)
        self._keep(_MAIL, str(row.number), child.said)

    def _keep(self, name: str, number: str, said: str | None) -> None:
        '''keep what went wrong the last time, for hg delegate-check'''
        self._wrong.pop(name, None)
        if said is not None:
            self._wrong[name] = f'{number} {name}: {" ".join(said.split())}\n'
        self._write()

    def _write(self) -> None:
        text = ''.join(self._wrong.values()).encode('utf-8', 'replace')
        with contextlib.suppress(OSError):
            if text:
                self._paths.untold.write(files.FIRST_LINE + text)
            else:
                self._paths.untold.unlink()


def _untold(paths: files.Paths) -> Iterator[tuple[str, str]]:
    '''the queue and the line of what went wrong before'''
    with contextlib.suppress(OSError):
        with open(paths.untold.open(os.O_RDONLY), 'rb') as file:
            text = file.read(_LONGEST_FILE).decode('utf-8', 'replace')
        for line in text.split('\n')[1:]:
            yield line.partition(' ')[2].partition(': ')[0], line + '\n'


def _prepare_mail(repo, row: delegation.Delegation, to: Sequence[str]):
    again = row.state == delegation.SUCCEEDED
    # no push sends one, and Python's package email is large
    with imports.complete():
        from ..report import mail
    message = mail.compose(repo.ui, files.paths(repo), row, to, again)
    return mail.prepare(repo.ui, message)


def _run_hook(repo, name: bytes, words: dict[str, str]) -> None:
    command = [(name, repo.ui.config(b'hooks', name))]
    repo.ui.pushbuffer(error=True)
    args = {name: pycompat.sysbytes(word) for name, word in words.items()}
    found = hookmod.runhooks(repo.ui, repo, HOOK, command, **args)
    said = repo.ui.popbuffer()
    if found[name][0]:
        raise error.Abort(said[-lane.MOST_SAID :])
