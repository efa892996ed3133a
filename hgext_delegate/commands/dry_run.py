# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate --dry-run: what would be sent

The caller rolls back what is done to the journal.
'''

from __future__ import annotations

import itertools
import threading
import types
from collections.abc import Iterator

from mercurial import encoding, pycompat
from mercurial.i18n import _
from mercurial.node import bin, nullid

from .. import protocol
from ..config import targets as targetsmod
from ..delivery import dispatcher as dispatchermod, obstacles, queue
from ..push import outbox, push
from ..report import wording
from ..state import delegation

# how many changesets are listed of each kind, without --verbose
_MOST = 20


def lines(
    dispatcher: dispatchermod.Dispatcher,
    target: targetsmod.Target,
    number: int,
    regardless: bool,
) -> Iterator[bytes]:
    '''what the delegation ``number`` to ``target`` would send'''
    paths, journal = dispatcher.paths, dispatcher.journal
    history, news = dispatcher.history, threading.Event()
    task = queue.Task(target, number, paths, journal, history, news, regardless)
    row = journal.get(number)
    why = obstacles.hold(paths, target.name)
    if row and not why and not regardless:
        why = obstacles.after(journal, history, target, row)
    if why:
        line = b'%s (%s)\n' % tuple(map(wording.text, why.values()))
        yield wording.of(target.name, line)
    claimed = queue.claim(task)
    row = journal.get(number)
    last = row and row.merged_into and journal.get(row.merged_into)
    if row and last and row.state == delegation.SUPERSEDED:
        line = _(b'%s is superseded by %s\n')
        line %= wording.short(row.node), wording.short(last.node)
        yield wording.of(target.name, line)
    if claimed is None:
        return
    pushes = outbox.pushes(
        outbox.read(dispatcher.repo), journal.carried(claimed.number)
    )
    # What was recorded for the dry run gets another id when it is delegated.
    sent = types.SimpleNamespace(**{**vars(claimed), 'id': None})
    request = protocol.command(target, claimed.node)
    repository = {'name': paths.name, 'root': paths.root}
    line = _(b'would delegate %s to %s\n')
    line %= wording.short(claimed.node), pycompat.sysbytes(target.url)
    yield wording.of(target.name, line)
    yield from _changes(dispatcher.repo, claimed)
    yield _(b'command: %s\n') % request.encode('utf-8')
    data = protocol.compose(target, repository, sent, pushes)
    yield _(b'standard input: %s') % data


def _changes(repo, row: delegation.Delegation) -> Iterator[bytes]:
    '''which changesets would go live, and which would not be live any more'''
    new, old = bin(row.node), bin(row.previous) if row.previous else nullid
    if not repo.changelog.hasnode(old):
        line = _(b'what is deployed, %s, is not in the repository any more\n')
        yield line % wording.short(row.previous or '')
        return
    comes, goes = (
        repo.revs(b'reverse(only(%n, %n))', *pair)
        for pair in ((new, old), (old, new))
    )
    yield _(b'changesets that would go live: %d\n') % len(comes)
    yield from _listed(repo, comes)
    if goes:
        yield _(b'changesets that would be taken away: %d\n') % len(goes)
        yield from _listed(repo, goes)


def _listed(repo, revs) -> Iterator[bytes]:
    most = len(revs) if repo.ui.verbose else _MOST
    for rev in itertools.islice(revs, most):
        context = repo[rev]
        description = push.localtext(context.description()).strip()
        summary = wording.text(description.partition('\n')[0][:60])
        yield b'  %s  %s\n' % (context, encoding.tolocal(summary))
    if len(revs) > most:
        yield _(b'  and %d more, which -v lists\n') % (len(revs) - most)
