# supervisor.py - the process that sees one run through
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the process that sees one run through, whatever becomes of its connection

It has nothing of the SSH session that asked for it, so that a connection
that breaks or a server that is killed stops nothing. Whoever wants to hear
reads the log and the state.
'''

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .. import errors, protocol
from . import clone as clonemod, process, request, run_store, runlog

_PAUSE = 0.05


class EndedError(errors.DelegateError):
    '''a run is over: with this exit status and state, and why'''

    def __init__(
        self,
        status: int,
        reason: str,
        remedy: str = '',
        state: str = run_store.FAILED,
    ):
        super().__init__(reason, remedy)
        self.status = status
        self.state = state


@dataclasses.dataclass(frozen=True)
class Work:
    '''what the deploy account wants done; ``timeout`` in seconds'''

    clone: clonemod.Clone
    script: Sequence[str]
    timeout: float


class Supervisor:
    '''sees ``run`` through, of which it holds the lock'''

    def __init__(
        self,
        runs: run_store.Runs,
        run: run_store.Run,
        state: run_store.State,
        order: protocol.Deploy,
        work: Work,
    ):
        self._runs = runs
        self._run = run
        self._state = state
        self._order = order
        self._work = work
        self._told = False
        self._limit = 0.0
        self._script: process.Process | None = None

    def work(self) -> None:
        '''do all of it; the state then says how it ended'''
        # Handlers, not SIG_IGN, which the script would inherit.
        signal.signal(signal.SIGTERM, self._end)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda number, frame: None)
        self._log = runlog.Log(self._run)
        try:
            fields = self._outcome()
        except Exception:  # noqa: BLE001
            # nobody is left to hand a bug on to
            fields = self._internal()
        self._log.close()
        self._change(ended=run_store.now(), **fields)
        self._runs.prune()

    def linger(self) -> None:
        '''stay for what the script has left running, which may print'''
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._script:
            self._script.linger()

    def _end(self, number: int, frame: object) -> None:
        self._told = True

    def _change(self, **fields: Any) -> None:
        self._state = dataclasses.replace(self._state, **fields)
        self._run.write(self._state)

    def _internal(self) -> dict[str, Any]:
        path = os.path.join(self._run.path, 'traceback')
        with contextlib.suppress(OSError), open(path, 'wb') as file:
            text = traceback.format_exc()
            file.write(text.encode('utf-8', 'replace'))
        reason = 'internal error: see %s' % path
        self._log.say(reason, 'please report it, with that file')
        return {
            'state': run_store.LOST,
            'status': run_store.EXIT_LOST,
            'reason': reason,
        }

    def _outcome(self) -> dict[str, Any]:
        '''run it, and say how it ended, as fields of State'''
        try:
            with self._turn():
                close_abandoned(self._runs)
                self._prepare()
                status = self._run_script()
        except EndedError as exc:
            self._log.say(exc.reason, exc.remedy)
            return {
                'state': exc.state,
                'status': exc.status,
                'reason': exc.reason,
            }
        if status < 0:
            return {'state': run_store.FAILED, 'signal': -status}
        state = run_store.FAILED if status else run_store.SUCCEEDED
        return {'state': state, 'status': status}

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        '''hold the clone; wait for it at most as long as a run may take'''
        waiting = time.monotonic()
        self._limit = waiting + self._work.timeout
        said = False
        while True:
            lock = run_store.acquire(self._runs.lock)
            if lock is not None:
                if not self._is_overtaking():
                    break
                os.close(lock)
            self._check(
                run_store.EXIT_WAITED, 'another delegation has the clone still'
            )
            if not said and time.monotonic() > waiting + 1:
                self._log.say('waiting for another delegation in this clone')
                said = True
            time.sleep(_PAUSE)
        try:
            self._limit = time.monotonic() + self._work.timeout
            yield
        finally:
            os.close(lock)

    def _is_overtaking(self) -> bool:
        '''whether one that has come before waits for the clone as well'''
        mine = self._state.number
        return any(
            run.id != self._run.id and run.is_before(mine) and run.is_open()
            for run in self._runs.all()
        )

    def _check(
        self, status: int = run_store.EXIT_TIMEOUT, what: str = 'not finished'
    ) -> None:
        '''raise EndedError if it is to end now'''
        if self._run.is_cancelled():
            raise EndedError(
                run_store.EXIT_CANCELLED, 'cancelled', state=run_store.CANCELLED
            )
        if self._told:
            raise EndedError(
                run_store.EXIT_CANCELLED, 'told to end by signal TERM'
            )
        if time.monotonic() > self._limit:
            raise EndedError(
                status, '%s after %g s' % (what, self._work.timeout)
            )

    def _prepare(self) -> None:
        try:
            self._work.clone.update(
                self._order.node, self._run_tool, self._log.say
            )
        except clonemod.UnpreparedError as exc:
            raise EndedError(
                run_store.EXIT_UNPREPARED, exc.reason, exc.remedy
            ) from None

    def _run_tool(
        self,
        argv: Sequence[str],
        folder: str,
        environ: Mapping[str, str],
        receive: Callable[[bytes], None] | None = None,
    ) -> int:
        # as the script has it: by that close() finds what is left of a run
        mark = {'DELEGATE_JSON': self._run.object}
        started = process.Process(argv, folder, {**environ, **mark})
        return started.wait(receive or self._log.write, self._check)

    def _run_script(self) -> int:
        script = self._work.script
        told = request.variables(self._order, self._run.object)
        environ = request.environment(told)
        # First: an id whose script may have begun is never run again.
        self._change(state=run_store.RUNNING, began=run_store.now())
        try:
            self._script = process.Process(
                script, self._work.clone.path, environ
            )
        except OSError as exc:
            missing = isinstance(exc, FileNotFoundError)
            raise EndedError(
                run_store.EXIT_NOT_FOUND if missing else run_store.EXIT_NOT_RUN,
                'cannot run %s: %s' % (script[0], exc.strerror),
                _remedy(script[0], self._work.clone.path, exc),
            ) from None
        return self._script.wait(self._log.write, self._check)


def _remedy(program: str, folder: str, exc: OSError) -> str:
    '''what to do where ``program`` cannot be run in ``folder``'''
    if os.path.exists(os.path.join(folder, program)):
        if isinstance(exc, FileNotFoundError):
            return 'what its first line names after #! is not there'
        if isinstance(exc, PermissionError):
            return 'make it executable: chmod +x, commit and push'
    return 'it must begin with #!; one that is committed is ./NAME'


def close_abandoned(runs: run_store.Runs) -> None:
    '''close what supervisors that were killed have left running'''
    for run in runs.all():
        state = run.read()
        if state and not state.over:
            lock = run.acquire()
            if lock is not None:
                close(run)
                os.close(lock)


def close(run: run_store.Run) -> None:
    '''close ``run`` if its supervisor was killed; the caller has its lock

    What is left of its programs is ended: nobody watches over them.
    '''
    state = run.read()
    if state is None or state.over:
        return
    for session in process.marked_sessions('DELEGATE_JSON', run.object):
        process.end_session(session, lambda: time.sleep(_PAUSE))
    if state.state != run_store.RUNNING:
        return
    reason = 'the receiver was killed, and what the script has done is unknown'
    log = runlog.Log(run)
    log.say(reason)
    log.close()
    state = dataclasses.replace(
        state,
        state=run_store.LOST,
        status=run_store.EXIT_LOST,
        reason=reason,
        ended=run_store.now(),
    )
    run.write(state)
