# SPDX-License-Identifier: GPL-2.0-or-later
'''the files of one repository that are ours, and their folder'''

from __future__ import annotations

import dataclasses
import os

from mercurial import util

from .. import errors
from ..push import outbox, push


class FolderError(errors.DelegateError):
    '''.hg/delegate cannot be used'''


def open_own(path: str, flags: int, mode: int | None) -> int:
    '''open ``path``, which is no link; a descriptor. Raises OSError

    A new file gets the permission ``mode``, where None is the umask's; a file
    of another account, such as an administrator's, keeps what it has.
    '''
    fd = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    if mode is not None and os.fstat(fd).st_uid == os.geteuid():
        os.fchmod(fd, mode & 0o666)
    return fd


@dataclasses.dataclass(frozen=True)
class Paths:
    '''the paths of one repository's files, and what a worker says of it

    ``folder`` holds the journal, the locks and the logs. ``mode`` is the
    permission of new files, None for what the umask says.
    '''

    name: str
    root: str
    folder: str
    outbox: str
    mode: int | None

    @property
    def journal(self) -> str:
        return os.path.join(self.folder, 'journal')

    def lock(self, target: str) -> str:
        return os.path.join(self.folder, target + '.lock')

    def log(self, id: str) -> str:
        return os.path.join(self.folder, 'log', id)


def paths(repo) -> Paths:
    '''the paths of ``repo``, whatever is there'''
    return Paths(
        name=push.text(os.path.basename(repo.root)),
        root=os.fsdecode(repo.root),
        folder=os.fsdecode(os.path.join(repo.sharedpath, b'delegate')),
        outbox=os.fsdecode(repo.svfs.join(outbox.FILENAME)),
        mode=repo.store.createmode,
    )


def make(repo) -> Paths:
    '''the same, with the folders made. Raises FolderError'''
    found = paths(repo)
    try:
        util.makedirs(os.fsencode(found.log('')), found.mode)
        if not os.access(found.folder, os.W_OK | os.X_OK):
            raise PermissionError(0, 'Permission denied')
    except OSError as exc:
        raise FolderError(
            '.hg/delegate cannot be written: %s' % exc.strerror,
            'give the server account the right to write in it',
        ) from None
    return found
