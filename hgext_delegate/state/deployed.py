# SPDX-License-Identifier: GPL-2.0-or-later
'''the small file with what each target has: deployed names

It is in the store, so that whoever may read the repository may read it, and a
share has the same. The journal is the record; this is what ``hg log`` can
read of it, without anything else of ours being loaded.
'''

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Mapping

FILENAME = b'delegate-deployed'

# The name of the lock under which it is written: no target begins so.
LOCK = '-deployed'

_LINE = re.compile(rb'([A-Za-z0-9][A-Za-z0-9._-]*) ([0-9a-f]{40})')
# in bytes
_LONGEST = 1024 * 1024


def read(path: bytes | str) -> dict[bytes, bytes]:
    '''the node, 40 hex digits, of each target; {} where there is no file

    What is not a line of ours is passed over. Raises OSError.
    '''
    try:
        # a link would lead to another file, and a pipe would hold us
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return {}
    try:
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        data = os.read(fd, _LONGEST) if is_file else b''
    finally:
        os.close(fd)
    found = filter(None, map(_LINE.fullmatch, data.split(b'\n')))
    return {match[1]: match[2] for match in found}


def replace(path: str, first: bytes, nodes: Mapping[bytes, bytes]) -> None:
    '''write ``nodes``, as read() returns them, after the line ``first``

    The caller holds LOCK. Who may read the folder may read the file. Raises
    OSError.
    '''
    new = path + '.new'
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)  # of a process that was killed
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, 'wb') as file:
        os.fchmod(fd, os.stat(os.path.dirname(path)).st_mode & 0o666)
        lines = [b'%s %s\n' % each for each in sorted(nodes.items())]
        file.write(first + b''.join(lines))
    os.rename(new, path)
