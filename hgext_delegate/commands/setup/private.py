# SPDX-License-Identifier: GPL-2.0-or-later
'''the folder of this account's configuration, and safe writing in it

All is done below one descriptor of the folder, so that nobody can exchange it
on the way, and no link is followed in it.
'''

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from ... import errors

_NAME = 'hg-delegate'
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_MOST_BYTES = 1024 * 1024


def place() -> str:
    '''the path of the folder: where Mercurial, too, seeks such things'''
    base = os.environ.get('XDG_CONFIG_HOME', '')
    if not os.path.isabs(base):
        base = os.path.expanduser('~/.config')
    return os.path.join(base, _NAME)


@contextlib.contextmanager
def folder(*names: str) -> Iterator[Folder]:
    '''the folder, or that of ``names`` in it; made as need be, with mode 0700

    Raises DelegateError, also for OSErrors of what is done with it.
    '''
    path = place()
    base = os.path.dirname(path)
    try:
        os.makedirs(base, 0o700, exist_ok=True)
        fd = os.open(base, _FOLDER)
        try:
            # An administrator may have made it, and our folder in it.
            if os.fstat(fd).st_uid not in (0, os.geteuid()):
                raise _foreign(base)
            for name in (_NAME, *names):
                path = os.path.join(base, name)
                base, above = path, fd
                fd = _enter(above, path)
                os.close(above)
            yield Folder(path, fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise errors.DelegateError(
            'cannot use %s: %s' % (path, exc.strerror),
            'XDG_CONFIG_HOME can name a folder of this account for it',
        ) from None


def _enter(above: int, path: str) -> int:
    '''a descriptor of the folder ``path``, which is in ``above``'''
    name = os.path.basename(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
    fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
    status = os.fstat(fd)
    if status.st_uid == os.geteuid() and not status.st_mode & 0o022:
        return fd
    os.close(fd)
    if status.st_uid != os.geteuid():
        raise _foreign(path)
    raise errors.DelegateError(
        '%s can be written by others' % path, 'chmod 700 %s' % path
    )


def _foreign(path: str) -> errors.DelegateError:
    return errors.DelegateError(
        '%s belongs to another account' % path,
        'run this as the server account with its own HOME: sudo -H -u ACCOUNT',
    )


@dataclass(frozen=True)
class Folder:
    '''a folder of this account alone. Its methods raise OSError'''

    path: str
    fd: int

    def has(self, name: str) -> bool:
        return name in os.listdir(self.fd)

    def read(self, name: str) -> bytes:
        '''what the file has; nothing where there is none'''
        try:
            with open(self._open(name, os.O_RDONLY), 'rb') as file:
                return file.read(_MOST_BYTES)
        except FileNotFoundError:
            return b''

    def publish(self, name: str, data: bytes, mode: int = 0o600) -> None:
        '''make the file ``name``, whole or not at all, unless it is there'''
        new = '.%s' % secrets.token_hex(8)
        fd = self._open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with open(fd, 'wb') as file:
                os.fchmod(fd, mode)
                file.write(data)
                file.flush()
                os.fsync(fd)
            # Unlike a renaming this fails where somebody else was quicker.
            with contextlib.suppress(FileExistsError):
                os.link(new, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        finally:
            os.unlink(new, dir_fd=self.fd)
        os.fsync(self.fd)

    def append(self, name: str, line: bytes) -> None:
        '''add a line to the file ``name``, and to what others add just now'''
        old = self.read(name)
        if old and not old.endswith(b'\n'):
            line = b'\n' + line
        fd = self._open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with open(fd, 'wb', buffering=0) as file:
            file.write(line + b'\n')
            os.fsync(fd)

    def _open(self, name: str, flags: int) -> int:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(name, flags, 0o600, dir_fd=self.fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(0, '%s is not a regular file' % name)
        return fd
