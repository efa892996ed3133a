# SPDX-License-Identifier: GPL-2.0-or-later
'''what one push brought, as values that outlive the repository object

``make`` reads a repository and a hook's arguments and nothing else: no
configuration, no files. Everything that a pusher can name is decoded and
bounded here, once.
'''

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import sys
from typing import Any

from mercurial import dagop, encoding, error, phases, pycompat, util
from mercurial.node import hex

from .. import jsontext
from . import origin

# What one push may take in the outbox and in the object, whatever was pushed:
# characters of a text (up to 12 bytes each in JSON), items, bytes in all. One
# item of each kind always fits.
MAX_TEXT = 500
MAX_ITEMS = 100
MAX_BYTES = 64 * 1024

# What --pushvars become among a hook's arguments.
_USERVAR = 'USERVAR_'

# What an SSH client may set or choose: sshd passes LANG and LC_* on by
# default, and the command and the terminal type are the client's own words.
_CLIENT_VARIABLES = (b'LANG', b'LC_', b'TERM', b'SSH_')


@dataclasses.dataclass(frozen=True)
class Push:
    '''one push, in the words of protocol 1

    Nodes are 40 hex digits, ``time`` is RFC 3339 in UTC, ``phases`` counts
    the changesets that became public. ``caused_by`` is the id of the
    delegation whose own deploy has pushed. ``omitted`` counts, by field, the
    items that were left out to bound the size (``head_bookmarks``: those of
    the listed heads); it is nearly always empty.
    '''

    node: str | None
    node_last: str | None
    changesets: int
    heads: list[dict[str, Any]]
    bookmarks: dict[str, list[str | None]]
    phases: int
    pusher: str | None
    source: str
    url: str
    transaction: str
    time: str
    variables: dict[str, str]
    caused_by: str | None
    omitted: dict[str, int]


def make(repo, first: int, last: int, hookargs, pusher: str | None) -> Push:
    '''the push that brought the revisions ``first`` to ``last``

    ``hookargs`` are those of Mercurial's hooks (names str, values bytes),
    with the transaction's ``changes``. If only bookmarks or phases moved
    there are no revisions: ``last`` < ``first``.
    '''
    changes = hookargs.get('changes') or {}
    node = node_last = None
    heads: list[int] = []
    if first <= last:
        # what was pushed may be obsolete already
        changelog = repo.unfiltered().changelog
        node = hexnode(changelog.node(first))
        node_last = hexnode(changelog.node(last))
        heads = _heads(repo, first, last)
    moved = sorted((changes.get(b'bookmarks') or {}).items())
    push = Push(
        node=node,
        node_last=node_last,
        changesets=max(0, last - first + 1),
        heads=[_head(repo, rev) for rev in heads[:MAX_ITEMS]],
        bookmarks={
            localtext(name): list(map(hexnode, ends)) for name, ends in moved
        },
        phases=sum(map(len, published(changes))),
        pusher=pusher,
        source=pycompat.sysstr(hookargs['source']),
        url=text(hookargs.get('url') or b''),
        transaction=pycompat.sysstr(hookargs['txnid']),
        time=now(),
        variables=_variables(hookargs),
        caused_by=None,
        omitted={},
    )
    wanted = {
        'heads': len(heads),
        'bookmarks': len(moved),
        'variables': sum(name.startswith(_USERVAR) for name in hookargs),
    }
    return _bounded(push, wanted)


def pusher(ui, url: bytes | None, source: bytes, named=()) -> str | None:
    '''who pushed, as far as the server knows it; None where it does not

    Each name comes from what the server side of the connection has set,
    never from a variable that an SSH client may set. ``named`` are further
    environment variables, which the administrator vouches for.
    '''
    over_http = (url or b'').startswith(b'remote:http')
    for name in _usernames(ui.environ, over_http, named):
        if name:
            return text(name)
    if source == b'push':
        # by its number: LOGNAME and USER say what their owner likes
        return text(util.username())
    return None


def _usernames(environ, over_http, named):
    if over_http:
        # over ssh this would be any variable of the process
        yield environ.get(b'REMOTE_USER')
    yield environ.get(b'HEPTAPOD_USERINFO_USERNAME')
    ruleset = sys.modules.get('mercurialserver.ruleset')
    if ruleset is not None:
        user = ruleset.rules.get('user')
        if isinstance(user, str):
            user = user.encode('utf-8', 'surrogateescape')
        yield user
    for variables in (environ, encoding.environ):
        yield _kallithea(variables.get(b'KALLITHEA_EXTRAS'))
    yield environ.get(b'HGK_USERNAME')
    for name in named:
        if not name.startswith(_CLIENT_VARIABLES):
            yield environ.get(name)
    if not over_http:
        connection = environ.get(b'SSH_CONNECTION')
        yield origin.key(environ.get(b'SSH_USER_AUTH'), connection)


def _kallithea(extras: bytes | None) -> bytes | None:
    try:
        return json.loads(extras or b'{}')['username'].encode('utf-8')
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def text(value: bytes) -> str:
    '''decode what Mercurial stores: UTF-8, else its fallback encoding

    A crafted client can store any bytes. As Mercurial does, what is not UTF-8
    is read in ``ui.fallbackencoding``, so the name is the one that hg shows.
    '''
    fallback = pycompat.sysstr(encoding.fallbackencoding)
    # it may be an unknown encoding; a push is not refused for that
    for name in ('utf-8', fallback, 'latin-1'):
        errors = 'replace' if name is fallback else 'strict'
        with contextlib.suppress(UnicodeDecodeError, LookupError):
            decoded = value.decode(name, errors)
            break
    if len(decoded) > MAX_TEXT:
        decoded = decoded[: MAX_TEXT - 1] + '\u2026'
    return decoded


def localtext(value: bytes) -> str:
    '''decode what Mercurial has already converted to the local encoding'''
    try:
        return text(encoding.fromlocal(value))
    except error.Abort:
        return text(value)


def hexnode(node: bytes | None) -> str | None:
    return hex(node).decode('ascii') if node else None


def now() -> str:
    '''this moment in UTC, RFC 3339 with milliseconds'''
    utc = datetime.datetime.now(datetime.timezone.utc)
    return utc.isoformat(timespec='milliseconds').replace('+00:00', 'Z')


def _heads(repo, first: int, last: int) -> list[int]:
    '''newest first, the heads among what was pushed and is not hidden'''
    changelog = repo.filtered(b'served').changelog
    if last == len(repo.unfiltered()) - 1:
        # Inside the transaction the index knows them, whatever was pushed.
        revs = {rev for rev in changelog.headrevs() if rev >= first}
    else:
        pushed = set(range(first, last + 1)).difference(changelog.filteredrevs)
        revs = dagop.headrevs(pushed, changelog.parentrevs)
    return sorted((rev for rev in revs if rev >= 0), reverse=True)


def _head(repo, rev: int) -> dict[str, Any]:
    context = repo.filtered(b'served')[rev]
    return {
        'node': hexnode(context.node()),
        'branch': text(context.extra()[b'branch']),
        'bookmarks': sorted(map(localtext, context.bookmarks())),
        'closed': context.closesbranch(),
    }


def _variables(hookargs) -> dict[str, str]:
    # Mercurial makes str of argument names by way of Latin-1
    return {
        text(name[len(_USERVAR) :].encode('latin-1')): text(value)
        for name, value in sorted(hookargs.items())
        if name.startswith(_USERVAR)
    }


def _bounded(push: Push, wanted: dict[str, int]) -> Push:
    '''``push`` with as many items as fit in MAX_BYTES of JSON

    ``wanted`` says, by field, how many items there were to begin with.
    '''
    items = MAX_ITEMS
    cut = _cut(push, items, wanted)
    while items > 1 and len(jsontext.dump(dataclasses.asdict(cut))) > MAX_BYTES:
        items //= 2
        cut = _cut(push, items, wanted)
    return cut


def _cut(push: Push, items: int, wanted: dict[str, int]) -> Push:
    heads = [
        dict(head, bookmarks=head['bookmarks'][:items])
        for head in push.heads[:items]
    ]
    cut = dataclasses.replace(
        push,
        heads=heads,
        bookmarks=dict(list(push.bookmarks.items())[:items]),
        variables=dict(list(push.variables.items())[:items]),
    )
    left = {k: n - len(getattr(cut, k)) for k, n in wanted.items()}
    left['head_bookmarks'] = sum(
        len(whole['bookmarks'][items:]) for whole in push.heads[:items]
    )
    return dataclasses.replace(
        cut, omitted={k: n for k, n in left.items() if n}
    )


def published(changes) -> list[range]:
    return [
        revs
        for revs, (old, new) in changes.get(b'phases', ())
        if new == phases.public and old != new
    ]
