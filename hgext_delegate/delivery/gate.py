# SPDX-License-Identifier: GPL-2.0-or-later
'''one session with a gate, which is asked about a push before it is accepted

The thread has values only. It keeps no lock and no journal: the push's own
thread, which waits for it, has the repository's lock, and records the verdict.
'''

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any

from .. import protocol
from ..config import targets
from ..ssh import channel, deadline_socket, session
from ..state import delegation, files, output_log
from . import connection, output as outputmod

# how long an end that was asked for may take, in seconds
_FAREWELL = 5.0


class Asking(threading.Thread):
    '''asks ``target`` about a push; ``row`` then says how it ended

    ``pushed`` is what protocol 1 tells of the push, ``bundle`` what it brings.
    ``was_asked`` says whether the far side may have begun. It is a daemon
    thread: no process waits for a far side at its end.
    '''

    def __init__(
        self,
        target: targets.Target,
        row: delegation.Delegation,
        paths: files.Paths,
        pushed: dict[str, Any],
        bundle: channel.Buffer,
        news: threading.Event,
        early: connection.EarlyConnection | None = None,
    ):
        super().__init__(name='delegate-gate-' + target.name, daemon=True)
        self.target = target
        self.row = row
        self.was_asked = True
        self.last_error = ''
        self._paths = paths
        self._pushed = pushed
        self._bundle = bundle
        self._news = news
        self._early = early
        self._why = self._remedy = ''
        self._deadline = deadline_socket.Deadline()
        self._session: session.Session | None = None

    def stop(self, why: str, remedy: str = '') -> None:
        '''end it, and what runs there, for the reason ``why``, once'''
        if self._why:
            return
        self._why, self._remedy = why, remedy
        self._deadline.stop('cancelled')
        if self._early:
            self._early.drop()
        if self._session:
            self._session.cancel()

    def farewell(self) -> None:
        '''wait until it has ended, or does not'''
        self.join(_FAREWELL)

    def run(self) -> None:
        began = time.monotonic()
        try:
            fields = self._ask()
        except Exception as exc:  # noqa: BLE001
            # Python would print it to the pusher; and it is no yes
            fields = {'reason': 'internal error: %s' % type(exc).__name__}
        fields.setdefault('state', delegation.REFUSED)
        if self._why and fields['state'] != delegation.PASSED:
            fields |= {'state': delegation.CANCELLED, 'reason': self._why}
            fields['remedy'] = self._remedy
        fields['seconds'] = time.monotonic() - began
        fields['ended'] = time.time()
        self.row = dataclasses.replace(self.row, **fields)
        self._news.set()

    def _ask(self) -> dict[str, Any]:
        target = self.target
        log = output_log.Log(self._paths.log(self.row.id), target.output_limit)
        output = outputmod.Output(log, target, self._news)
        try:
            return _verdict(self._session_with(output))
        except session.SessionError as exc:
            self.was_asked = exc.started
            return {
                'reason': exc.reason,
                'remedy': exc.remedy,
                'detail': exc.detail,
            }
        finally:
            output.close()
            log.close()
            self.last_error = log.last_error

    def _session_with(self, output: outputmod.Output) -> session.End:
        target, paths = self.target, self._paths
        repository = {'name': paths.name, 'root': paths.root}
        data = protocol.compose(target, repository, self.row, [self._pushed])
        with self._connect() as opened:
            self._session = opened
            if self._why:
                raise session.SessionError(self._why)
            return opened.execute(
                protocol.gate(target, self.row.node),
                data,
                output.receive,
                output.tick,
                idle_timeout=target.idle_timeout,
                timeout=target.timeout,
                more=self._bundle,
            )

    def _connect(self) -> session.Session:
        early = self._early and self._early.take()
        return early or connection.connect(self.target, self._deadline)


def _verdict(end: session.End) -> dict[str, Any]:
    fields: dict[str, Any] = {'status': end.status, 'signal': end.signal}
    if end.status == 0 and not end.is_kept_open:
        return {**fields, 'state': delegation.PASSED}
    if end.status == 0:
        # not all that it says was heard
        fields['reason'] = 'exit status 0 without the end of its output'
    elif end.signal is not None:
        fields['reason'] = 'killed by signal %s' % end.signal
    else:
        fields['reason'] = 'exit status %s' % end.status
    if end.is_kept_open:
        fields['remedy'] = delegation.KEPT_OPEN
    return fields
