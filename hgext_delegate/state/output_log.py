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


class Log:
    '''the output of one delegation, at most ``limit`` bytes of it

    ``file`` is made if need be, or emptied if ``anew``.
    A full disk does not stop a delegation: lines that cannot be written are
    counted, and ``last_error`` says why.
    '''

    def __init__(self, file: files.File, limit: int, anew: bool = False):
        self._room = limit
        self._lines = 0
        self._bytes = 0
        self._end = b'\n'
        self.last_error = ''
        flags = os.O_WRONLY | os.O_APPEND | (os.O_TRUNC if anew else 0)
        try:
            self.fd = _begun(file.make(flags))
        except OSError as exc:
            self.last_error = exc.strerror or 'it cannot be written'
            self.fd = os.open(os.devnull, os.O_WRONLY)

    def write(self, lines: list[bytes]) -> None:
        '''append ``lines``; those beyond the limit are counted'''
        kept = 0 if self._bytes else len(lines)
        size = sum(map(len, lines[:kept])) + kept
        while size > self._room:
            kept -= 1
            size -= len(lines[kept]) + 1
        self._room -= size
        for line in lines[kept:]:
            self.drop(line + b'\n')
        self._append(b''.join([line + b'\n' for line in lines[:kept]]))

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
        '''count ``data`` as dropped'''
        self._lines += data.count(b'\n')
        self._bytes += len(data)

    def _append(self, data: bytes) -> None:
        while data:
            try:
                written = os.write(self.fd, data)
            except OSError as exc:
                # later lines must not stand in the place of this one
                self.last_error = exc.strerror or 'it cannot be written'
                self.drop(data)
                return
            self._end = data[written - 1 : written]
            data = data[written:]

    def close(self) -> None:
        '''write how much was dropped, and close the file'''
        if self._bytes:
            more = b'[%d lines, %d bytes more]' % (self._lines, self._bytes)
            self.add([more])
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

    def read_data(self) -> bytes:
        '''some of what has come since, whole lines or not'''
        if not self._offset:
            first = os.pread(self._fd, len(files.FIRST_LINE), 0)
            if first == files.FIRST_LINE:
                self._offset = len(first)
            elif files.FIRST_LINE.startswith(first):
                return b''  # it comes
        data = os.pread(self._fd, _CHUNK, self._offset)
        self._offset += len(data)
        return data

    def read(self) -> list[bytes]:
        '''some of the new whole lines; an empty list if there are none'''
        while True:
            data = self.read_data()
            lines = (self._partial + data).split(b'\n')
            self._partial = lines.pop()
            if lines or not data:
                return lines

    def close(self) -> None:
        os.close(self._fd)
