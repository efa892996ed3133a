# SPDX-License-Identifier: GPL-2.0-or-later
'''the folder of a clone: who else may write there, what of it hg may read

A boxed script cannot write ``.hg``. But it can let others write the folder
around that, and one of them could put another ``.hg`` there, whose hooks the
receiver's own hg would run.
'''

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import subprocess
from collections.abc import Callable, Collection
from typing import Any

from mercurial import extensions, match

# An hgrc that does not begin so was written by a person, and stays.
_HGRC = b'# written by hg delegate-receive\n[paths]\ndefault = '
_REPLACED = '.hg-replaced-'
# of a file of patterns, in bytes
_LONGEST = 1024 * 1024


def repository(path: str) -> tuple[int, int]:
    '''which .hg it has; see shut()'''
    found = os.lstat(os.path.join(path, '.hg'))
    return found.st_dev, found.st_ino


def shut(path: str, before: tuple[int, int]) -> bool:
    '''let nobody else write there any more, once nothing runs in the box

    False if ``.hg`` is not the one that it was ``before``: it is moved away.
    Raises OSError.
    '''
    with contextlib.suppress(FileNotFoundError):
        mode = stat.S_IMODE(os.stat(path).st_mode)
        os.chmod(path, (mode | stat.S_IRWXU) & ~0o022)
        if repository(path) == before:
            return True
        new = os.path.join(path, _REPLACED + secrets.token_hex(8))
        os.rename(os.path.join(path, '.hg'), new)
    return False


def trouble(path: str) -> tuple[str, str] | None:
    '''why no hg is to run there before a box, and what to do

    A group may have had the right by the umask; shut() takes it away.
    '''
    if not stat.S_IMODE(os.stat(path).st_mode) & stat.S_IWOTH:
        return None
    return (
        'every account of this host can write in %s' % path,
        'move it away; the next deploy makes it anew',
    )


def open_up(path: str) -> None:
    '''let this account read, and remove, all that it owns there'''
    command = ['chmod', '-R', 'u+rwX', '--', path]
    subprocess.run(command, stderr=subprocess.DEVNULL)


def name_default(path: str, source: str) -> None:
    '''write ``source`` into the hgrc ``path``, for whoever types ``hg pull``'''
    wanted = b'%s%s\n' % (_HGRC, os.fsencode(source))
    with contextlib.suppress(FileNotFoundError), open(path, 'rb') as file:
        data = file.read()
        if data == wanted or not data.startswith(_HGRC):
            return
    # 0600: there may be a password in it
    fd = os.open(path + '.new', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, 'wb') as file:
        file.write(wanted)
    os.rename(path + '.new', path)


def read_patterns_inside(root: str, own: Collection[bytes]) -> None:
    '''in this process, let hg read files of patterns in ``root`` or ``own``

    A pusher's .hgignore may include any file that this account can read, whose
    lines hg quotes, or /dev/zero. What it must not, hg says it skips.
    '''

    def read(orig: Callable, path: bytes, *args, **kwargs) -> Any:
        if path not in own and not _is_inside(root, os.fsdecode(path)):
            raise OSError(errno.EACCES, 'it is not in the clone')
        return orig(path, *args, **kwargs)

    extensions.wrapfunction(match, 'readpatternfile', read)


def _is_inside(root: str, path: str) -> bool:
    real, root = os.path.realpath(path), os.path.realpath(root)
    inside = os.path.relpath(real, root).split('/')[0] not in ('..', '.hg')
    status = os.stat(real)
    return (
        inside and stat.S_ISREG(status.st_mode) and (status.st_size <= _LONGEST)
    )
