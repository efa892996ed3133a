# SPDX-License-Identifier: GPL-2.0-or-later
'''what the far side says on one session channel: in order, and bounded

The connection's thread hands in channel messages (RFC 4254), which are read
strictly; one other thread takes out what they say. Memory stays below six
times the window, whatever the far side sends: it is charged for every byte,
and a byte that came alone costs four more.
'''

from __future__ import annotations

import array
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from . import rfc4251

STDOUT = 1
STDERR = 2

# Message numbers, RFC 4254 9.
WINDOW_ADJUST = 93
DATA = 94
EXTENDED_DATA = 95
EOF = 96
CLOSE = 97
REQUEST = 98
SUCCESS = 99
FAILURE = 100

NUMBERS = range(WINDOW_ADJUST, FAILURE + 1)

_MAX_UNANSWERED = 1000

# how much is dealt with at once, in bytes: it stays in the processor's cache
_PIECE = 64 * 1024


class ViolationError(Exception):
    '''the far side broke the protocol; the text is ours'''


@dataclass(frozen=True)
class End:
    '''how the remote command ended

    Either ``status`` (0 to 2**32-1) is given, or ``signal``: its name
    without SIG. ``is_kept_open``: something that it has left running keeps
    its output open.
    '''

    status: int | None
    signal: str | None
    is_kept_open: bool = False


class Listener(Protocol):
    '''gets every message of a channel, in the connection's thread'''

    def hear(self, number: int, body: bytes) -> None: ...

    def hang_up(self) -> None: ...


class ChannelReceiver:
    '''all that one remote command says, from exec to close

    ``end`` is the first status or signal reported, ``room`` how many bytes
    of standard input the far side takes now, and ``unanswered`` counts the
    requests that want a reply. ``window`` bytes may arrive before they are
    credited.
    '''

    def __init__(self, window: int):
        self.refused = self.closed = self.eof = self.lost = False
        self.end: End | None = None
        self.room = 0
        self.unanswered = 0
        self._changed = threading.Condition()
        self._accepted = self._news = False
        self._questions = 0
        self._window = window
        self._spent = 0
        self._credit_at = window // 4
        self._data = bytearray()
        # The length of each run of one stream in _data, negative for STDERR.
        self._runs = array.array('i')
        self._hear: dict[int, Callable[[bytes], None]] = {
            WINDOW_ADJUST: self._adjusted,
            DATA: self._output,
            EXTENDED_DATA: self._extended,
            EOF: self._eof,
            CLOSE: self._closed,
            REQUEST: self._request,
            SUCCESS: self._succeeded,
            FAILURE: self._refused,
        }

    def hear(self, number: int, body: bytes) -> None:
        '''take in a message, from what follows the channel's number

        Raises ViolationError.
        '''
        with self._changed:
            try:
                self._hear[number](body)
            except rfc4251.DamagedError:
                raise ViolationError('a damaged message') from None
            self._news = True
            self._changed.notify()

    def hang_up(self) -> None:
        '''the connection is gone: nothing more will be heard'''
        with self._changed:
            self.lost = self._news = True
            self._changed.notify()

    def take(self, seconds: float) -> Iterator[tuple[int, bytes]]:
        '''the output since last time, after waiting for news for ``seconds``

        It comes in the order of its arrival: pairs of stream and bytes.
        '''
        with self._changed:
            if not self._news:
                self._changed.wait(seconds)
            self._news = False
            data, runs = self._data, self._runs
            self._data, self._runs = bytearray(), array.array('i')
        return _cut(data, runs)

    def is_waiting(self) -> bool:
        '''whether what runs there, if anything, has not ended'''
        with self._changed:
            over = self.end or self.eof or self.closed
            return not (over or self.refused or self.lost)

    def over(self) -> bool:
        '''whether all has been heard and taken'''
        with self._changed:
            done = self.eof and self.end is not None
            done = done or self.closed or self.refused or self.lost
            return done and not self._runs

    def credit(self, size: int) -> int:
        '''``size`` bytes are dealt with; how much window to grant now'''
        with self._changed:
            self._spent += size
            if self._spent < self._credit_at:
                return 0
            grant, self._spent = self._spent, 0
            self._window += grant
            return grant

    def send(self, size: int) -> int:
        '''reserve room for up to ``size`` bytes of standard input'''
        with self._changed:
            size = min(size, self.room)
            self.room -= size
            return size

    def answer(self) -> int:
        '''how many requests to answer with a failure now'''
        with self._changed:
            count, self.unanswered = self.unanswered, 0
            return count

    def expect_answer(self) -> None:
        '''a request that wants a reply is sent, besides the exec request'''
        with self._changed:
            self._questions += 1

    def has_answered(self) -> bool:
        '''whether all of these were answered, whatever the answer'''
        with self._changed:
            return not self._questions

    def _adjusted(self, body: bytes) -> None:
        self.room += rfc4251.number(body)
        # RFC 4254 5.2
        if self.room > 0xFFFFFFFF:
            raise ViolationError('a window beyond its limit')

    def _output(self, body: bytes) -> None:
        self._store(1, rfc4251.string(body))

    def _extended(self, body: bytes) -> None:
        if rfc4251.number(body[:4]) != 1:
            raise ViolationError('an unknown kind of data')
        self._store(-1, rfc4251.string(body[4:]))

    def _store(self, sign: int, data: bytes) -> None:
        self._accepted = True
        self._window -= len(data)
        if self._window < 0:
            raise ViolationError('more data than its window allows')
        # As ssh does: what follows the end of file is not heard.
        if not data or self.eof:
            return
        self._data += data
        if self._runs and (self._runs[-1] > 0) == (sign > 0):
            self._runs[-1] += sign * len(data)
        else:
            self._runs.append(sign * len(data))

    def _eof(self, body: bytes) -> None:
        self.eof = True

    def _closed(self, body: bytes) -> None:
        self.closed = True

    def _succeeded(self, body: bytes) -> None:
        if self._accepted and self._questions:
            self._questions -= 1
        self._accepted = True

    def _refused(self, body: bytes) -> None:
        if self._accepted and self._questions:
            self._questions -= 1
        elif self._accepted:
            # What has been seen to run cannot be refused any more: it would
            # be run again.
            raise ViolationError('a refusal of what it had accepted')
        else:
            self.refused = True

    def _request(self, body: bytes) -> None:
        name, rest = rfc4251.split(body)
        if not rest:
            raise ViolationError('a damaged request')
        if rest[0]:
            self.unanswered += 1
            if self.unanswered > _MAX_UNANSWERED:
                raise ViolationError('too many requests')
        if name == b'exit-status':
            end = End(rfc4251.number(rest[1:]), None)
        elif name == b'exit-signal':
            end = End(None, _signal(rfc4251.split(rest[1:])[0]))
        else:
            return
        self._accepted = True
        self.end = self.end or end


def _cut(
    data: bytearray, runs: array.array[int]
) -> Iterator[tuple[int, bytes]]:
    view = memoryview(data)
    for run in runs:
        rest, view = view[: abs(run)], view[abs(run) :]
        while rest:
            yield (STDOUT if run > 0 else STDERR), bytes(rest[:_PIECE])
            rest = rest[_PIECE:]


def _signal(name: bytes) -> str:
    text = name.decode('latin-1')
    return text if re.fullmatch(r'[A-Za-z0-9@.+-]{1,40}', text) else 'unknown'
