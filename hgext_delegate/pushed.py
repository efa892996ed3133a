# pushed.py - from a hook's arguments to a delegation
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''note a push in the outbox, and delegate it'''

from __future__ import annotations

import dataclasses
import os
from typing import Any

from mercurial import (
    encoding,
    error,
    pycompat,
)
from mercurial.i18n import _
from mercurial.node import bin

from . import (
    handover,
    journal,
    outbox,
    push,
    target as targetmod,
)


def note(ui, repo, hookargs: dict[str, Any]) -> None:
    '''let the transaction write the push into the outbox

    Nothing else is done under the repository's lock.
    '''
    names = targetmod.names(ui)
    transaction = repo.currenttransaction()
    first = transaction.changes[b'origrepolen']
    last = len(repo.unfiltered().changelog) - 1
    if not names or last < first:
        return
    pushed = _push(ui, repo, first, last, hookargs)
    try:
        box = _pruned(repo, outbox.read(repo))
    except OSError as exc:
        # Any other exception here would be a traceback to the pusher.
        raise error.Abort(
            _(b'delegate: cannot read the outbox: %s')
            % encoding.strtolocal(exc.strerror or ''),
            hint=_(b'see who may read .hg/store/delegate-outbox'),
        ) from None
    outbox.write_with(transaction, outbox.extended(box, *_entry(names, pushed)))


def _push(ui, repo, first: int, last: int, hookargs) -> push.Push:
    named = targetmod.user_variables(ui)
    who = push.pusher(ui, hookargs.get('url'), hookargs['source'], named)
    return push.make(repo, first, last, hookargs, who)


def _entry(names, pushed: push.Push, suffix: str = ''):
    return (
        pushed.transaction + suffix,
        map(pycompat.sysstr, names),
        dataclasses.asdict(pushed),
    )


def _pruned(repo, box: outbox.Outbox) -> outbox.Outbox:
    '''``box`` without what the journal has settled and what was stripped

    Where the journal cannot be read, all of it stays.
    '''
    path = os.path.join(repo.sharedpath, b'delegate', b'journal')
    settled = set()
    if box.entries and os.path.exists(path):
        try:
            opened = journal.open(os.fsdecode(path))
        except journal.JournalError:
            return box
        try:
            settled = opened.settled(entry.txn for entry in box.entries)
        except journal.JournalError:
            return box
        finally:
            opened.close()
    hasnode = repo.unfiltered().changelog.hasnode
    return dataclasses.replace(
        box,
        entries=tuple(
            entry
            for entry in box.entries
            if any((entry.txn, name) not in settled for name in entry.targets)
            and hasnode(bin(entry.push['node_last']))
        ),
    )


def deliver(ui, repo, hookargs: dict[str, Any]) -> bool:
    '''delegate the push of a changegroup hook; False if something went wrong'''
    entry = _noted(ui, repo, hookargs)
    # The classic line and the extension's own hook may both be there.
    if entry is None or getattr(repo, '_delegated', None) == entry.txn:
        return True
    repo._delegated = entry.txn
    try:
        with handover.desk(ui, repo) as desk:
            return desk.serve(entry, targetmod.keep(ui))
    except OSError as exc:
        ui.warn(
            _(b'delegate: cannot delegate now: %s\n')
            % encoding.strtolocal(exc.strerror or '')
        )
        ui.warn(_(b"(later, 'hg delegate --pending' on the server does)\n"))
        return False


def _noted(ui, repo, hookargs) -> outbox.Entry | None:
    '''the outbox's entry of this push; with the classic hook line alone
    there was no hook in the transaction, and it is made now'''
    txn = pycompat.sysstr(hookargs['txnid'])
    rev = repo.changelog.rev
    last = rev(bin(hookargs['node_last']))
    entry = outbox.read(repo).find(txn)
    if entry and rev(bin(entry.push['node_last'])) >= last:
        return entry
    names = targetmod.names(ui)
    if not names:
        return None
    pushed = _push(ui, repo, rev(bin(hookargs['node'])), last, hookargs)
    # A bundle may have several changegroups, each with a hook of its own.
    suffix = '#%s' % pushed.node_last if entry else ''
    with repo.lock():
        box = _pruned(repo, outbox.read(repo))
        box = outbox.extended(box, *_entry(names, pushed, suffix))
        outbox.write_now(repo, box)
    return box.entries[-1]
