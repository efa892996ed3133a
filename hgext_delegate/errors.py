# SPDX-License-Identifier: GPL-2.0-or-later
'''an error with a reason and a remedy, the base class of all of ours'''

from __future__ import annotations

import posixpath
import shlex


class DelegateError(Exception):
    '''something failed: ``reason`` says what, ``remedy`` what to do, or ''

    Both are lower-case text without a full stop that a pusher may read. The
    file ``path`` is written in full in what is given here, and shown to a
    pusher by its name alone. ``whole`` (reason and remedy) and ``detail`` are
    for the server's administrator: they name files with their paths.
    '''

    def __init__(
        self, reason: str, remedy: str = '', *, detail: str = '', path: str = ''
    ):
        self.whole: list[str] = [reason, remedy]
        self.detail = detail
        if path:
            self.detail = ': '.join(filter(None, self.whole))
            reason, remedy = (_named(text, path) for text in self.whole)
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def _named(text: str, path: str) -> str:
    name = posixpath.basename(path)
    text = text.replace(shlex.quote(path), shlex.quote(name))
    return text.replace(path, name)
