# detach.py - a process that outlives the one that starts it
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''a process that outlives the one that starts it, and shares nothing with it'''

from __future__ import annotations

import os
from collections.abc import Callable


def detach(work: Callable[[], None], keep: int) -> None:
    '''do ``work`` in a process that shares only ``keep`` with this one

    ``keep`` is a descriptor. Raises OSError.
    '''
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            _let_go(keep)
            work()
    finally:
        # never back into hg, which belongs to the other process
        os._exit(0)


def _let_go(keep: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf('SC_OPEN_MAX'))
    os.chdir('/')
