# dry_run.py - hg delegate --dry-run
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''hg delegate --dry-run: what would be delegated

It is found out in a transaction of the journal that is taken back.
'''

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence

from mercurial import pycompat
from mercurial.i18n import _

from .. import protocol
from ..config import targets as targetsmod
from ..delivery import dispatcher
from ..push import outbox
from ..report import wording
from ..state import delegation


def of_node(
    made: dispatcher.Dispatcher, target: targetsmod.Target, node: str
) -> Iterator[bytes]:
    '''the lines that tell what ``hg delegate`` would send'''
    row = types.SimpleNamespace(id=None, node=node, attempt=0)
    yield from _lines(made, target, row, made.journal.pending(target.name))


def of_pending(
    made: dispatcher.Dispatcher, target: targetsmod.Target
) -> Iterator[bytes]:
    '''the lines that tell what ``hg delegate --pending`` would send'''
    rows = made.journal.pending(target.name)
    rows = [row for row in rows if made.history.exists(row.node)]
    last = made.journal.last(target.name, delegation.SUCCEEDED)
    while rows and last:
        known = made.history.is_ancestor
        if not delegation.supersedes(last, rows[-1], known):
            break
        line = _(b'%s is superseded by %s\n')
        nodes = wording.short(rows.pop().node), wording.short(last.node)
        yield wording.of(target.name, line % nodes)
    if rows:
        yield from _lines(made, target, rows[-1], rows)


def _lines(
    made: dispatcher.Dispatcher,
    target: targetsmod.Target,
    row,
    rows: Sequence[delegation.Delegation],
) -> Iterator[bytes]:
    last = made.journal.last(target.name, delegation.SUCCEEDED)
    sent = types.SimpleNamespace(
        id=row.id,
        target=target.name,
        node=row.node,
        previous=last.node if last else None,
        attempt=row.attempt + 1,
    )
    request = protocol.command(target, row.node)
    repository = {'name': made.paths.name, 'root': made.paths.root}
    pushes = outbox.pushes(outbox.read(made.repo), rows)
    line = _(b'would delegate %s to %s\n')
    line %= wording.short(row.node), pycompat.sysbytes(target.url)
    yield wording.of(target.name, line)
    yield _(b'command: %s\n') % request.encode('utf-8')
    yield _(b'standard input: %s') % protocol.compose(repository, sent, pushes)
