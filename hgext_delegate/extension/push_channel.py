# SPDX-License-Identifier: GPL-2.0-or-later
'''the pushkey namespace ``delegate``: what clients may do without a shell here

Mercurial's own rules of a push hold: over HTTP ``pushkey`` needs the right to
push, and ``prepushkey`` hooks are run, which is how ``hg-ssh --read-only``
refuses it.
'''

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from mercurial import pushkey, wireprotov1server

from .. import imports
from . import hooks

NAMESPACE = b'delegate'
# to be listed: what became of the newest delegations
LOG = b'delegate-log'


@functools.cache
def install() -> None:
    '''answer to clients of this process; only once'''
    entry = wireprotov1server.commands[b'pushkey']
    entry.func = _wrapped(entry.func)
    pushkey.register(NAMESPACE, _pushed, _listed)
    pushkey.register(LOG, lambda *args: False, _newest)


def _wrapped(orig: Callable) -> Callable:
    def command(repo, proto, namespace, key, old, new) -> Any:
        if namespace != NAMESPACE:
            return orig(repo, proto, namespace, key, old, new)
        # A part of a push has none: there the repository is locked, and a
        # deploy that pulls would wait for that.
        repo.unfiltered()._delegate_client = proto.client()
        try:
            return orig(repo, proto, namespace, key, old, new)
        finally:
            del repo.unfiltered()._delegate_client

    return command


def _pushed(repo, key: bytes, old: bytes, new: bytes) -> bool:
    client = vars(repo.unfiltered()).get('_delegate_client')
    if client is None or not hooks.has_targets(repo):
        return False
    return _requests().answer(repo.unfiltered(), client, key, old, new)


def _listed(repo) -> dict[bytes, bytes]:
    return _requests().listed(repo) if hooks.has_targets(repo) else {}


def _newest(repo) -> dict[bytes, bytes]:
    return _requests().newest(repo) if hooks.has_targets(repo) else {}


def _requests():
    with imports.complete():
        from . import channel_requests
    return channel_requests
