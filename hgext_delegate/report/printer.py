# SPDX-License-Identifier: GPL-2.0-or-later
'''whole lines to a pusher, each written at once'''

from __future__ import annotations

import re
from collections.abc import Callable

from mercurial import error, extensions
from mercurial.i18n import _

from .. import imports

_Write = Callable[..., None]

# How much is written at once: as much as sshd sends in one message.
_PIECE = 16 * 1024

_AFAR = _(b"'hg delegate %s' on the server, or with --remote, runs it again")

# in English, what wording has where a delegation went wrong
_AGAIN = re.compile(rb"'hg delegate ([A-Za-z0-9._-]+)' on the server runs it")

# What our own lines begin with, also with colours and joiners in between.
_OURS = re.compile(
    rb'(?:\x1b\[[0-9:;]*m|\xe2\x80[\x8c\x8d])*'.join(
        b'%c' % byte for byte in b'delegate:'
    )
)


def advice(ui, hint: bytes) -> bytes:
    '''``hint`` with commands of ours as they can be typed on the server, and
    with what a pusher can do where the push channel is open'''
    match = _AGAIN.match(hint)
    if match:
        for_all = ui.config(b'delegate', b'*:remote')
        if ui.config(b'delegate', match[1] + b':remote', for_all) == b'push':
            hint = _AFAR % match[1]
    ours = imports.extension()
    for name, module in extensions.extensions(ui):
        is_there = ui.configsource(b'extensions', name) != b'--config'
        if module is ours and is_there:
            return hint
    # There is the classic hook line alone.
    long = b"'hg --config extensions.hgext_delegate= delegate"
    return hint.replace(b"'hg delegate", long)


class Printer:
    '''whole lines to ``ui``, each at once, until the pusher is gone

    Only flushed output reaches a pusher over ssh, whose hg puts ``remote: ``
    before each line. Under a flood sshd and that hg tear lines, and the rest
    of one stands as a line of its own: it can never look like ours.
    '''

    def __init__(self, ui):
        self._ui = ui
        self._gone = False
        self._insists = False

    def insist(self) -> None:
        '''relay under --quiet too: the user has asked for the output'''
        self._insists = True

    def note(self, line: bytes) -> None:
        '''for --verbose'''
        self._print(self._ui.note, b'delegate: %s\n' % line)

    def say(self, line: bytes, *hints: bytes, label: bytes = b'') -> None:
        '''something of ours that is not an error'''
        self._tell(self._ui.status, line, hints, label)

    def warn(self, line: bytes, *hints: bytes, label: bytes = b'') -> None:
        self._tell(self._ui.warn, line, hints, label)

    def progress(self, topic: bytes, seconds: float | None):
        '''Mercurial's progress bar, which any line that is printed clears;
        ``seconds`` is how long it is expected to take, None if nobody knows'''
        total = seconds and max(1, round(seconds))
        return self._ui.makeprogress(topic, unit=b's', total=total)

    def relay(self, target: bytes, lines: bytes) -> None:
        '''what the deploy side printed, with the target before each line'''
        write = self._ui.write if self._insists else self._ui.status
        if b'delegate:' in lines or b'\x1b' in lines or b'\xe2' in lines:
            lines = _OURS.sub(b'[delegate]:', lines)
        before = target + b'| '
        named = lines[:-1].replace(b'\n', b'\n' + before)
        left = before + named + b'\n' if lines else b''
        while left:
            # a line is shorter, but for one that somebody else wrote
            end = left.rfind(b'\n', 0, _PIECE) + 1 or left.index(b'\n') + 1
            self._print(write, left[:end])
            left = left[end:]

    def flush(self) -> None:
        '''show what Mercurial has said so far as well'''
        self._print(self._ui.status, b'')

    def _tell(self, write: _Write, line: bytes, hints, label: bytes) -> None:
        self._print(write, b'delegate: %s\n' % line, label)
        # of a verdict, who wants it quiet hears that one line
        for hint in filter(None, () if label and self._ui.quiet else hints):
            hint = advice(self._ui, hint)
            self._print(write, b'(%s)\n' % hint, b'delegate.hint')

    def _print(self, write: _Write, line: bytes, label: bytes = b'') -> None:
        if self._gone:
            return
        try:
            if line:
                # since 6.9 a line would stand behind the bar, not in its place
                write(line, label=label, keepprogressbar=False)
            self._ui.flush()
        except (error.StdioError, OSError):
            self._gone = True
