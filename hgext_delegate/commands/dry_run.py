# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate --dry-run: what would be sent

The caller rolls back what is done to the journal.
'''

from __future__ import annotations

import threading
import types
from collections.abc import Iterator

from mercurial import pycompat
from mercurial.i18n import _

from .. import protocol
from ..config import targets as targetsmod
from ..delivery import dispatcher as dispatchermod, obstacles, queue
from ..push import outbox
from ..report import wording
from ..state import delegation


def lines(
    dispatcher: dispatchermod.Dispatcher, target: targetsmod.Target, number: int
) -> Iterator[bytes]:
    '''what the delegation ``number`` to ``target`` would send'''
    paths, journal = dispatcher.paths, dispatcher.journal
    if why := obstacles.of(paths, target.name):
        line = b'%s (%s)\n' % tuple(map(wording.text, why.values()))
        yield wording.of(target.name, line)
    history, news = dispatcher.history, threading.Event()
    task = queue.Task(target, number, paths, journal, history, news)
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
    yield _(b'command: %s\n') % request.encode('utf-8')
    data = protocol.compose(target, repository, sent, pushes)
    yield _(b'standard input: %s') % data
