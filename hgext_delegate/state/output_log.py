# output_log.py - what a delegation printed
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what a delegation printed: a file that one writes and others follow

The worker that drains the deploy side appends whole, safe lines; whoever
wants to hear reads the same file at a pace of his own. So a pusher who stops
or goes away holds nobody up, one who is merely slow loses no line, and a
push that waits can watch the delegation of another.
'''

from __future__ import annotations

import os

_CHUNK = 64 * 1024


class Log:
    '''the output of one delegation, at most ``limit`` bytes of it

    ``path`` is made if need be, with the permission ``mode``, and emptied if
    ``anew``. A full disk must not stop a delegation: what cannot be written
    is dropped, counted, and ``last_error`` says why.
    '''

    def __init__(
        self,
        path: str,
        limit: int,
        mode: int | None = None,
        anew: bool = False,
    ):
        self._room = limit
        self._lines = 0
        self._bytes = 0
        self._end = b'\n'
        self.last_error = ''
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        flags |= os.O_TRUNC if anew else 0
        try:
            self.fd = os.open(path, flags, 0o666)
            if mode is not None and os.fstat(self.fd).st_uid == os.geteuid():
                os.fchmod(self.fd, mode & 0o666)
        except OSError as exc:
            self.last_error = exc.strerror or 'it cannot be written'
            self.fd = os.open(os.devnull, os.O_WRONLY)

    def write(self, lines: list[bytes]) -> None:
        '''append ``lines``; what does not fit is counted'''
        kept = 0
        for line in lines:
            if self._bytes or len(line) + 1 > self._room:
                self.drop(line + b'\n')
            else:
                self._room -= len(line) + 1
                kept += 1
        self._append(b''.join(line + b'\n' for line in lines[:kept]))

    def write_data(self, data: bytes) -> None:
        '''append ``data``, which need not be whole lines; the same'''
        kept = 0 if self._bytes else self._room
        self._room -= len(data[:kept])
        self.drop(data[kept:])
        self._append(data[:kept])

    def add(self, lines: list[bytes]) -> None:
        '''append ``lines``, each on a line of its own, whatever the limit'''
        new = b'' if self._end == b'\n' else b'\n'
        self._append(new + b''.join(line + b'\n' for line in lines))

    def drop(self, data: bytes) -> None:
        '''count ``data`` as more than could be kept'''
        self._lines += data.count(b'\n')
        self._bytes += len(data)

    def _append(self, data: bytes) -> None:
        while data:
            try:
                written = os.write(self.fd, data)
            except OSError as exc:
                # no more is tried, or what follows would stand in its place
                self.last_error = exc.strerror or 'it cannot be written'
                self.drop(data)
                return
            self._end = data[written - 1 : written]
            data = data[written:]

    def close(self) -> None:
        '''say what was dropped, and let go of the file'''
        if self._bytes:
            more = b'[%d lines, %d bytes more]' % (self._lines, self._bytes)
            self.add([more])
        os.close(self.fd)


class Reader:
    '''the lines of the log ``path``, from its beginning, as they come

    Raises OSError where there is no such log.
    '''

    def __init__(self, path: str):
        self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        self._offset = 0
        self._partial = b''

    def read_data(self) -> bytes:
        '''some of what has come since, whole lines or not'''
        data = os.pread(self._fd, _CHUNK, self._offset)
        self._offset += len(data)
        return data

    def read(self) -> list[bytes]:
        '''some of the whole lines that have come since; none is the end'''
        while True:
            data = self.read_data()
            lines = (self._partial + data).split(b'\n')
            self._partial = lines.pop()
            if lines or not data:
                return lines

    def close(self) -> None:
        os.close(self._fd)
