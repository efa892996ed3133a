# SPDX-License-Identifier: GPL-2.0-or-later
'''the import of paramiko and the login, begun while a push arrives

Most of a delegation's time goes into importing paramiko and into logging in.
Both can begin at the request ``unbundle``, which only a push makes: the import
while the server waits for the bundle, the login while that is written. Over
HTTP a process of its own does both, and then delegates.
'''

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from mercurial import bundle2, wireprotov1server

from .. import imports
from . import hooks

# It is not known yet which targets the push is for. With many targets, most
# logins would be for nothing.
_MOST = 4
# Of many pushes at once to a web server, most may come to nothing.
_BEGUN = threading.Semaphore(4)


@functools.cache
def install() -> None:
    '''let the pushes to this process begin early; only once'''
    entry = wireprotov1server.commands[b'unbundle']
    entry.func = _wrapped(entry.func)
    entry = wireprotov1server.commands[b'listkeys']
    entry.func = _watched(entry.func)
    handlers = bundle2.parthandlermapping
    handlers[b'pushvars'] = _telling(handlers[b'pushvars'])


def _wrapped(orig: Callable) -> Callable:
    def unbundle(repo, proto, *args) -> Any:
        if not hooks.has_targets(repo):
            return orig(repo, proto, *args)
        if proto.name == b'http-v1':
            return _over_http(orig, repo, proto, *args)
        repo.unfiltered()._delegate_pushed = True
        start = EarlyLogin(repo.unfiltered(), with_gates=True)
        payload = proto.getpayload
        proto.getpayload = lambda: start.during(payload())
        try:
            return orig(repo, proto, *args)
        finally:
            del proto.getpayload
            start.drop()

    return unbundle


def _watched(orig: Callable) -> Callable:
    def listkeys(repo, proto, namespace) -> Any:
        # Only a push asks for phases so. It may bring nothing: that is known
        # when the connection ends.
        if namespace == b'phases' and proto.name == b'ssh-v1':
            unfiltered = repo.unfiltered()
            known = '_delegate_pushed' in vars(unfiltered)
            if not known and hooks.has_targets(repo):
                unfiltered._delegate_pushed = False
                repo.ui.atexit(_tell_undecided, unfiltered)
        return orig(repo, proto, namespace)

    return listkeys


def _tell_undecided(repo) -> None:
    if not repo._delegate_pushed:
        with imports.complete():
            from . import push_hooks
        # nobody reads standard output any more
        repo.ui.fout = repo.ui.ferr
        push_hooks.tell_undecided(repo)


def _telling(orig: Callable) -> Callable:
    @functools.wraps(orig)
    def getvars(op, part) -> None:
        orig(op, part)
        if not op.ui.configbool(b'push', b'pushvars.server'):
            names = [name.upper() for name, _value in part.advisoryparams]
            if b'DELEGATE' in names and hooks.has_targets(op.repo):
                with imports.complete():
                    from ..report import printer, wording
                printer.Printer(op.ui).warn(*wording.NO_PUSHVARS)

    return getvars


def _over_http(orig: Callable, repo, proto, *args) -> Any:
    '''let a process of its own begin: a web server may end this one'''
    with imports.complete():
        from ..delivery import detached
    if not _BEGUN.acquire(blocking=False):
        return orig(repo, proto, *args)
    try:
        detached.stand_by(repo.unfiltered())
        return orig(repo, proto, *args)
    finally:
        detached.let_go(repo.unfiltered())
        _BEGUN.release()


class EarlyLogin:
    '''what is begun for one push; the hook takes from ``repo`` what it wants'''

    def __init__(self, repo, with_gates: bool = False):
        self._repo = repo
        self._with_gates = with_gates
        self._connections: dict[str, Any] = {}
        repo._delegate_early_connections = self._connections

    def during(self, payload: Iterator[bytes]) -> Iterator[bytes]:
        '''``payload``; the imports run while its first piece is awaited

        The main thread does nothing else meanwhile: inside hg, two threads
        that first use a module at the same moment both fail.
        '''
        importing = threading.Thread(target=self.begin, name='delegate-begin')
        try:
            importing.start()
        except RuntimeError:
            # no thread can be started; the hook meets that as well, and says so
            yield from payload
            return
        try:
            first = next(iter(payload), None)
        finally:
            importing.join()
        if first is not None:
            yield first
            yield from payload

    def begin(self) -> None:
        '''import all that is needed, and let the logins begin'''
        try:
            with imports.complete():
                from ..config import policy, targets
                from ..delivery import connection
                from ..push import outbox
                from ..state import files, holds
            refused = policy.refused(self._repo, outbox.roads(self._repo))
            usable, _errors = targets.read(self._repo.ui, refused)
            paths = files.paths(self._repo)
            wanted = [
                target
                for target in usable
                if self._is_wanted(target) and not holds.of(paths, target.name)
            ]
            for target in wanted[:_MOST]:
                begun = connection.EarlyConnection(target)
                begun.start()
                self._connections[target.name] = begun
            with imports.complete():
                from . import push_hooks  # noqa: F401
        except Exception as exc:  # noqa: BLE001
            # Only time is lost: the hook meets the same error, and says it.
            self._repo.ui.debug(
                b'delegate: not begun early: %s\n'
                % type(exc).__name__.encode('ascii', 'replace')
            )

    def _is_wanted(self, target) -> bool:
        '''whether somebody waits for it in this process'''
        if target.gate:
            return self._with_gates
        return target.wait and not target.after

    def drop(self) -> None:
        '''end what no worker has taken, without waiting for that'''
        while self._connections:
            self._connections.popitem()[1].drop()
