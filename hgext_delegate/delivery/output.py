# SPDX-License-Identifier: GPL-2.0-or-later
'''both streams of one session: made safe, masked, bounded, and kept in a log'''

from __future__ import annotations

import threading
import time

from .. import sanitizer
from ..config import targets as targetsmod
from ..ssh import session
from ..state import output_log

# How long a partial line is held before it is shown, in seconds.
_PATIENCE = 0.5

# Beyond this many times the output limit a delegation is ended: making a flood
# safe takes time, even if none of it is shown. A receiver sends 100 MB at most.
_FLOOD = 10
_SMALLEST_FLOOD = 200 * 1024 * 1024


class Output:
    '''both streams of a session, through their sanitizers, into the log'''

    def __init__(
        self,
        log: output_log.Log,
        target: targetsmod.Target,
        news: threading.Event,
    ):
        self._log = log
        self._news = news
        self._room = max(_FLOOD * target.output_limit, _SMALLEST_FLOOD)
        self._flood = self._room // 1024**2
        self._mask = target.mask
        self._streams = {n: sanitizer.Sanitizer(target.color) for n in (1, 2)}
        self._held: dict[int, float] = {}

    def receive(self, stream: int, data: bytes) -> None:
        self._room -= len(data)
        self._show(self._streams[stream].feed(data))
        if self._room < 0:
            raise session.Expired(
                f'more than {self._flood} MB of output',
                'let it print less, or set output-limit higher',
                started=True,
            )

    def tick(self) -> None:
        '''show what was held for longer than _PATIENCE

        With a mask only whole lines are shown: half a secret would not match.
        '''
        if self._mask:
            return
        now = time.monotonic()
        for number, stream in self._streams.items():
            if not stream.held:
                self._held.pop(number, None)
            elif now - self._held.setdefault(number, now) >= _PATIENCE:
                del self._held[number]
                self._show(stream.flush())

    def close(self) -> None:
        for stream in self._streams.values():
            self._show(stream.close())

    def _show(self, lines: bytes) -> None:
        if lines:
            if self._mask:
                every = lines.split(b'\n')[:-1]
                lines = b''.join(self._masked(line) + b'\n' for line in every)
            self._log.write(lines)
            self._news.set()

    def _masked(self, line: bytes) -> bytes:
        text = line.decode('utf-8', 'surrogateescape')
        for pattern in self._mask:
            text = pattern.sub('***', text)
        return text.encode('utf-8', 'surrogateescape')
