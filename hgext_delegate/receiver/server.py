# SPDX-License-Identifier: GPL-2.0-or-later
'''one session with the server account: what it asks for, and the answer

A deploy is done by a supervisor, a process of its own, whose log this one
follows. Either may end without the other.
'''

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping

from .. import errors, protocol
from ..state import delegation, journal, output_log
from . import gate, process, readiness, run, supervisor

# How long the object may take to come, in seconds.
PATIENCE = 60.0
# How long a run may take to end that was told to: TERM, KILL, and some.
FAREWELL = 9.0
# How many may wait for their turn in one clone.
WAITING = 10

# How soon a line is seen, in milliseconds: at first, which is when most deploys
# begin and end, and after the given number of pauses without one.
_SHORT, _PAUSE, _MANY = 2, 10, 200
# How often it is looked whether there is a supervisor, in pauses.
_LOOK = 50


class BusyError(errors.DelegateError):
    '''too many wait for the clone'''


def serve(folder: str, work: supervisor.Work) -> int:
    '''do what the other side asks for; what to exit with

    That is minus the number of a signal if one has ended the script.
    ``folder`` keeps what becomes of each id.
    '''
    try:
        asked = os.environ.get('SSH_ORIGINAL_COMMAND', '')
        request = protocol.parse_request(asked)
        if request.verb == protocol.GATE:
            return gate.Gate(folder, work).answer(request)
        if request.verb == protocol.STANDBY:
            work.clone.load(lambda: not select.select([0], [], [], 0)[0])
        data = _read_input(request, work)
        if request.verb == protocol.STANDBY and not data:
            return 0
        if request.verb in (protocol.DEPLOY, protocol.STANDBY):
            deploy = protocol.parse_deploy(data, request)
            return _deploy(folder, deploy, work)
        named = protocol.parse_named(data)
        with _opened(folder, work) as runs:
            if request.verb == protocol.CANCEL:
                return _cancel(runs, request.target, named['id'])
            check = named.get('check') is True
            more = readiness.told(work) if check else {}
            return _tell(runs, request.target, named['id'], more)
    except protocol.RequestError as exc:
        say(exc.reason, exc.remedy)
        return run.EXIT_REFUSED
    except BusyError as exc:
        say(exc.reason, exc.remedy)
        return run.EXIT_WAITED
    except supervisor.EndedError as exc:
        say(exc.reason, exc.remedy)
        return exc.status
    except gate.Ended:
        return run.EXIT_CANCELLED
    except BrokenPipeError:
        # whoever asked is gone; what was asked for goes on
        return run.EXIT_GOES_ON
    except (OSError, journal.JournalError) as exc:
        say(*run.explain(exc, run.folder_of(work.clone.path, folder)))
        return run.EXIT_UNPREPARED


def _read_input(request: protocol.Request, work: supervisor.Work) -> bytes:
    patience = PATIENCE
    if request.verb == protocol.STANDBY:
        # The push is still received. Never an end by itself with status 0,
        # which would look like a success to a server that is just sending.
        patience = work.timeout
    data = b''
    give_up = time.monotonic() + patience
    while len(data) <= protocol.MAX_BYTES:
        left = max(0.0, give_up - time.monotonic())
        if not select.select([0], [], [], left)[0]:
            raise protocol.RequestError(
                'standard input has no end after %g s' % patience
            )
        more = os.read(0, 1 << 16)
        if not more:
            break
        if not data:
            patience = PATIENCE
            give_up = time.monotonic() + patience
        data += more
    return data


def say(reason: str, remedy: str = '') -> None:
    '''a line of ours to the other side'''
    lines = ['delegate-receive: %s\n' % reason]
    if remedy:
        lines.append('(%s)\n' % remedy)
    sys.stderr.write(''.join(lines))
    sys.stderr.flush()


@contextlib.contextmanager
def _opened(folder: str, work: supervisor.Work) -> Iterator[run.Runs]:
    runs = run.Runs(folder, work.clone.path)
    try:
        if runs.journal.last_error:
            say(*run.explain(runs.journal.last_error, runs.folder))
        yield runs
    finally:
        runs.close()


def _deploy(folder: str, deploy: protocol.Deploy, work: supervisor.Work) -> int:
    # A supervisor that is killed before its script has begun is replaced.
    for _attempt in range(3):
        _begin(folder, deploy, work)
        with _opened(folder, work) as runs:
            row = _follow(runs, deploy)
        if row:
            return exit_status(row)
    say('the receiver is killed whenever it starts')
    return run.EXIT_LOST


def _begin(folder: str, deploy: protocol.Deploy, work: supervisor.Work) -> None:
    '''start what sees it through, unless that is done or its script ever began

    sqlite forbids a fork while a journal is open.
    '''
    with _opened(folder, work) as runs:
        known = runs.find(deploy.id)
        if not known and len(runs.held()) > WAITING:
            raise BusyError(
                '%d delegations wait for this clone already' % WAITING
            )
        row = runs.record(deploy.id, deploy.target, deploy.node)
        _check(row, deploy.target, deploy.node)
        # which also makes the log that is followed
        lock = runs.acquire(deploy.id)
        if lock is None:
            return
        if known:
            runs.close_run(deploy.id)
        row = runs.record(deploy.id, deploy.target, deploy.node)
        begins = row.state == delegation.PENDING
        if begins:
            runs.save_object(deploy.id, deploy.data)
    if begins:
        supervise = supervisor.Supervisor(folder, deploy, work)

        def see_through() -> None:
            supervise.work()
            os.close(lock)
            supervise.linger()

        process.detach(see_through, lock)
    os.close(lock)


def _check(row: delegation.Delegation, target: str, node: str = '') -> None:
    # one cancelled before it began has no node
    if row.target != target or (row.node and node and row.node != node):
        raise protocol.RequestError(
            'the id %s belongs to another delegation' % row.id
        )


def _follow(
    runs: run.Runs, deploy: protocol.Deploy
) -> delegation.Delegation | None:
    '''copy the log to standard output until the run is over; its last state

    None if it is not over, and nobody sees it through any more. SIGTERM
    ends the run. Raises BrokenPipeError once nobody listens.
    '''
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    for number in (signal.SIGHUP, signal.SIGINT):
        # what runs does not end by them either
        signal.signal(number, lambda number, frame: None)
    # reports that the other end is gone, which it does unasked
    channel = select.poll()
    channel.register(1, 0)
    log = output_log.Reader(runs.log(deploy.id))
    idle = 0
    try:
        while True:
            # first: what was printed before its end is there now
            row = runs.find(deploy.id)
            if row and told:
                runs.journal.cancel(row.number, run.BY_SIGNAL)
                told.clear()
            if _copy(log):
                idle = 0
                continue
            if row and run.is_over(row):
                return row
            if channel.poll(_SHORT if idle < _MANY else _PAUSE):
                raise BrokenPipeError
            idle += 1
            if row is None or (idle % _LOOK == 0 and not runs.is_held(row.id)):
                return None
    finally:
        log.close()


def _copy(log: output_log.Reader) -> bool:
    '''whether there was something'''
    data = rest = log.read_data()
    while rest:
        rest = rest[os.write(1, rest) :]
    return bool(data)


def exit_status(row: delegation.Delegation) -> int:
    '''of the script; minus the number of a signal if that has ended it'''
    if row.signal:
        return -supervisor.signal_number(row.signal)
    return run.EXIT_LOST if row.status is None else row.status


def _cancel(runs: run.Runs, target: str, id: str) -> int:
    row = runs.record(id, target)
    _check(row, target)
    # it may yet come, for this is faster
    runs.journal.cancel(row.number, 'the server')
    give_up = time.monotonic() + FAREWELL
    while not run.is_over(row):
        lock = runs.acquire(id)
        if lock is not None:
            runs.close_run(id)
            os.close(lock)
        elif time.monotonic() > give_up:
            say(
                '%s does not end' % id, 'it is killed, but waits for the kernel'
            )
            return run.EXIT_GOES_ON
        else:
            time.sleep(0.02)
        row = runs.find(id) or row
    runs.prune()
    os.write(1, protocol.compose_status(id, row))
    return 0


def _tell(runs: run.Runs, target: str, id: str, more: Mapping[str, str]) -> int:
    '''answer a status request, in JSON, with ``more``'''
    row = runs.find(id)
    if row:
        _check(row, target)
        lock = runs.acquire(id)
        if lock is not None:
            runs.close_run(id)
            os.close(lock)
            row = runs.find(id)
    os.write(1, protocol.compose_status(id, row, **more))
    return 0
