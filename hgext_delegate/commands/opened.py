# opened.py - what each command begins with
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what each command begins with: targets, outbox and journal, opened'''

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from mercurial import error

from ..delivery import abandoned, dispatcher, launcher as launchermod
from ..report import printer, wording
from ..state import files, journal as journalmod


@contextlib.contextmanager
def to_delegate(ui, repo) -> Iterator[launchermod.Launcher]:
    '''a launcher; folder and journal are made if need be'''
    with _aborting(), launchermod.open(ui, repo.unfiltered()) as launcher:
        abandoned.close_all(launcher.dispatcher)
        yield launcher


@contextlib.contextmanager
def to_read(ui, repo) -> Iterator[dispatcher.Dispatcher]:
    '''a dispatcher; nothing is made, and no right to write is needed'''
    repo = repo.unfiltered()
    paths = files.paths(repo)
    with _aborting(), contextlib.closing(_journal(paths)) as journal:
        made = dispatcher.Dispatcher(printer.Printer(ui), repo, paths, journal)
        abandoned.close_all(made)
        yield made


def _journal(paths: files.Paths) -> journalmod.Journal:
    if not os.path.exists(paths.journal):
        return journalmod.empty()
    if os.access(paths.folder, os.W_OK) and os.access(paths.journal, os.W_OK):
        return journalmod.open(paths.journal, paths.mode)
    return journalmod.peek(paths.journal)


@contextlib.contextmanager
def _aborting() -> Iterator[None]:
    try:
        yield
    except (files.FolderError, journalmod.JournalError) as exc:
        line, remedy = wording.of_error(exc)
        raise error.StateError(line, hint=remedy) from None
