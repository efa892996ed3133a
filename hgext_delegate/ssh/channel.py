# SPDX-License-Identifier: GPL-2.0-or-later
'''running one command on one session channel (RFC 4254 6.5)

The thread that runs the command alone sends; what the far side says comes to
its inbox meanwhile.
'''

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from typing import Union

from . import channel_receiver, rfc4251

# what can be sent
Buffer = Union[bytes, mmap.mmap]

TICK = 0.25
# What a command has left running may keep its output open. Its exit status
# counts once nothing came for the first of these, and at the latest after the
# second, in seconds.
SILENCE = 2.0
LONGEST = 5.0


class Command:
    '''the sending side of one remote command

    ``send`` sends a message; ``number`` is the far side's for the channel,
    and ``largest`` the most data that it takes in one message.
    ``is_kept_open`` is set if the output had no end of file.
    '''

    is_kept_open = False

    def __init__(
        self,
        inbox: channel_receiver.ChannelReceiver,
        send: Callable[[bytes], None],
        number: int,
        largest: int,
    ):
        self._inbox = inbox
        self._send = send
        self._number = number
        self._largest = largest

    def ask(self, command: bytes) -> None:
        '''send the exec request for ``command``'''
        self._request(b'exec', rfc4251.pack(command))

    def run(
        self,
        stdin: bytes,
        receive: Callable[[int, bytes], None],
        tick: Callable[[], None],
        more: Buffer = b'',
    ) -> None:
        '''send ``stdin`` and ``more``, and drain the output to its end

        ``receive`` gets the output as it comes, and ``tick`` is called about
        every TICK seconds whatever comes.
        '''
        inbox = self._inbox
        silence = _Silence()
        unsent: memoryview | None = memoryview(stdin)
        later = memoryview(more)
        due = time.monotonic() + TICK
        while not inbox.over() and not self.is_kept_open:
            # A message at a time: what it makes the far side say is taken
            # before the next.
            if unsent is not None and not unsent:
                unsent, later = later, later[:0]
            before, unsent = unsent, self._feed(unsent)
            patience = due - time.monotonic() if unsent is before else 0
            for stream, data in inbox.take(max(patience, 0)):
                receive(stream, data)
                self._grant(len(data))
                due = _tick(tick, due)
                silence.heard()
            if inbox.end and silence.is_over():
                # The connection may be dead, and more output on its way.
                self.is_kept_open = silence.asked and inbox.has_answered()
                if not silence.asked:
                    silence.asked = True
                    inbox.expect_answer()
                    self._request(b'keepalive@openssh.com')
            for _ in range(inbox.answer()):
                self._say(channel_receiver.FAILURE)
            due = _tick(tick, due)
        if not inbox.lost:
            self._say(channel_receiver.CLOSE)

    def _feed(self, unsent: memoryview | None) -> memoryview | None:
        '''send what the far side takes; what is left, None after the EOF'''
        # A command that ends without reading its input is in its right.
        if unsent is None or self._inbox.closed:
            return unsent
        if not unsent:
            self._say(channel_receiver.EOF)
            return None
        size = self._inbox.send(min(len(unsent), self._largest))
        if size:
            self._say(channel_receiver.DATA, rfc4251.pack(unsent[:size]))
        return unsent[size:] if size else unsent

    def _grant(self, size: int) -> None:
        grant = self._inbox.credit(size)
        if grant:
            more = rfc4251.pack_number(grant)
            self._say(channel_receiver.WINDOW_ADJUST, more)

    def _request(self, name: bytes, body: bytes = b'') -> None:
        '''send a channel request that wants a reply'''
        self._say(channel_receiver.REQUEST, rfc4251.pack(name) + b'\1' + body)

    def _say(self, message: int, body: bytes = b'') -> None:
        number = rfc4251.pack_number(self._number)
        self._send(bytes([message]) + number + body)


class _Silence:
    '''since when a command that has ended says nothing more

    ``asked`` says whether the far side was asked since then if it is there.
    '''

    def __init__(self) -> None:
        self.asked = False
        self._quiet = self._latest = 0.0

    def heard(self) -> None:
        '''some output has come'''
        now = time.monotonic()
        self._quiet = now + SILENCE
        if now < self._latest:
            self.asked = False

    def is_over(self) -> bool:
        '''whether it was long enough; first asked when the status has come'''
        now = time.monotonic()
        if not self._latest:
            self._quiet, self._latest = now + SILENCE, now + LONGEST
        return now >= min(self._quiet, self._latest)


def _tick(tick: Callable[[], None], due: float) -> float:
    now = time.monotonic()
    if now < due:
        return due
    tick()
    return now + TICK
