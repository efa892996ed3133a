# SPDX-License-Identifier: GPL-2.0-or-later
'''Mercurial's work in a child of ours, which may hang, and can be ended'''

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable

from . import clone as clonemod, process


def prepare(
    work: Callable[[], None],
    what: str,
    receive: Callable[[bytes], None],
    check: Callable[[], None],
) -> None:
    '''do ``work``, which is to ``what``, in a child; its output to ``receive``

    Raises UnpreparedError, and whatever ``check`` raises meanwhile.
    '''
    told = b''
    reading, telling = os.pipe()

    def bring() -> None:
        try:
            work()
        except clonemod.UnpreparedError as exc:
            why = json.dumps([exc.reason, exc.remedy])
            os.write(telling, why.encode('ascii'))

    child = process.fork(bring)
    os.close(telling)
    try:
        status = child.wait(receive, check)
        # a worker of Mercurial's may have outlived the child
        os.set_blocking(reading, False)
        with contextlib.suppress(BlockingIOError):
            told = os.read(reading, 1 << 16)
    finally:
        os.close(reading)
        child.close()
    if told:
        raise clonemod.UnpreparedError(*json.loads(told))
    if status:
        how = 'ended with status %d' % status
        if status < 0:
            how = 'was killed by signal %s' % process.signal_name(-status)
        raise clonemod.UnpreparedError(
            'cannot %s' % what, 'the process that did it %s' % how
        )
