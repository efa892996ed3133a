# SPDX-License-Identifier: GPL-2.0-or-later
'''an error with a reason and a remedy, the base class of all of ours'''

from __future__ import annotations


class DelegateError(Exception):
    '''something failed: ``reason`` says what, ``remedy`` what to do, or ''

    Both are lower-case text without a full stop that a pusher may read.
    ``detail`` is for the server's administrator alone: it may name files.
    '''

    def __init__(self, reason: str, remedy: str = '', *, detail: str = ''):
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.detail = detail
