# printer.py - whole lines for whoever listens
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''whole lines for whoever listens, each at once'''

from __future__ import annotations

import select
from collections.abc import Sequence

from mercurial import error


class Printer:
    '''whole lines to ``ui``, each at once, until nobody hears them

    Only flushed output gets to a pusher over ssh, whose hg puts ``remote: ``
    before each line. What is written at once is as much as a pipe takes
    whole: so no line is torn here, and a flood costs a fraction.
    '''

    def __init__(self, ui):
        self._ui = ui
        self._gone = False
        self._insists = False

    def speak_to(self, ui) -> None:
        '''let what is said from now on go to ``ui``'''
        self._ui = ui

    def insist(self) -> None:
        '''relay under --quiet too: it is what the user has asked for'''
        self._insists = True

    def note(self, line: bytes) -> None:
        '''for --verbose'''
        self._print(self._ui.note, b'delegate: %s\n' % line)

    def say(self, line: bytes, *hints: bytes, label: bytes = b'') -> None:
        '''something of ours that is not an error'''
        self._print(self._ui.status, b'delegate: %s\n' % line, label)
        self._hint(self._ui.status, hints)

    def warn(self, line: bytes, *hints: bytes, label: bytes = b'') -> None:
        self._print(self._ui.warn, b'delegate: %s\n' % line, label)
        self._hint(self._ui.warn, hints)

    def progress(self, topic: bytes):
        '''Mercurial's progress bar, which any line that is printed clears'''
        return self._ui.makeprogress(topic, unit=b's')

    def relay(self, target: bytes, lines: list[bytes]) -> None:
        '''what the deploy side printed; the prefix shows who speaks'''
        write = self._ui.write if self._insists else self._ui.status
        piece = b''
        for line in lines:
            line = b'%s| %s\n' % (target, line)
            if piece and len(piece) + len(line) > select.PIPE_BUF:
                self._print(write, piece)
                piece = b''
            piece += line
        if piece:
            self._print(write, piece)

    def _hint(self, write, hints: Sequence[bytes]) -> None:
        for hint in hints:
            if hint:
                self._print(write, b'(%s)\n' % hint, b'delegate.hint')

    def _print(self, write, line: bytes, label: bytes = b'') -> None:
        if self._gone:
            return
        try:
            # since 6.9 a line would stand behind the bar, not in its place
            write(line, label=label, keepprogressbar=False)
        except (error.StdioError, OSError):
            self._gone = True
        self.flush()

    def flush(self) -> None:
        '''let what Mercurial has said so far be seen as well'''
        if self._gone:
            return
        try:
            self._ui.flush()
        except (error.StdioError, OSError):
            self._gone = True
