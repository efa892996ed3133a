# SPDX-License-Identifier: GPL-2.0-or-later
'''one session of a delegation, and what came of it

It sends the object, writes both streams, made safe, into the log, and returns
the state that the delegation is in then. It records only that the exec request
is sent; the worker records the rest.
'''

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from .. import protocol
from ..push import outbox
from ..ssh import session
from ..state import delegation, journal as journalmod, output_log
from . import output as outputmod, queue, remote_requests

# a state of the journal, and the other fields to record
Outcome = tuple[str, dict[str, Any]]


class Attempt:
    '''the next session of ``row``, which was claimed for ``task``

    ``may_retry`` says, after it, whether another attempt may come further.
    '''

    def __init__(self, task: queue.Task, row: delegation.Delegation):
        self.may_retry = True
        self._target = task.target
        self._paths = task.paths
        self._journal = task.journal
        self._news = task.news
        self._row = row
        # what a cancelled delegation may have left on the far side, and when
        # the receiver was told to end it
        self._left_behind = ''
        self._told_at = 0.0

    def run(self, connect: Callable[[], session.Session]) -> Outcome:
        '''delegate over the session that ``connect`` makes'''
        log = output_log.Log(
            self._paths.log(self._row.id),
            self._target.output_limit,
            # at a later attempt a receiver sends all of the output again
            anew=self._target.receiver,
        )
        output = outputmod.Output(log, self._target, self._news)
        began = time.monotonic()
        broken: session.SessionError | None = None
        asked_before = self._row.exec_sent_at is not None
        try:
            end = self._session(connect, output)
            state, fields = _ended(end, self._target.receiver)
            if self._target.receiver and not self._cancelled_by():
                if asked_before or end.status != 0:
                    state, fields = self._confirmed(end, state, fields)
        except session.SessionError as exc:
            broken = exc
            state, fields = self._broken(exc)
        finally:
            output.close()
            log.close()
        if log.last_error:
            self._journal.last_error = journalmod.JournalError(
                'the output cannot be kept: %s' % log.last_error,
                'see who may write .hg/delegate/log, and how full the disk is',
            )
        cancelled_by = self._cancelled_by()
        if broken and (cancelled_by or isinstance(broken, session.Expired)):
            state, fields = self._end_there(state, fields)
        if cancelled_by and state != delegation.SUCCEEDED:
            state = delegation.CANCELLED
            fields['reason'] = 'cancelled by %s' % cancelled_by
            fields['remedy'] = self._left_behind
        fields.setdefault('seconds', time.monotonic() - began)
        self.may_retry = not isinstance(broken, session.ConfigurationError)
        return state, fields

    def _session(
        self, connect: Callable[[], session.Session], output: outputmod.Output
    ) -> session.End:
        target, row = self._target, self._row
        box = outbox.read_file(self._paths.outbox)
        pushes = outbox.pushes(box, self._journal.carried(row.number))
        repository = {'name': self._paths.name, 'root': self._paths.root}
        data = protocol.compose(target, repository, row, pushes)
        with connect() as opened:

            def tick() -> None:
                output.tick()
                if self._cancelled_by():
                    self._cancel(opened)

            self._journal.note_exec(row.number)
            return opened.execute(
                protocol.command(target, row.node),
                data,
                output.receive,
                tick,
                idle_timeout=target.idle_timeout,
                timeout=target.timeout,
            )

    def _cancel(self, opened: session.Session) -> None:
        '''end the delegation: through the receiver, else by hanging up'''
        if not self._target.receiver:
            opened.cancel()
            self._left_behind = delegation.GOES_ON
        elif not self._told_at:
            self._told_at = time.monotonic()
            # if it cannot be told, the channel is closed later
            remote_requests.end(self._target, self._journal, self._row)
        elif time.monotonic() - self._told_at > remote_requests.GRACE:
            opened.cancel()
            self._left_behind = delegation.NOT_ENDED

    def _broken(self, exc: session.SessionError) -> Outcome:
        fields: dict[str, Any] = {
            'reason': exc.reason,
            'remedy': exc.remedy,
            'detail': exc.detail,
        }
        if not exc.started:
            # an earlier attempt may have come further
            fields['exec_sent_at'] = self._row.exec_sent_at
            return delegation.PENDING, fields
        if isinstance(exc, session.Expired):
            return delegation.FAILED, fields
        # A receiver knows the ids that it has seen. A script would run twice.
        waits = self._target.receiver
        return delegation.PENDING if waits else delegation.LOST, fields

    def _confirmed(
        self, end: session.End, state: str, fields: dict[str, Any]
    ) -> Outcome:
        '''what the receiver knows of the end, and how long it really took

        A receiver that is killed ends with a status or signal of its own, while
        what it has begun goes on. It is followed again then.
        '''
        known = remote_requests.status(self._target, self._row)
        if known and known['state'] == 'unknown':
            return state, fields
        if known and end.status and end.status == _in_shell(known['signal']):
            end = session.End(None, known['signal'], end.is_kept_open)
            state, fields = _ended(end, receiver=True)
        if known and known['milliseconds'] is not None:
            fields['seconds'] = known['milliseconds'] / 1000
        ended_by = known and (known['signal'] or known['status'])
        if ended_by != (end.signal or end.status) and (known or end.signal):
            why = fields.get('reason', 'exit status 0')
            reason = 'the receiver has ended, and not what it runs: %s' % why
            return delegation.PENDING, {'reason': reason}
        return state, fields

    def _end_there(self, state: str, fields: dict[str, Any]) -> Outcome:
        '''end what the receiver would go on with; what came of it'''
        if not self._target.receiver:
            return state, fields
        begun = bool(fields.get('exec_sent_at', True))
        said = remote_requests.end(
            self._target, self._journal, self._row, begun
        )
        if said == delegation.SUCCEEDED:
            return said, {'status': 0}
        self._left_behind = '' if said else delegation.NOT_ENDED
        remedy = self._left_behind or fields['remedy']
        return state, {**fields, 'remedy': remedy}

    def _cancelled_by(self) -> str | None:
        try:
            current = self._journal.get(self._row.number)
        except journalmod.JournalError:
            # no reason to end what runs well
            return None
        return current.cancelled_by if current else None


def _in_shell(name: str | None) -> int:
    '''what a shell, or chg, between sshd and the receiver exits with if its
    script dies by the signal; 0 where there is none'''
    number = getattr(signal, 'SIG%s' % name, 0)
    return 128 + number if number else 0


def _ended(end: session.End, receiver: bool) -> Outcome:
    fields: dict[str, Any] = {'status': end.status, 'signal': end.signal}
    if end.is_kept_open:
        fields['remedy'] = delegation.KEPT_OPEN
    if end.status == 0:
        return delegation.SUCCEEDED, fields
    if receiver and end.status == protocol.EXIT_LOST:
        fields['reason'] = 'the receiver was killed'
        return delegation.LOST, fields
    if end.signal is not None:
        fields['reason'] = 'killed by signal %s' % end.signal
    else:
        fields['reason'] = 'exit status %s' % end.status
    return delegation.FAILED, fields
