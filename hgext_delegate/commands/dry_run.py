# dry_run.py - what would be delegated
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what would be delegated, found out without a trace on disk'''

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import types
import urllib.parse
from collections.abc import Iterator

from mercurial import pycompat
from mercurial.i18n import _

from .. import protocol
from ..config import targets
from ..delivery import dispatcher
from ..report import wording
from ..state import delegation, files, sqlite_file


@contextlib.contextmanager
def desk(ui, repo) -> Iterator[dispatcher.Desk]:
    '''a Desk like ``desk.open``, with a copy of the journal'''
    with tempfile.TemporaryDirectory(prefix='hg-delegate-') as folder:
        paths = files.paths(repo, folder, None)
        path = os.path.join(os.fsdecode(repo.sharedpath), 'delegate/journal')
        if os.path.exists(path):
            copy_journal(path, paths.journal)
        opened = dispatcher.Desk(ui, repo, paths)
        try:
            yield opened
        finally:
            opened.journal.close()


def copy_journal(path: str, to: str) -> None:
    # The last to close the file takes away what a killed process has left
    # beside it, unless it may not write; and then it leaves its own there.
    mode = 'ro' if os.path.exists(path + '-wal') else 'rw'
    uri = 'file:%s?mode=%s' % (urllib.parse.quote(os.fsencode(path)), mode)
    with sqlite_file.translated(), contextlib.ExitStack() as stack:
        opened = [sqlite3.connect(name, uri=True) for name in (uri, to)]
        for file in opened:
            stack.callback(file.close)
        opened[0].backup(opened[1])


def show(ui, desk, target: targets.Target, node: str) -> None:
    '''what ``hg delegate`` would send'''
    row = types.SimpleNamespace(
        id=None, target=target.name, node=node, attempt=0
    )
    rows = desk.journal.pending(target.name)
    _show(ui, desk, target, row, desk.pushes(rows))


def show_pending(ui, desk, target: targets.Target) -> None:
    '''what ``hg delegate --pending`` would send'''
    desk.record_all()
    rows = desk.journal.pending(target.name)
    rows = [row for row in rows if desk.history.exists(row.node)]
    last = desk.journal.last(target.name, delegation.SUCCEEDED)
    while rows and last:
        known = desk.history.is_ancestor
        if not delegation.supersedes(last, rows[-1], known):
            break
        line = _(b'%s: %s is superseded by %s\n')
        nodes = wording.short(rows.pop().node), wording.short(last.node)
        ui.write(line % (pycompat.sysbytes(target.name), *nodes))
    if rows:
        _show(ui, desk, target, rows[-1], desk.pushes(rows))


def _show(ui, desk, target: targets.Target, row, pushes) -> None:
    last = desk.journal.last(target.name, delegation.SUCCEEDED)
    sent = types.SimpleNamespace(
        id=row.id,
        target=row.target,
        node=row.node,
        previous=last.node if last else None,
        attempt=row.attempt + 1,
    )
    asked = target.command or protocol.command(target.name, row.node)
    repository = {'name': desk.paths.name, 'root': desk.paths.root}
    ui.write(
        _(b'%s: would delegate %s to %s\n')
        % (
            pycompat.sysbytes(target.name),
            wording.short(row.node),
            pycompat.sysbytes(target.url),
        )
    )
    ui.write(_(b'command: %s\n') % asked.encode('utf-8'))
    ui.write(
        _(b'standard input: %s') % protocol.compose(repository, sent, pushes)
    )
