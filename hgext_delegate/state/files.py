# SPDX-License-Identifier: GPL-2.0-or-later
'''the files of one repository that are ours, and their folder

Who may write in the repository may write in the folder as well, and so can put
a link, a pipe or a file of their own there. So no link is followed, the last
folder's included, and only regular files are opened. Nobody else can reach
them: who can open a file can lock it.
'''

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import secrets
import stat
from collections.abc import Iterator

from .. import errors
from ..push import outbox, push
from . import deployed

# What a text file of ours begins with. Mercurial trusts an hgrc by its owner,
# also where .hg/hgrc is a link to a file that we have written for somebody.
# By its grammar (mercurial/config.py) this line is an error wherever it stands.
FIRST_LINE = b'written by hg-delegate, this is no hgrc\n'

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class FolderError(errors.DelegateError):
    '''.hg/delegate cannot be used'''


@dataclasses.dataclass(frozen=True)
class File:
    '''the file ``name`` below ``folder``, such as log/ID

    All methods raise OSError.
    '''

    folder: str
    name: str

    @property
    def path(self) -> str:
        return os.path.join(self.folder, self.name)

    def open(self, flags: int) -> int:
        '''a descriptor of the file'''
        with self._inside() as (parent, name):
            # a pipe that somebody has put there would hold us
            flags |= os.O_NOFOLLOW | os.O_NONBLOCK
            fd = os.open(name, flags, dir_fd=parent)
        try:
            _check_regular(os.fstat(fd))
        except OSError:
            os.close(fd)
            raise
        return fd

    def make(self, flags: int, is_lock: bool = False) -> int:
        '''the same; a new file is for those who may use the folder

        A lock is for those who may write there.
        '''
        while True:
            with contextlib.suppress(FileNotFoundError):
                return self.open(flags)
            with contextlib.suppress(FileExistsError):
                return self.make_new(flags, is_lock)

    def make_new(self, flags: int, is_lock: bool = False) -> int:
        with self._inside() as (parent, name):
            shared = os.fstat(parent).st_mode & 0o060
            if is_lock and not shared & 0o020:
                shared = 0
            flags |= os.O_CREAT | os.O_EXCL
            fd = os.open(name, flags, 0o600, dir_fd=parent)
            # whatever the umask is
            os.fchmod(fd, 0o600 | shared)
            return fd

    def write(self, data: bytes) -> None:
        '''let it have ``data`` and nothing else

        Text that others choose begins with FIRST_LINE.
        '''
        with open(self.make(os.O_WRONLY | os.O_TRUNC), 'wb') as file:
            file.write(data)

    def replace(self, data: bytes) -> None:
        '''the same, all at once: whoever reads it finds the old or the new

        Its folder says who can reach it, whichever account has written it.
        '''
        with self._inside() as (parent, name):
            new = '%s.%s' % (name, secrets.token_hex(8))
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            fd = os.open(new, flags, 0o600, dir_fd=parent)
            try:
                with open(fd, 'wb') as file:
                    os.fchmod(fd, 0o644)
                    file.write(data)
                    file.flush()
                    os.fsync(fd)
                os.rename(new, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                os.unlink(new, dir_fd=parent)
                raise

    def status(self) -> os.stat_result:
        '''of a regular file; it is not opened'''
        with self._inside() as (parent, name):
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        _check_regular(status)
        return status

    def unlink(self) -> None:
        with self._inside() as (parent, name):
            os.unlink(name, dir_fd=parent)

    @contextlib.contextmanager
    def _inside(self) -> Iterator[tuple[int, str]]:
        '''a descriptor of the folder that it is in, and its name there'''
        *folders, name = self.name.split('/')
        fd = open_folder(self.folder)
        try:
            for each in folders:
                inner = open_folder(each, fd)
                os.close(fd)
                fd = inner
            yield fd, name
        finally:
            os.close(fd)


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, 'it is no regular file')


def open_folder(path: str, parent: int | None = None) -> int:
    '''a descriptor of the folder ``path``, which is no link. Raises OSError'''
    try:
        return os.open(path, _FOLDER, dir_fd=parent)
    except NotADirectoryError:
        # Linux says so of a link as well
        mode = os.stat(path, dir_fd=parent, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, 'it is a symbolic link') from None
        raise


@dataclasses.dataclass(frozen=True)
class Paths:
    '''the paths of one repository's files, and what a worker says of it

    ``folder`` holds the journal, the locks and the logs.
    '''

    name: str
    root: str
    folder: str
    outbox: str

    @property
    def journal(self) -> str:
        return os.path.join(self.folder, 'journal')

    @property
    def deployed(self) -> str:
        store = os.path.dirname(self.outbox)
        return os.path.join(store, os.fsdecode(deployed.FILENAME))

    @property
    def traceback(self) -> File:
        return File(self.folder, 'traceback')

    @property
    def untold(self) -> File:
        '''what went wrong with telling the last end'''
        return File(self.folder, 'untold')

    def lock(self, target: str) -> File:
        return File(self.folder, target + '.lock')

    def next(self, target: str) -> File:
        '''the lock of a process that will delegate all that waits'''
        return File(self.folder, target + '.next')

    def hold(self, target: str) -> File:
        '''what keeps the pushes to ``target`` waiting, while it is there'''
        return File(self.folder, target + '.hold')

    def log(self, id: str) -> File:
        return File(self.folder, 'log/' + id)


def paths(repo) -> Paths:
    '''the paths of ``repo``, whatever is there'''
    return Paths(
        name=push.text(os.path.basename(repo.root)),
        root=os.fsdecode(repo.root),
        folder=os.fsdecode(os.path.join(repo.sharedpath, b'delegate')),
        outbox=os.fsdecode(repo.svfs.join(outbox.FILENAME)),
    )


def make(repo) -> Paths:
    '''the same, with the folders made. Raises FolderError'''
    found = paths(repo)
    try:
        like = os.stat(repo.svfs.join(b''))
        _make_folder(found.folder, like)
        _make_folder(found.log('').path, like)
        if not os.access(found.folder, os.W_OK | os.X_OK):
            raise PermissionError(0, 'Permission denied')
    except OSError as exc:
        remedy = 'give the server account the right to write in it'
        if exc.errno in (errno.ELOOP, errno.ENOTDIR):
            remedy = 'move away what is there: the next push makes the folder'
        raise FolderError(
            '.hg/delegate cannot be written: %s' % exc.strerror, remedy
        ) from None
    return found


def _make_folder(path: str, like: os.stat_result) -> None:
    '''make ``path`` for those who may write in a folder ``like`` this

    One that others can reach, as an older version has made it, is closed to
    them. Else it stays as an administrator may have set it.
    '''
    try:
        os.mkdir(path, 0o700)
        is_new = True
    except FileExistsError:
        is_new = False
    fd = open_folder(path.rstrip('/'))
    try:
        status = os.fstat(fd)
        if not is_new and not status.st_mode & 0o007:
            return
        if not is_new and status.st_uid != os.geteuid():
            raise FolderError(
                '.hg/delegate can be reached by others than its writers',
                'chmod -R o-rwx .hg/delegate, as its owner',
            )
        outbox.give(fd, like)
        if is_new or stat.S_IMODE(os.fstat(fd).st_mode) != 0o700:
            return
        # nobody else can put anything in the place of these any more
        for name in os.listdir(fd):
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and found.st_uid == status.st_uid:
                os.chmod(name, 0o600, dir_fd=fd)
    finally:
        os.close(fd)
