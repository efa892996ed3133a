# SPDX-License-Identifier: GPL-2.0-or-later
'''what a delegation printed: a file that one writes and others follow

The worker appends whole, safe lines. Each pusher reads the same file at their
own pace: a slow one loses no line, one who stops delays nobody, and a push
that waits can follow the delegation of another.
'''

from __future__ import annotations

import errno
import os

from . import files

_CHUNK = 64 * 1024

# how much of the end is kept at most, in bytes
_LONGEST_END = 1024 * 1024


class Log:
    '''the output of one delegation, at most ``limit`` bytes of it

    Of more than that the beginning and the end are kept: the last lines are
    held back, and close() writes them after a line that counts what was left
    out. ``file`` is made if need be, or emptied if ``anew``. A full disk stops
    no delegation: what cannot be written is counted, and ``last_error`` says
    why.
    '''

    def __init__(self, file: files.File, limit: int, anew: bool = False):
        self._room = limit - min(limit // 2, _LONGEST_END)
        self._limit = limit
        self._end: bytearray | None = None  # once there is no more room
        self._lines = 0
        self._bytes = 0
        self._last = b'\n'
        self.last_error = ''
        flags = os.O_WRONLY | os.O_APPEND | (os.O_TRUNC if anew else 0)
        try:
            self.fd = _begun(file.make(flags))
        except OSError as exc:
            self.last_error = exc.strerror or 'it cannot be written'
            self.fd = os.open(os.devnull, os.O_WRONLY)

    def write(self, data: bytes) -> None:
        '''append ``data``, which need not be whole lines'''
        if self._end is None and len(data) > self._room:
            whole = data.rfind(b'\n', 0, self._room) + 1
            self._append(data[:whole])
            self._limit -= whole
            self._end = bytearray()
            data = data[whole:]
        if self._end is None:
            self._room -= len(data)
            self._limit -= len(data)
            self._append(data)
        else:
            self._end += data
            # rarely, since it moves all that is held
            if len(self._end) > self._limit + _LONGEST_END:
                self._shorten(self._end)

    def add(self, lines: list[bytes]) -> None:
        '''append ``lines``, each on a line of its own, whatever the limit'''
        last = self._last if self._end is None else self._end[-1:]
        new = b'' if last in (b'', b'\n') else b'\n'
        data = new + b''.join(line + b'\n' for line in lines)
        if self._end is None:
            self._append(data)
        else:
            self._limit += len(data)
            self._end += data

    def _shorten(self, end: bytearray) -> None:
        '''count the oldest of what is held, up to the end of a line'''
        over = len(end) - self._limit
        if over > 0:
            over = end.find(b'\n', over - 1) + 1 or len(end)
            self._drop(end[:over])
            del end[:over]

    def _drop(self, data: bytes | bytearray) -> None:
        self._lines += data.count(b'\n')
        self._bytes += len(data)

    def _append(self, data: bytes) -> None:
        while data:
            try:
                written = os.write(self.fd, data)
            except OSError as exc:
                # later lines must not stand in the place of this one
                self.last_error = exc.strerror or 'it cannot be written'
                self._drop(data)
                self._end = self._end or bytearray()
                return
            self._last = data[written - 1 : written]
            data = data[written:]

    def close(self) -> None:
        '''write how much was left out, and the end, and close the file'''
        end, self._end = self._end or bytearray(), None
        self._shorten(end)
        if self._bytes:
            left_out = b'[%d lines, %d bytes left out]'
            self.add([left_out % (self._lines, self._bytes)])
        self._append(bytes(end))
        os.close(self.fd)


def _begun(fd: int) -> int:
    '''``fd``, a log with its first line. Raises OSError without it'''
    try:
        if not os.fstat(fd).st_size:
            if os.write(fd, files.FIRST_LINE) < len(files.FIRST_LINE):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        # what comes later must not be the first line, once there is room
        os.ftruncate(fd, 0)
        os.close(fd)
        raise
    return fd


class Reader:
    '''the lines of the log ``file`` from its beginning, as they are written

    Raises OSError where there is no such log.
    '''

    def __init__(self, file: files.File):
        self._fd = file.open(os.O_RDONLY)
        self._offset = 0
        self._partial = b''

    def read_data(self, size: int = _CHUNK) -> bytes:
        '''some of what has come since, whole lines or not'''
        if not self._offset:
            first = os.pread(self._fd, len(files.FIRST_LINE), 0)
            if first == files.FIRST_LINE:
                self._offset = len(first)
            elif files.FIRST_LINE.startswith(first):
                return b''  # it comes
        data = os.pread(self._fd, size, self._offset)
        self._offset += len(data)
        return data

    def read(self, size: int = _CHUNK) -> bytes:
        '''some of the new whole lines; nothing if there are none'''
        while data := self.read_data(size):
            end = data.rfind(b'\n') + 1
            if end:
                lines, self._partial = self._partial + data[:end], data[end:]
                return lines
            self._partial += data
        return b''

    def close(self) -> None:
        os.close(self._fd)
