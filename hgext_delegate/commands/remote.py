# SPDX-License-Identifier: GPL-2.0-or-later
'''--remote: ask the server of a clone, by its push channel

What comes back is checked before it is shown: the server may be any.
'''

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mercurial import error, logcmdutil, pycompat
from mercurial.i18n import _
from mercurial.utils import dateutil, urlutil

from .. import protocol
from . import opened

try:
    from mercurial.repo import factory
except ImportError:  # hg <= 7.1
    from mercurial import hg as factory

_CANCEL = b'cancel/'
_LIMIT = 20
_NAME = re.compile(protocol.TARGET_NAME.pattern.encode('ascii'))
_KEY = re.compile(rb'[0-9]{1,18}')
# target, state, node, when it began, for how long it ran
_ROW = re.compile(
    b'(' + _NAME.pattern + rb') ([a-z]+) ([0-9a-f]{40}) ([0-9]{1,11})'
    rb' ([0-9]{1,9}\.[0-9]|-)'
)


def delegate(ui, repo, names: Sequence[bytes], opts) -> int:
    '''hg delegate --remote: 0 only if every target succeeded'''
    _without(opts, 'pending', 'dry_run')
    if not names:
        raise error.InputError(
            _(b'no target is named'),
            hint=_(b"'hg delegate-log --remote PATH' shows some"),
        )
    new = b''
    if opts['rev']:
        new = opened.changeset(repo, opts['rev']).hex()
    with _server(repo, opts['remote']) as server:
        has = _listed(server)
        _check(names, has)
        done = [_set(server, name, has[name], new) for name in names]
    return 0 if all(done) else 1


def cancel(ui, repo, id: bytes, opts) -> int:
    '''hg delegate-cancel --remote: 0 once the delegation has ended'''
    key = _CANCEL + id
    with _server(repo, opts['remote']) as server:
        has = _listed(server)
        if key not in has:
            raise error.InputError(
                _(b"no delegation '%s' runs or waits there") % id,
                hint=_(b"'hg delegate-log --remote PATH' lists them"),
            )
        return 0 if _set(server, key, has[key], b'') else 1


def log(ui, repo, id: bytes | None, opts) -> int:
    '''hg delegate-log --remote: what became of the newest'''
    _without(opts, 'follow', 'stat')
    if id is not None:
        raise error.InputError(
            _(b'cannot specify both --remote and an ID'),
            hint=_(b'the push channel has no output of a delegation'),
        )
    with _server(repo, opts['remote']) as server:
        _check(filter(None, [opts['target']]), _listed(server))
        found = _keys(server, b'delegate-log')
    limit = logcmdutil.getlimit(pycompat.byteskwargs(opts)) or _LIMIT
    keys = sorted(filter(_KEY.fullmatch, found), key=int, reverse=True)
    rows = [(key, _ROW.fullmatch(found[key])) for key in keys]
    shown = [
        (key, *row.groups())
        for key, row in rows
        if row and opts['target'] in (b'', row[1])
    ]
    ui.pager(b'delegate-log')
    with ui.formatter(b'delegate-log', pycompat.byteskwargs(opts)) as fm:
        for key, target, state, node, began, seconds in shown[:limit]:
            fm.startitem()
            date = dateutil.makedate(int(began))
            fm.data(id=int(key), target=target, state=state, node=node)
            fm.data(date=fm.formatdate(date, b'%Y-%m-%d %H:%M:%S %1%2'))
            fm.data(seconds=None if seconds == b'-' else float(seconds))
            label = b'delegate.state delegate.state.%s' % state
            fm.plain(b'%5d  %s  ' % (int(key), target.ljust(10)))
            fm.plain(b'%-10s' % state, label=label)
            when = dateutil.datestr(date, b'%Y-%m-%d %H:%M')
            short = fm.hexfunc(bytes.fromhex(pycompat.sysstr(node)))
            took = b'' if seconds == b'-' else _(b'  %s s') % seconds
            fm.plain(b'  %s  %s%s\n' % (short, when, took))
    return 0


def _without(opts, *names: str) -> None:
    for name in names:
        if opts[name]:
            option = name.replace('_', '-').encode('ascii')
            raise error.InputError(
                _(b'cannot specify both --remote and --%s') % option
            )


@contextlib.contextmanager
def _server(repo, path: bytes) -> Iterator[Any]:
    # as hg push has it: default-push counts before default
    named = None if path == b'default' else path
    place = urlutil.get_unique_push_path(b'delegate', repo, repo.ui, named)
    server = factory.peer(repo, {}, place.loc)
    try:
        if server.local() is not None:
            raise error.InputError(
                _(b'%s is on this host') % urlutil.hidepassword(place.loc),
                hint=_(b'use -R in place of --remote'),
            )
        yield server
    finally:
        server.close()


def _listed(server) -> dict[bytes, bytes]:
    found = _keys(server, b'delegate')
    if not found:
        raise error.StateError(
            _(b'no target there takes requests'),
            hint=_(b"'NAME:remote = push' in the server's hgrc allows it"),
        )
    return found


def _check(names: Iterable[bytes], has: dict[bytes, bytes]) -> None:
    for name in names:
        if name not in has:
            raise opened.unknown_target(name, filter(_NAME.fullmatch, has))


def _keys(server, namespace: bytes) -> dict[bytes, bytes]:
    with server.commandexecutor() as executor:
        args = {b'namespace': namespace}
        return executor.callcommand(b'listkeys', args).result()


def _set(server, key: bytes, old: bytes, new: bytes) -> bool:
    args = {b'namespace': b'delegate', b'key': key, b'old': old, b'new': new}
    with server.commandexecutor() as executor:
        return bool(executor.callcommand(b'pushkey', args).result())
