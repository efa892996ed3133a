# SPDX-License-Identifier: GPL-2.0-or-later
'''reading a file that may be anything: a FIFO, a folder, endless'''

from __future__ import annotations

import os
import stat

_MAX_FILE = 16 * 1024 * 1024


def read(path: str) -> tuple[os.stat_result, bytes]:
    '''the status and the content of a regular file. Raises OSError'''
    # One descriptor for the check and the reading: the file cannot be
    # exchanged in between. O_NONBLOCK, or a FIFO would be waited for.
    with open(
        path, 'rb', opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)
    ) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, 'not a regular file')
        content = file.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        raise OSError(0, 'too long')
    return status, content
