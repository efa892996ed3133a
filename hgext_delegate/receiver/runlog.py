# runlog.py - what a run prints
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what a run prints: its script, and the receiver itself'''

from __future__ import annotations

import contextlib
import os

from . import run_store

# How much of the output is kept, in bytes.
LIMIT = 100 * 1024 * 1024


class Log:
    '''what a run prints, up to LIMIT bytes of it'''

    def __init__(self, run: run_store.Run):
        self._fd = run.open_log()
        self._room = LIMIT - os.fstat(self._fd).st_size
        self._dropped = 0
        self._end = b'\n'

    def write(self, data: bytes) -> None:
        kept = data[: max(0, self._room)]
        try:
            while kept:
                written = os.write(self._fd, kept)
                self._end = kept[written - 1 : written]
                self._room -= written
                kept, data = kept[written:], data[written:]
        except OSError:
            # a full disk: no reason to stop a deploy
            self._room = 0
        self._dropped += len(data)

    def say(self, text: str, remedy: str = '') -> None:
        '''a line of our own; a text of several lines is several'''
        lines = ['delegate-receive: ' + line for line in text.split('\n')]
        if remedy:
            lines.append('(%s)' % remedy)
        new = '' if self._end == b'\n' else '\n'
        said = new + '\n'.join(lines) + '\n'
        with contextlib.suppress(OSError):
            os.write(self._fd, said.encode('utf-8', 'replace'))
            self._end = b'\n'

    def close(self) -> None:
        if self._dropped:
            self.say('%d bytes more were printed' % self._dropped)
        os.close(self._fd)
