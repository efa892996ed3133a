# SPDX-License-Identifier: GPL-2.0-or-later
'''one finding of ``hg delegate-check``, and how bad it is'''

from __future__ import annotations

import dataclasses

from mercurial import pycompat

OK = b'ok'
WARNING = b'warning'
ERROR = b'error'


@dataclasses.dataclass(frozen=True)
class Finding:
    '''``target`` is b'' where it concerns all targets

    With a warning pushes are delegated all the same; with an error they are
    not, or the boundary is open. ``remedy`` is b'' where all is well.
    '''

    target: bytes
    topic: bytes
    level: bytes
    message: bytes
    remedy: bytes = b''


@dataclasses.dataclass(frozen=True)
class About:
    '''makes findings about one ``topic`` of one ``target``'''

    target: bytes
    topic: bytes

    def ok(self, message: bytes) -> Finding:
        return Finding(self.target, self.topic, OK, message)

    def warning(self, message: bytes, remedy: bytes) -> Finding:
        return Finding(self.target, self.topic, WARNING, message, remedy)

    def error(self, message: bytes, remedy: bytes) -> Finding:
        return Finding(self.target, self.topic, ERROR, message, remedy)


def of(target: str, topic: bytes) -> About:
    return About(pycompat.sysbytes(target), topic)
