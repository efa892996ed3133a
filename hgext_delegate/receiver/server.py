# server.py - one session with the server account
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''one session with the server account: what it asks for, and the answer

A deploy is done by a supervisor, a process of its own, whose log this one
follows. Either may end without the other.
'''

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
import sys
import time

from .. import protocol
from . import detach, follow, run_store, supervisor

# How long the object may take to come, in seconds.
PATIENCE = 60.0
# How long a run may take to end that was told to: TERM, KILL, and some.
FAREWELL = 9.0
# How many may wait for their turn in one clone.
WAITING = 10


def serve(folder: str, work: supervisor.Work) -> int:
    '''do what the other side asks for; what to exit with

    ``folder`` keeps what becomes of each id.
    '''
    try:
        asked = os.environ.get('SSH_ORIGINAL_COMMAND', '')
        request = protocol.parse_request(asked)
        data = _read_input()
        if request.verb == protocol.DEPLOY:
            order = protocol.parse_deploy(data, request)
            return _deploy(run_store.Runs(folder, work.clone.path), order, work)
        id = protocol.parse_id(data)
        runs = run_store.Runs(folder, work.clone.path)
        if request.verb == protocol.CANCEL:
            return _cancel(runs, request.target, id)
        return _tell(runs, request.target, id)
    except protocol.RequestError as exc:
        _say(exc.reason, exc.remedy)
        return run_store.EXIT_REFUSED
    except BrokenPipeError:
        # whoever asked is gone; what was asked for goes on
        return run_store.EXIT_GOES_ON
    except OSError as exc:
        where = exc.filename or folder
        _say('cannot receive: %s' % exc.strerror, 'see %s' % where)
        return run_store.EXIT_UNPREPARED


def _read_input() -> bytes:
    data = b''
    give_up = time.monotonic() + PATIENCE
    while len(data) <= protocol.MAX_BYTES:
        left = max(0.0, give_up - time.monotonic())
        if not select.select([0], [], [], left)[0]:
            raise protocol.RequestError(
                'standard input has no end after %g s' % PATIENCE
            )
        more = os.read(0, 1 << 16)
        if not more:
            break
        data += more
    return data


def _say(reason: str, remedy: str = '') -> None:
    lines = ['delegate-receive: %s\n' % reason]
    if remedy:
        lines.append('(%s)\n' % remedy)
    sys.stderr.write(''.join(lines))
    sys.stderr.flush()


def _deploy(
    runs: run_store.Runs, order: protocol.Deploy, work: supervisor.Work
) -> int:
    if not runs.find(order.id) and runs.count_open() > WAITING:
        _say('%d delegations wait for this clone already' % WAITING)
        return run_store.EXIT_WAITED
    run = runs.get(order.id)
    # A supervisor that is killed before its script has begun is replaced.
    for _attempt in range(3):
        lock = run.acquire()
        if lock is not None:
            try:
                _begin(runs, run, lock, order, work)
            finally:
                os.close(lock)
        state = follow.follow(run, order.target, order.node)
        if state:
            return follow.leave(state)
    _say('the receiver is killed whenever it starts')
    return run_store.EXIT_LOST


def _begin(
    runs: run_store.Runs,
    run: run_store.Run,
    lock: int,
    order: protocol.Deploy,
    work: supervisor.Work,
) -> None:
    '''start what sees ``run`` through, unless its script ever began'''
    supervisor.close(run)
    state = run.read()
    if state is None:
        number = runs.count()
        state = run_store.State(
            order.id, order.target, order.node, number=number
        )
        run.save_object(order.data)
        run.write(state)
    follow.check(state, order.target, order.node)
    if state.over:
        return
    supervise = supervisor.Supervisor(runs, run, state, order, work)

    def see_through() -> None:
        supervise.work()
        os.close(lock)
        supervise.linger()

    detach.detach(see_through, lock)


def _cancel(runs: run_store.Runs, target: str, id: str) -> int:
    run = runs.get(id)
    lock = run.acquire()
    if lock is None:
        follow.check(run.read(), target)
        run.cancel()
        give_up = time.monotonic() + FAREWELL
        while not run.is_over() and time.monotonic() < give_up:
            time.sleep(0.02)
    else:
        try:
            supervisor.close(run)
            _cancel_idle(runs, run, target)
        finally:
            os.close(lock)
        runs.prune()
    state = run.read()
    if state is None or not state.over:
        _say('%s does not end' % id, 'it is killed, but waits for the kernel')
        return run_store.EXIT_GOES_ON
    print('%s: %s' % (id, state.state), flush=True)
    return 0


def _cancel_idle(runs: run_store.Runs, run: run_store.Run, target: str) -> None:
    '''cancel what nobody runs: it may yet come, for this is faster'''
    state = run.read()
    if state is None:
        state = run_store.State(run.id, target, number=runs.count())
    follow.check(state, target)
    if not state.over:
        run.write(
            dataclasses.replace(
                state,
                state=run_store.CANCELLED,
                status=run_store.EXIT_CANCELLED,
                reason='cancelled before it began',
                ended=run_store.now(),
            )
        )


def _tell(runs: run_store.Runs, target: str, id: str) -> int:
    '''answer a status request, in JSON'''
    run = runs.find(id)
    state = None
    if run:
        lock = run.acquire()
        if lock is not None:
            supervisor.close(run)
            os.close(lock)
        state = run.read()
    answer = {'protocol': protocol.PROTOCOL, 'id': id, 'state': 'unknown'}
    if state:
        follow.check(state, target)
        answer.update(dataclasses.asdict(state))
        if state.signal:
            answer['signal'] = signal_name(state.signal)
    print(json.dumps(answer), flush=True)
    return 0


def signal_name(number: int) -> str:
    '''as SSH names them: without SIG (RFC 4254 6.10)'''
    try:
        return signal.Signals(number).name[3:]
    except ValueError:
        return str(number)
