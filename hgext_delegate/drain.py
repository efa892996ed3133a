# drain.py - from a session to the log
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''from a session, through the relays, into the log of a delegation'''

from __future__ import annotations

import threading
import time

from . import output, relay, target as targetmod

# How long a partial line is held before it is shown, in seconds.
PATIENCE = 0.5


class Drain:
    '''both streams of a session, through their relays, into the log'''

    def __init__(
        self,
        log: output.Log,
        target: targetmod.Target,
        news: threading.Event,
    ):
        self._log = log
        self._news = news
        # What comes is bounded as well as what is shown: to make a flood safe
        # takes time even if nothing of it can be seen.
        self._room = 2 * target.output_limit
        self._relays = {n: relay.Relay(target.color) for n in (1, 2)}
        self._held: dict[int, float] = {}

    def receive(self, stream: int, data: bytes) -> None:
        taken, dropped = data[: self._room], data[self._room :]
        self._room -= len(taken)
        self._show(self._relays[stream].feed(taken))
        self._log.drop(dropped)

    def tick(self) -> None:
        '''let go of what was held for longer than PATIENCE'''
        now = time.monotonic()
        for stream, relayed in self._relays.items():
            if not relayed.held:
                self._held.pop(stream, None)
            elif now - self._held.setdefault(stream, now) >= PATIENCE:
                del self._held[stream]
                self._show(relayed.flush())

    def close(self) -> None:
        for relayed in self._relays.values():
            self._show(relayed.close())

    def _show(self, lines: list[bytes]) -> None:
        if lines:
            self._log.write(lines)
            self._news.set()
