# SPDX-License-Identifier: GPL-2.0-or-later
'''a page that goes on while its delegation runs, without JavaScript

The reply is sent line by line; the verdict comes last. It holds a thread of the
web server, but neither a repository object nor a lock: it has values only. So
it is done where the server has threads, and for a few at a time. Otherwise the
page asks the browser to come again.
'''

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from .. import errors
from ..state import delegation, output_log
from . import web_records

# How many replies of one process are live at a time.
FOLLOWERS = 3
_followers = threading.BoundedSemaphore(FOLLOWERS)

# How often the log and the journal are read, in seconds.
_GLANCE = 0.1
_LOOK = 0.5
# Only a failed write tells that the client is gone. In seconds.
HEARTBEAT = 10.0
# For so long a lock can be free while its delegation goes on: a worker at its
# start, or between two attempts. In seconds.
_HANDOVER = 3.0


class Reply(Protocol):
    '''how a reply is worded'''

    @property
    def heartbeat(self) -> bytes:
        '''what no reader sees, if there is such a thing'''

    def begin(self, lasts: bool) -> bytes:
        '''``lasts`` says whether the reply goes on until the end'''

    def line(self, data: bytes) -> bytes:
        '''one line of output'''

    def end(self, row: delegation.Delegation | None) -> bytes:
        '''``row`` is the last record, None if nobody works on it'''


@dataclasses.dataclass(frozen=True)
class Live:
    '''the rest of a reply about ``row``, which goes on if it ``may_last``'''

    records: web_records.Records
    row: delegation.Delegation
    reply: Reply
    may_last: bool

    def chunks(self) -> Iterator[bytes]:
        '''closed by the web server when the client has gone'''
        lasts = self.may_last and _followers.acquire(blocking=False)
        try:
            yield self.reply.begin(lasts)
            yield from self._lines(lasts)
        finally:
            if lasts:
                _followers.release()

    def _lines(self, lasts: bool) -> Iterator[bytes]:
        row: delegation.Delegation | None = self.row
        with contextlib.ExitStack() as stack:
            reader: output_log.Reader | None = None
            spoke = time.monotonic()
            looks = self._looks()
            while True:
                if lasts:
                    row = next(looks)
                if reader is None and self.records.with_output:
                    with contextlib.suppress(OSError):  # not yet
                        log = self.records.paths.log(self.row.id)
                        reader = output_log.Reader(log)
                        stack.callback(reader.close)
                # all that was written before the look at the journal
                while reader and (lines := reader.read()):
                    yield b''.join(
                        map(self.reply.line, lines[:-1].split(b'\n'))
                    )
                    spoke = time.monotonic()
                if not lasts or row is None or row.state not in delegation.OPEN:
                    break
                if (
                    self.reply.heartbeat
                    and time.monotonic() - spoke > HEARTBEAT
                ):
                    yield self.reply.heartbeat
                    spoke = time.monotonic()
                time.sleep(_GLANCE)
        yield self.reply.end(row)

    def _looks(self) -> Iterator[delegation.Delegation | None]:
        '''the record as it is now, None if it is gone or nobody works on it'''
        row: delegation.Delegation | None = self.row
        looked = held = time.monotonic()
        while True:
            now = time.monotonic()
            if now - looked > _LOOK:
                looked = now
                try:
                    row = self.records.get(self.row.number)
                except (errors.DelegateError, OSError):
                    row = None
                if row and not self.records.is_orphan(row):
                    held = now
                elif now - held > _HANDOVER:
                    row = None
            yield row
