# SPDX-License-Identifier: GPL-2.0-or-later
'''the import of paramiko and the login, begun while a push arrives

Most of a delegation's time goes into importing paramiko and into logging in.
Over ssh the import begins when the client asks for the phases, which only a
push does, and the login when it asks for the branches, for it has something to
push then; what has not begun does so at the request ``unbundle``. Over HTTP a
process of its own does both, from ``unbundle`` on, and then delegates.
'''

from __future__ import annotations

import contextlib
import functools
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

from mercurial import bundle2, extensions, wireprotoserver, wireprotov1server

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
    extensions.wrapfunction(wireprotoserver, '_runsshserver', _over_ssh)
    wrappers = (
        (b'listkeys', _listkeys),
        (b'branchmap', _branchmap),
        (b'unbundle', _unbundle),
    )
    for name, wrapper in wrappers:
        entry = wireprotov1server.commands[name]
        entry.func = functools.partial(wrapper, entry.func)
    handlers = bundle2.parthandlermapping
    handlers[b'pushvars'] = _telling(handlers[b'pushvars'])


def _over_ssh(orig: Callable, ui, repo, fin, *args, **kwargs) -> Any:
    early = EarlyLogin(repo.unfiltered(), with_gates=True)
    repo.unfiltered()._delegate_early = early
    try:
        return orig(ui, repo, _Requests(fin, early), *args, **kwargs)
    finally:
        early.drop()


class _Requests:
    '''what the client sends; while a line of it is awaited, ours is done

    Inside hg, two threads that first use a module at the same moment both
    fail. So our thread imports only while the main thread waits for a line,
    which in turn waits until that has ended.
    '''

    def __init__(self, fin, early: EarlyLogin):
        self._fin = fin
        self._early = early
        self.read = fin.read

    def readline(self, *args) -> bytes:
        if not self._early.next:
            return self._fin.readline(*args)
        with self._early.meanwhile():
            return self._fin.readline(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fin, name)


def _listkeys(orig: Callable, repo, proto, namespace) -> Any:
    answer = orig(repo, proto, namespace)
    early = _early(repo, proto) if namespace == b'phases' else None
    if early and early.pushed is None:
        # It may bring nothing: that is known when the connection ends.
        early.pushed = False
        repo.ui.atexit(_tell_undecided, repo.unfiltered())
        early.next = early.load
    return answer


def _branchmap(orig: Callable, repo, proto) -> Any:
    answer = orig(repo, proto)
    early = _early(repo, proto)
    # a pull of a branch asks for them as well, but for no phases
    if early and early.pushed is not None:
        early.next = early.begin
    return answer


def _unbundle(orig: Callable, repo, proto, *args) -> Any:
    if not hooks.has_targets(repo):
        return orig(repo, proto, *args)
    early = _early(repo, proto)
    if not early:
        return _over_http(orig, repo, proto, *args)
    early.pushed = True
    payload = proto.getpayload

    def getpayload():
        early.next = early.begin
        return payload()

    proto.getpayload = getpayload
    try:
        return orig(repo, proto, *args)
    finally:
        del proto.getpayload
        early.drop()


def _early(repo, proto) -> EarlyLogin | None:
    '''that of this connection over ssh, where a push may be delegated'''
    early = vars(repo.unfiltered()).get('_delegate_early')
    if proto.name == b'ssh-v1' and early and hooks.has_targets(repo):
        return early
    return None


def _tell_undecided(repo) -> None:
    if not repo._delegate_early.pushed:
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


@functools.cache
def _import() -> None:
    '''all that a delegation needs'''
    with imports.complete():
        from ..delivery import worker  # noqa: F401
        from . import push_hooks  # noqa: F401
    # It lives until the process ends, which takes 30 ms longer where Python's
    # garbage collector looks through it first.
    gc.freeze()


class EarlyLogin:
    '''what is begun for one push; the hook takes from ``repo`` what it wants

    ``pushed`` is whether the client has pushed: None while it has not been
    heard that it means to. ``next`` is what to do when it is waited for.
    '''

    def __init__(self, repo, with_gates: bool = False):
        self.pushed: bool | None = None
        self.next: Callable[[], None] | None = None
        self._repo = repo
        self._with_gates = with_gates
        self._begun = False
        self._connections: dict[str, Any] = {}
        repo._delegate_early_connections = self._connections

    @contextlib.contextmanager
    def meanwhile(self) -> Iterator[None]:
        '''do what is next in a thread, which ends within this block'''
        work, self.next = self.next, None
        thread = threading.Thread(target=work, name='delegate-begin')
        with contextlib.ExitStack() as until_end:
            # where none can be started the hook meets that as well, and says so
            with contextlib.suppress(RuntimeError):
                thread.start()
                until_end.callback(thread.join)
            yield

    def load(self) -> None:
        '''import all that is needed'''
        self._attempt(_import)

    def begin(self) -> None:
        '''import all that is needed, and let the logins begin; only once'''
        if not self._begun:
            self._begun = True
            self._attempt(self._log_in)

    def drop(self) -> None:
        '''end what no worker has taken, without waiting for that'''
        self._begun = False
        while self._connections:
            self._connections.popitem()[1].drop()

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as exc:  # noqa: BLE001
            # Only time is lost: the hook meets the same error, and says it.
            self._repo.ui.debug(
                b'delegate: not begun early: %s\n'
                % type(exc).__name__.encode('ascii', 'replace')
            )

    def _log_in(self) -> None:
        _import()
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

    def _is_wanted(self, target) -> bool:
        '''whether somebody waits for it in this process'''
        if target.gate:
            return self._with_gates
        return target.wait and not target.after
