# SPDX-License-Identifier: GPL-2.0-or-later
'''the hooks: one inside the push's transaction, the others after it

Every command installs them, so the rest is imported only when one of them is
called for a push.
'''

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mercurial import error
from mercurial.i18n import _

from .. import imports

# ``serve`` is a push over ssh or HTTP, ``push`` one by path on this host.
SOURCES = (b'serve', b'push')
# What gates are asked about as well: bundles that somebody applies here, and
# the bookmarks and phases that older clients move one by one.
GATED = (*SOURCES, b'unbundle', b'pushkey')


def _push_hooks():
    with imports.complete():
        from . import push_hooks
    return push_hooks


def install(repo) -> None:
    '''hook ``repo``; an untrusted hgrc cannot override what is set here'''
    for name, function in _FUNCTIONS.items():
        repo.ui.setconfig(b'hooks', name, function, b'hgext_delegate')


def with_ours(orig: Callable, ui) -> list[tuple[bytes, Any]]:
    '''what wraps ``mercurial.hook._allhooks``: ours are always trusted

    Mercurial compares the place of each hook with and without the files that
    it does not trust. One item more in an untrusted ``[hooks]``, or an
    ``%unset``, moves ours, which then would refuse the push, or not run.
    '''
    here = dict(ui.configitems(b'hooks'))
    ours = {n: f for n, f in _FUNCTIONS.items() if here.get(n) is f}
    return [(name, ours.get(name, found)) for name, found in orig(ui)]


def has_targets(repo) -> bool:
    '''whether a push to ``repo`` may be delegated by our own hooks'''
    return is_enabled(repo) and bool(repo.ui.configitems(b'delegate'))


def is_enabled(repo) -> bool:
    '''whether the extension is enabled for ``repo``, not only loaded'''
    hooks = dict(repo.ui.configitems(b'hooks'))
    return hooks.get(b'changegroup.delegate') is deliver


def _gate():
    with imports.complete():
        from . import gate
    return gate


def _may_have_gates(repo) -> bool:
    # a repository may have taken away what the host says, which is looked at
    found = (ui.configitems(b'delegate') for ui in (repo.ui, repo.baseui))
    if not any(found):
        return False
    with imports.complete():
        from ..config import gates
    return gates.are_there(repo)


def explain(ui, repo, hooktype, source=None, txnname=b'', **kwargs) -> bool:
    '''say with --debug why nothing is delegated'''
    if source not in SOURCES:
        what = source or txnname or hooktype
        ui.debug(b'delegate: not delegating: %s is not a push\n' % what)
    return False


def note(ui, repo, hooktype, source=None, txnname=b'', **kwargs) -> bool:
    '''pretxnclose: ask the gates, then write the push into the outbox, in its
    own transaction'''
    if vars(repo.unfiltered()).pop('_delegate_pushkey', False):
        source = source or b'pushkey'
    if source in GATED and _may_have_gates(repo):
        if _gate().refuses(ui, repo, dict(kwargs, source=source)):
            return True
    if source not in SOURCES:
        return explain(ui, repo, hooktype, source, txnname)
    # whatever goes wrong in there would refuse a push
    if repo.ui.configitems(b'delegate'):
        _push_hooks().note(ui, repo, dict(kwargs, source=source))
    return False


def note_pushkey(ui, repo, hooktype, **kwargs) -> bool:
    '''prepushkey: the transaction that comes, if none is there, is a push'''
    unfiltered = repo.unfiltered()
    if unfiltered.currenttransaction() is None:
        unfiltered._delegate_pushkey = True
    return False


def move(ui, repo, hooktype, source=None, node=None, **kwargs) -> bool:
    '''txnclose: delegate a push that has only moved bookmarks or phases'''
    if source not in SOURCES or node:
        return False
    hookargs = dict(kwargs, source=source)
    _push_hooks().deliver(ui, repo.unfiltered(), hookargs)
    return False


def deliver(ui, repo, hooktype, source=None, **kwargs) -> bool:
    '''changegroup: delegate what was pushed, and what still waits

    Never true, for which Mercurial would warn of a hook that failed: the push
    has succeeded in any case, and our own last line says the rest.
    '''
    if hooktype != b'changegroup':
        raise error.Abort(
            _(b'the delegate hook cannot be a %s hook') % hooktype,
            hint=_(b'configure it as a changegroup hook'),
        )
    if source not in SOURCES:
        return False
    hookargs = dict(kwargs, source=source)
    _push_hooks().deliver(ui, repo.unfiltered(), hookargs)
    return False


_FUNCTIONS = {
    b'prepushkey.delegate': note_pushkey,
    b'pretxnclose.delegate': note,
    b'txnclose.delegate': move,
    b'changegroup.delegate': deliver,
}
