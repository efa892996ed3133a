# SPDX-License-Identifier: GPL-2.0-or-later
'''what each command begins with: targets, outbox and journal, opened'''

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator

from mercurial import error, scmutil, util
from mercurial.i18n import _

from .. import errors
from ..delivery import (
    abandoned,
    dispatcher as dispatchermod,
    launcher as launchermod,
)
from ..report import printer, wording
from ..state import files, journal as journalmod


class UnreadableError(error.StateError):
    '''the account that runs this may not read what is recorded'''


@contextlib.contextmanager
def to_delegate(ui, repo) -> Iterator[launchermod.Launcher]:
    '''a launcher; folder and journal are made if need be'''
    with aborting(), launchermod.open(ui, repo.unfiltered()) as launcher:
        abandoned.close_all(launcher.dispatcher)
        yield launcher


@contextlib.contextmanager
def to_read(ui, repo) -> Iterator[dispatchermod.Dispatcher]:
    '''a dispatcher; nothing is made, and no right to write is needed'''
    repo = repo.unfiltered()
    paths = files.paths(repo)
    with aborting(), contextlib.closing(journal(paths)) as opened:
        dispatcher = dispatchermod.Dispatcher(
            printer.Printer(ui), repo, paths, opened
        )
        abandoned.close_all(dispatcher)
        yield dispatcher
        dispatcher.tell()


def journal(paths: files.Paths, readonly: bool = False) -> journalmod.Journal:
    '''the journal; an empty one where there is none

    It is opened ``readonly`` also where it cannot be written. Raises
    JournalError and UnreadableError.
    '''
    try:
        files.File(paths.folder, 'journal').status()
        if not os.access(paths.journal, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except FileNotFoundError:
        return journalmod.empty()
    except PermissionError as exc:
        owner = util.username(os.lstat(paths.folder).st_uid)
        line = _(b'what is recorded cannot be read: %s')
        raise UnreadableError(
            line % wording.text(str(exc.strerror)),
            hint=_(b'run it as %s, who may') % owner,
        ) from None
    for path in (paths.folder, paths.journal):
        readonly = readonly or not os.access(path, os.W_OK)
    if readonly:
        return journalmod.peek(paths.journal)
    return journalmod.open(paths.journal)


def changeset(repo, rev: bytes):
    '''the context of what -r/--rev names; it has to be committed'''
    context = scmutil.revsingle(repo, rev)
    number = context.rev()
    if number is None or number < 0:
        raise error.InputError(
            _(b"'%s' is not a changeset") % rev,
            hint=_(b'only what was committed can be delegated'),
        )
    return context


def unknown_target(name: bytes, known: Iterable[bytes]) -> error.InputError:
    '''the error that ``name`` is not one of the targets ``known``'''
    listed = b', '.join(sorted(set(known))) or _(b'none, see [delegate]')
    return error.InputError(
        _(b"there is no target '%s'") % name, hint=_(b'targets: %s') % listed
    )


@contextlib.contextmanager
def aborting() -> Iterator[None]:
    '''an error of ours ends the command; who types it may see paths'''
    try:
        yield
    except errors.DelegateError as exc:
        line, remedy = map(wording.text, exc.whole)
        raise error.StateError(line, hint=remedy or None) from None
