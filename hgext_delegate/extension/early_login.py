# early_login.py - begin with the slow part while a push arrives
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''begin with the slow part while a push arrives

A delegation's time goes into importing an SSH library and into logging in.
Both can begin when the request ``unbundle`` comes, which only a push makes:
the one while the server waits for the client to make its bundle, the other
while that is checked and written.
'''

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from mercurial import wireprotov1server

from .. import imports
from . import hooks

# Whether a push matches a target is not known yet. A host with more targets
# than this is not to get that many logins for nothing.
_MOST = 4

_installing = threading.Lock()
_installed = False


def install() -> None:
    '''let this process begin early; once is enough'''
    global _installed
    with _installing:
        if not _installed:
            _installed = True
            entry = wireprotov1server.commands[b'unbundle']
            entry.func = _wrapped(entry.func)


def _wrapped(orig: Callable) -> Callable:
    def unbundle(repo, proto, *args) -> Any:
        if not hooks.has_targets(repo):
            return orig(repo, proto, *args)
        start = _Start(repo.unfiltered())
        payload = proto.getpayload
        proto.getpayload = lambda: start.during(payload())
        try:
            return orig(repo, proto, *args)
        finally:
            del proto.getpayload
            start.drop()

    return unbundle


class _Start:
    '''what is begun for one push; the hook takes from ``repo`` what it wants'''

    def __init__(self, repo):
        self._repo = repo
        self._early_connections: dict[str, Any] = {}
        repo._delegate_early_connections = self._early_connections

    def during(self, payload: Iterator[bytes]) -> Iterator[bytes]:
        '''``payload``, and the imports while its first piece is waited for

        Nothing else is done meanwhile: in hg, two threads that first use a
        module at the same moment both fail.
        '''
        importing = threading.Thread(target=self._begin, name='delegate-begin')
        try:
            importing.start()
        except RuntimeError:
            # No more threads are to be had, which the hook comes to as well.
            yield from payload
            return
        try:
            first = next(iter(payload), None)
        finally:
            importing.join()
        if first is not None:
            yield first
            yield from payload

    def _begin(self) -> None:
        try:
            self._log_in()
            with imports.complete():
                from . import push_hooks  # noqa: F401
        except Exception as exc:  # noqa: BLE001
            # Only time is lost: the hook comes to the same, and says it.
            self._repo.ui.debug(
                b'delegate: not begun early: %s\n'
                % type(exc).__name__.encode('ascii', 'replace')
            )

    def _log_in(self) -> None:
        with imports.complete():
            from ..config import policy, targets
            from ..delivery import connection
        refused = policy.refused(self._repo)
        usable, _errors = targets.read(self._repo.ui, refused)
        for target in [each for each in usable if each.wait][:_MOST]:
            begun = connection.EarlyConnection(target)
            begun.start()
            self._early_connections[target.name] = begun

    def drop(self) -> None:
        '''what nobody has taken; it waits for nothing'''
        while self._early_connections:
            self._early_connections.popitem()[1].drop()
