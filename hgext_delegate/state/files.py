# files.py - the files of one repository that are ours
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the files of one repository that are ours, and their folder'''

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator

from mercurial import util

from ..push import outbox, push


@dataclasses.dataclass(frozen=True)
class Paths:
    '''the files of one repository that a worker uses

    ``folder`` holds the journal, the locks and the logs; ``store`` is the
    repository's store, and ``outbox`` the file in it. ``mode`` is the
    permission of new files, None for what the umask says. ``lasting`` is
    False where ``folder`` could not be made and is a temporary one.
    '''

    name: str
    root: str
    folder: str
    store: str
    outbox: str
    mode: int | None
    lasting: bool = True

    def lock(self, target: str) -> str:
        # A lock in the temporary folder, which no other process knows, would
        # keep nobody out; the store can be locked without writing in it.
        if self.lasting:
            return os.path.join(self.folder, target + '.lock')
        return self.store

    @property
    def journal(self) -> str:
        return os.path.join(self.folder, 'journal')

    def log(self, id: str) -> str:
        return os.path.join(self.folder, 'log', id)


def paths(repo, folder: str, mode: int | None, lasting: bool = True) -> Paths:
    '''the files of ``repo``, with ours in ``folder``'''
    return Paths(
        name=push.text(os.path.basename(repo.root)),
        root=os.fsdecode(repo.root),
        folder=folder,
        store=os.fsdecode(repo.svfs.join(b'')),
        outbox=os.fsdecode(repo.svfs.join(outbox.FILENAME)),
        mode=mode,
        lasting=lasting,
    )


@contextlib.contextmanager
def made(repo) -> Iterator[Paths]:
    '''.hg/delegate, made if need be; where it cannot be, a temporary folder'''
    folder = os.path.join(repo.sharedpath, b'delegate')
    mode = repo.store.createmode
    lasting = True
    try:
        util.makedirs(os.path.join(folder, b'log'), mode)
        lasting = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        lasting = False
    temporary = '' if lasting else tempfile.mkdtemp(prefix='hg-delegate-')
    if temporary:
        os.mkdir(os.path.join(temporary, 'log'))
    try:
        yield paths(repo, temporary or os.fsdecode(folder), mode, lasting)
    finally:
        if temporary:
            shutil.rmtree(temporary)
