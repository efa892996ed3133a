# SPDX-License-Identifier: GPL-2.0-or-later
'''while gates are asked: what the pusher is told, and what is kept'''

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import select
import termios
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mercurial.i18n import _

from ..config import targets as targetsmod
from ..report import printer as printermod, wording
from ..state import (
    delegation,
    files,
    journal as journalmod,
    output_log,
    verdicts,
)

if TYPE_CHECKING:
    # it imports paramiko, which only a gate that is asked needs
    from ..delivery import gate as askingmod

# How often it is looked whether the pusher is there, in seconds.
_GLANCE = 0.1
# How much is written at once, with what stands before each line: a pipe with
# room takes 4096 bytes, and the printer makes "delegate:" two bytes longer.
_PIECE = 3 * 1024
# How long a pusher may not read beyond what the slowest gate may take.
_PATIENCE = 20.0


class Desk:
    '''tells the pusher what gates say, and keeps their verdicts'''

    def __init__(
        self,
        printer: printermod.Printer,
        paths: files.Paths,
        journal: journalmod.Journal,
    ):
        self.paths = paths
        self.journal = journal
        self.news = threading.Event()
        self._printer = printer
        self._readers: dict[str, output_log.Reader] = {}
        # whole lines of each, which wait for the pusher
        self._unsaid: dict[str, bytes] = {}
        self._looked = 0.0

    def follow(
        self, askings: Sequence[askingmod.Asking], over_ssh: bool
    ) -> bool:
        '''start them, and tell of them to their end; whether all said yes

        The first that says no ends the others, and so does a pusher who goes.
        '''
        limit = max(
            a.target.timeout + a.target.connect_timeout for a in askings
        )
        pusher = _Pusher(over_ssh, time.monotonic() + limit + _PATIENCE)
        left = list(askings)
        good = True
        try:
            for each in askings:
                each.start()
            while left:
                self.news.clear()
                # first: what it says last comes before its end
                ended = [a for a in left if not a.is_alive()]
                told = [a for a in left if self._relay(a, pusher)]
                for each in ended:
                    if each not in told and not self._unsaid.get(each.row.id):
                        left.remove(each)
                        good = self._conclude(each) and good
                        if not good:
                            _stop(left, 'ended: another gate has refused')
                self._stop_cancelled(left)
                if pusher.is_gone():
                    _stop(left, 'ended: the pusher has gone')
                    return False
                if not told:
                    self.news.wait(_GLANCE)
            return good
        except RuntimeError:
            self._printer.warn(*wording.no_gate(_(b'no thread can be started')))
            return False
        finally:
            self._end(left)

    def _stop_cancelled(self, left: Sequence[askingmod.Asking]) -> None:
        '''end those that ``hg delegate-cancel`` has named'''
        if time.monotonic() - self._looked < _GLANCE:
            return
        self._looked = time.monotonic()
        for each in left:
            row = None
            with contextlib.suppress(journalmod.JournalError):
                row = self.journal.get(each.row.number)
            if row and row.cancelled_by:
                is_ended = each.target.receiver
                remedy = '' if is_ended else delegation.GOES_ON
                each.stop('cancelled by %s' % row.cancelled_by, remedy)

    def _end(self, left: Sequence[askingmod.Asking]) -> None:
        '''end what is left, where the push's own thread is interrupted, too'''
        _stop(left, 'ended: the push was interrupted')
        for each in left:
            if each.ident is not None:
                each.farewell()
                self._record(each.row)
        for reader in self._readers.values():
            reader.close()

    def too_large(
        self, target: targetsmod.Target, row: delegation.Delegation
    ) -> None:
        row = dataclasses.replace(
            row,
            state=delegation.REFUSED,
            reason='the push has more than %d bytes' % target.gate_limit,
            remedy='push less at once, or set %s:gate-limit higher'
            % target.name,
            ended=time.time(),
            seconds=0.0,
        )
        self._say(self._record(row))

    def _relay(self, asking: askingmod.Asking, pusher: _Pusher) -> bool:
        '''show some of its new lines; whether there were some that the pusher
        can hear'''
        id, name = asking.row.id, asking.target.name.encode('ascii')
        if id not in self._readers:
            with contextlib.suppress(OSError):  # there may be none yet
                self._readers[id] = output_log.Reader(self.paths.log(id))
        if id in self._readers and not self._unsaid.get(id):
            self._unsaid[id] = self._readers[id].read()
        lines = self._unsaid.get(id, b'')
        end = _first_lines(lines, len(name + b'| '))
        if not lines or not pusher.can_hear(is_much=end > _PIECE):
            return False
        self._printer.relay(name, lines[:end])
        self._unsaid[id] = lines[end:]
        return True

    def _conclude(self, asking: askingmod.Asking) -> bool:
        '''record its end and say it; whether the push may pass'''
        row, passes = asking.row, asking.row.state == delegation.PASSED
        is_optional = asking.target.gate == 'optional'
        if row.state == delegation.REFUSED and not asking.was_asked:
            if is_optional:
                passes = True
                why = 'not asked: ' + row.reason
                row = dataclasses.replace(
                    row, state=delegation.CANCELLED, reason=why
                )
        if asking.last_error:
            line = wording.text('the output cannot be kept: ')
            line += wording.text(asking.last_error)
            self._printer.warn(wording.of(row.target, line))
        self._say(self._record(row), passes)
        return passes

    def _say(self, row: delegation.Delegation, passes: bool = False) -> None:
        line, hints = wording.verdict(row)
        if passes and row.state != delegation.PASSED:
            hints = (wording.text(row.remedy), wording.OPTIONAL)
        speak = self._printer.say if passes else self._printer.warn
        label = b'delegate.state.' + row.state.encode('ascii')
        speak(wording.of(row.target, line), *hints, label=label)

    def _record(self, row: delegation.Delegation) -> delegation.Delegation:
        if row.state == delegation.RUNNING:
            # its thread does not end
            row = dataclasses.replace(row, state=delegation.CANCELLED)
        try:
            return verdicts.record(self.journal, row)
        except journalmod.JournalError as exc:
            # what it has said counts all the same
            self._printer.warn(*wording.of_error(exc))
            return row


def _first_lines(lines: bytes, before: int) -> int:
    '''the end of the first of ``lines`` that are told at once: those which,
    with so much ``before`` each, have _PIECE bytes, or one that has more'''
    end = lines.find(b'\n') + 1
    size = end + before
    while following := lines.find(b'\n', end) + 1:
        size += following - end + before
        if size > _PIECE:
            break
        end = following
    return end


def _stop(askings: Sequence[askingmod.Asking], why: str) -> None:
    for each in askings:
        each.stop(why)


class _Pusher:
    '''whether the pusher is still there, as far as it can be known

    Over ssh, standard error goes to them. Over HTTP all is said at the end, and
    a push by path ends with its own process.
    '''

    def __init__(self, over_ssh: bool, give_up: float):
        self._give_up = give_up
        self._poll = select.poll()
        if over_ssh:
            self._poll.register(2, select.POLLOUT)
        self._over_ssh = over_ssh
        self._is_gone = False

    def can_hear(self, is_much: bool = False) -> bool:
        '''whether something that is written now does not wait for them;
        ``is_much`` may be more than a pipe with some room takes'''
        if not self._over_ssh:
            return True
        found = dict(self._poll.poll(0)).get(2, 0)
        self._is_gone |= bool(found & (select.POLLERR | select.POLLHUP))
        has_room = bool(found & select.POLLOUT)
        if is_much and has_room:
            with contextlib.suppress(OSError):
                count = fcntl.ioctl(2, termios.FIONREAD, bytes(4))
                has_room = not any(count)
        return has_room and not self._is_gone

    def is_gone(self) -> bool:
        '''also where they have not read for too long'''
        self.can_hear()
        return self._is_gone or time.monotonic() > self._give_up
