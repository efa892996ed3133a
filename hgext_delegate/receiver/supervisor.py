# SPDX-License-Identifier: GPL-2.0-or-later
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
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .. import errors, protocol
from ..state import delegation, files, journal
from . import (
    box as boxmod,
    child,
    clone as clonemod,
    clone_folder,
    environment,
    mask as maskmod,
    process,
    run,
    script as scriptmod,
)

_PAUSE = 0.05
# How often it is looked whether a run was cancelled, in seconds.
_LOOK = 0.02


class EndedError(errors.DelegateError):
    '''a run is over: with this exit status and state, and why'''

    def __init__(
        self,
        status: int,
        reason: str,
        remedy: str = '',
        state: str = delegation.FAILED,
    ):
        super().__init__(reason, remedy)
        self.status = status
        self.state = state


@dataclasses.dataclass(frozen=True)
class Work:
    '''what the deploy account wants done; ``timeout`` in seconds

    ``environ`` is more of the script's environment. Without ``box`` the
    script can do what the account can.
    '''

    clone: clonemod.Clone
    script: Sequence[str]
    timeout: float
    environ: Mapping[str, str]
    box: boxmod.Box | None = None


class Supervisor:
    '''sees ``deploy`` through; this process has the lock of its id'''

    def __init__(self, folder: str, deploy: protocol.Deploy, work: Work):
        self._folder = folder
        self._deploy = deploy
        self._work = work
        self._told = False
        self._limit = 0.0
        self._looked = 0.0
        self._script: process.Process | None = None

    def work(self) -> None:
        '''do all of it; the journal then says how it ended'''
        # Handlers, not SIG_IGN, which the script would inherit.
        signal.signal(signal.SIGTERM, self._end)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda number, frame: None)
        self._runs = runs = run.Runs(self._folder, self._work.clone.path)
        self._log = runs.open_log(self._deploy.id)
        row = runs.record(self._deploy.id, self._deploy.target)
        try:
            fields = self._outcome(row)
        except Exception:  # noqa: BLE001
            # nobody is left to hand a bug on to
            fields = self._internal()
        self._log.close()
        runs.end(row.number, **fields)
        runs.prune()
        runs.close()

    def linger(self) -> None:
        '''stay for what the script has left running, which may print'''
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._script:
            self._script.linger()

    def _end(self, number: int, frame: object) -> None:
        self._told = True

    def _internal(self) -> dict[str, Any]:
        file = self._runs.file('object/%s.traceback' % self._deploy.id)
        with contextlib.suppress(OSError):
            text = traceback.format_exc().encode('utf-8', 'replace')
            file.write(files.FIRST_LINE + text)
        reason = 'internal error: see %s' % file.path
        run.say(self._log, reason, 'please report it, with that file')
        return {
            'state': delegation.LOST,
            'status': run.EXIT_LOST,
            'reason': reason,
        }

    def _outcome(self, row: delegation.Delegation) -> dict[str, Any]:
        '''run it, and say how it ended, as arguments of Runs.end()'''
        try:
            with self._turn(row):
                self._runs.close_abandoned()
                self._prepare()
                status = self._run_script(row)
        except EndedError as exc:
            run.say(self._log, exc.reason, exc.remedy)
            return {
                'state': exc.state,
                'status': exc.status,
                'reason': exc.reason,
            }
        if status < 0:
            name = process.signal_name(-status)
            return {'state': delegation.FAILED, 'status': None, 'signal': name}
        state = delegation.FAILED if status else delegation.SUCCEEDED
        return {'state': state, 'status': status}

    @contextlib.contextmanager
    def _turn(self, row: delegation.Delegation) -> Iterator[None]:
        '''hold the clone; wait for it at most as long as a run may take'''
        waiting = time.monotonic()
        self._limit = waiting + self._work.timeout
        said = False
        while True:
            lock = self._runs.acquire_clone()
            if lock is not None:
                # whoever has come before has the clone before
                before = self._runs.held()
                if not before or before[0].number >= row.number:
                    break
                os.close(lock)
            self._check(
                run.EXIT_WAITED, 'another delegation has the clone still'
            )
            if not said and time.monotonic() > waiting + 1:
                run.say(
                    self._log, 'waiting for another delegation in this clone'
                )
                said = True
            time.sleep(_PAUSE)
        try:
            self._limit = time.monotonic() + self._work.timeout
            yield
        finally:
            os.close(lock)

    def _check(
        self, status: int = run.EXIT_TIMEOUT, what: str = 'not finished'
    ) -> None:
        '''raise EndedError if it is to end now'''
        now = time.monotonic()
        if now > self._looked + _LOOK:
            self._looked = now
            row = self._runs.find(self._deploy.id)
            if row and row.cancelled_by:
                if row.cancelled_by == run.BY_SIGNAL:
                    self._told = True
                else:
                    raise _cancelled()
        if self._told:
            raise EndedError(
                run.EXIT_CANCELLED,
                'signal TERM was sent to the receiver',
                'does something here use kill or pkill? nobody cancelled it',
            )
        if now > self._limit:
            raise EndedError(
                status, '%s after %g s' % (what, self._work.timeout)
            )

    def _prepare(self) -> None:
        '''bring the clone to the changeset, in a child'''
        # as the script has it: by that close_run() finds what is left of it
        mark = {'DELEGATE_JSON': self._runs.object(self._deploy.id).path}
        node = self._deploy.node
        try:
            child.prepare(
                lambda: self._work.clone.bring(node, mark),
                'update to %s' % node,
                self._log.write,
                self._check,
            )
        except clonemod.UnpreparedError as exc:
            raise EndedError(
                run.EXIT_UNPREPARED, exc.reason, exc.remedy
            ) from None

    def _run_script(self, row: delegation.Delegation) -> int:
        path = self._runs.object(row.id).path
        told = environment.variables(self._deploy, path)
        environ = environment.whole({**self._work.environ, **told})
        try:
            # First: an id whose script may have begun is never run again.
            claimed = self._runs.claim(row, self._deploy.previous)
        except (OSError, journal.JournalError) as exc:
            why = run.explain(exc, self._runs.folder)
            raise EndedError(run.EXIT_UNPREPARED, *why) from None
        if claimed is None:
            self._looked = 0.0
            self._check()
            raise _cancelled()
        work = self._work
        before = work.box and clone_folder.repository(work.clone.path)
        try:
            self._script = scriptmod.start(
                work.script, work.clone.path, environ, work.box, path
            )
        except scriptmod.StartError as exc:
            raise EndedError(exc.status, exc.reason, exc.remedy) from None
        mask = maskmod.Mask(self._work.environ, self._log.write)
        try:
            status = self._script.wait(mask.feed, self._check)
        finally:
            mask.close()
            if before and not clone_folder.shut(work.clone.path, before):
                run.say(
                    self._log,
                    'another .hg was put into the clone while the script ran',
                    'see %s, then move the clone away' % work.clone.path,
                )
        if left := scriptmod.left(self._script):
            run.say(self._log, *left)
        return status


def _cancelled() -> EndedError:
    return EndedError(
        run.EXIT_CANCELLED, 'cancelled', state=delegation.CANCELLED
    )


def signal_number(name: str) -> int:
    '''the reverse'''
    return int(name) if name.isdigit() else signal.Signals['SIG' + name].value
