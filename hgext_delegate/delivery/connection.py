# SPDX-License-Identifier: GPL-2.0-or-later
'''a connection that is made before it is needed

Nothing may be deployed before the push is accepted. But logging in takes as
long as all that follows, and can be done meanwhile. A receiver is asked to
stand by: it starts, and waits for the object.
'''

from __future__ import annotations

import threading

from .. import protocol
from ..config import targets
from ..ssh import deadline_socket, session


def connect(
    target: targets.Target,
    deadline: deadline_socket.Deadline | None = None,
    address: str | None = None,
) -> session.Session:
    '''log in to ``target``, before ``deadline``, at one of its addresses or
    at ``address``. Raises SessionError'''
    return session.open(
        target.host,
        port=target.port,
        user=target.user,
        identity=target.identity,
        hostkeys=target.hostkey,
        knownhosts=target.knownhosts,
        connect_timeout=target.connect_timeout,
        deadline=deadline,
        address=address,
        allow_root=target.allow_root,
        target=target.name,
    )


class EarlyConnection(threading.Thread):
    '''logs in to ``target``; then its one owner takes or drops the session

    It is a daemon thread: no process waits for a host at its end.
    '''

    def __init__(self, target: targets.Target):
        super().__init__(name='delegate-open-' + target.name, daemon=True)
        self._target = target
        self._deadline = deadline_socket.Deadline()
        self._ready = threading.Event()
        self._decided = threading.Event()
        self._session: session.Session | None = None
        self._error: session.SessionError | None = None

    def run(self) -> None:
        try:
            self._session = connect(self._target, self._deadline)
            self._session.prepare(protocol.standby(self._target))
        except session.SessionError as error:
            self._error = error
        except Exception:  # noqa: BLE001
            # A bug, which Python would print to the pusher. The worker meets
            # it again, and reports it.
            self._deadline.stop('internal error')
        finally:
            self._ready.set()
        self._decided.wait()
        if self._session:
            self._session.close()

    def take(self) -> session.Session | None:
        '''the session; None if it is gone again. Raises SessionError'''
        self._ready.wait()
        gone = self._session and not self._session.is_ready()
        if self._session and not self._error and not gone:
            taken, self._session = self._session, None
            self._decided.set()
            return taken
        self.drop()
        if self._error and not gone:
            raise self._error
        return None

    def drop(self) -> None:
        '''end it, finished or not, without waiting for that'''
        self._deadline.stop('not wanted')
        self._decided.set()
