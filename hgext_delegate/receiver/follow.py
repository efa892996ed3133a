# follow.py - what a run prints, to whoever asked for it
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what a run prints, to whoever asked for it, from its beginning and live'''

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal

from .. import protocol
from . import run_store

_CHUNK = 64 * 1024
# How soon a line is seen, in milliseconds.
_PAUSE = 10
# How often it is looked whether there is a supervisor, in pauses.
_LOOK = 50


def check(
    state: run_store.State | None, target: str, node: str | None = None
) -> None:
    '''raise RefusedError where ``state`` is that of something else'''
    if state is None:
        return
    # a damaged record, or one cancelled before it began, may lack either
    if target != (state.target or target) or (
        node and node != (state.node or node)
    ):
        raise protocol.RequestError(
            'the id %s belongs to another delegation' % state.id
        )


def follow(
    run: run_store.Run, target: str, node: str
) -> run_store.State | None:
    '''copy the log to standard output until the run is over; its last state

    None if it is not over, and nobody sees it through any more. SIGTERM
    cancels the run. Raises BrokenPipeError once nobody listens.
    '''
    signal.signal(signal.SIGTERM, lambda number, frame: run.cancel())
    # reports that the other end is gone, which it does unasked
    channel = select.poll()
    channel.register(1, 0)
    log = run.open_log()
    try:
        idle = 0
        while True:
            # first: what was printed before its end is there now
            state = run.read()
            check(state, target, node)
            if _copy(log):
                idle = 0
                continue
            if state and state.over:
                return state
            if channel.poll(_PAUSE):
                raise BrokenPipeError
            idle += 1
            if idle % _LOOK == 0 and not run.is_held() and not run.is_over():
                return None
    finally:
        os.close(log)


def _copy(log: int) -> bool:
    '''whether there was something'''
    data = os.read(log, _CHUNK)
    rest = data
    while rest:
        rest = rest[os.write(1, rest) :]
    return bool(data)


def leave(state: run_store.State) -> int:
    '''end as the script has: what to exit with, or by its signal'''
    if state.signal:
        # sshd then says which one it was; a core of ours would help nobody
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # KILL has no handler
            signal.signal(state.signal, signal.SIG_DFL)
        os.kill(os.getpid(), state.signal)
    return run_store.EXIT_LOST if state.status is None else state.status
