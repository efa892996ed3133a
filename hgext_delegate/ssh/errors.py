# SPDX-License-Identifier: GPL-2.0-or-later
'''why a session failed, in words that may be shown to a pusher

Nothing raw of the other side is in them.
'''

from __future__ import annotations

from .. import errors

# the line of a large RSA key fits
_LIMIT = 2000

ASKING = 'asking ssh -G about'
CONNECTING = 'connecting to'
BANNER = 'waiting for the SSH banner of'
EXCHANGE = 'exchanging keys with'
LOGIN = 'logging in to'
OPENING = 'opening a session on'
RUNNING = ''


class SessionError(errors.DelegateError):
    '''a session failed

    ``reason`` is lower-case, without a full stop, and names host and step;
    ``remedy`` is what to do next, or ''. Both may be shown to a pusher.
    ``started`` tells whether the far side may have run something: the
    command was sent, and not provably refused. ``step`` is what failed, where
    no session came about.
    '''

    step = ''

    def __init__(
        self,
        reason: str,
        remedy: str = '',
        *,
        started: bool = False,
        detail: str = '',
        path: str = '',
    ):
        super().__init__(reason, remedy, detail=detail, path=path)
        self.reason, self.remedy, self.detail, *self.whole = map(
            printable, (self.reason, self.remedy, self.detail, *self.whole)
        )
        self.args = (self.reason,)
        self.started = started


class ConfigurationError(SessionError):
    '''a key or the configuration of one side is wrong: until that is mended,
    it fails again'''


class Expired(SessionError):
    '''a command was given up on: no output, or no end, for too long'''


def printable(text: str) -> str:
    '''``text`` in bounded, printable ASCII; the rest becomes ``?``'''
    shown = ''.join(c if ' ' <= c <= '~' else '?' for c in text[:_LIMIT])
    return shown if len(text) <= _LIMIT else shown[:-3] + '...'
