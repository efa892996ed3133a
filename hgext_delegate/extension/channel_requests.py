# SPDX-License-Identifier: GPL-2.0-or-later
'''what a client asks by the push channel: list, delegate, cancel

NAME        what the target NAME has, 40 hex digits, or as many zeros; setting
            it delegates
cancel/ID   the name of the target that the delegation ID is for, while it runs
            or waits; setting it to nothing cancels
'''

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence

from mercurial import pycompat
from mercurial.node import bin

from .. import protocol
from ..config import parsers, policy, targets as targetsmod
from ..delivery import (
    abandoned,
    by_hand,
    dispatcher as dispatchermod,
    ending,
    launcher as launchermod,
)
from ..push import outbox, push
from ..report import printer as printermod, refusals, wording
from ..state import delegation, files, holds, journal as journalmod, target_lock
from . import names

Rows = Sequence['delegation.Delegation | None']

_CANCEL = b'cancel/'
_NOTHING = b'0' * 40
_NEWEST = 20
# sqlite takes no longer numbers
_NUMBER = re.compile(rb'[0-9]{1,18}')

# How long after it was recorded a delegation has nobody yet who works on it,
# in seconds: a process starts, and imports paramiko.
_START = 60.0


class Refused(Exception):
    '''it is not done; the arguments are the line and the hint'''


def listed(repo) -> dict[bytes, bytes]:
    '''what the namespace has for a client who may read the repository'''
    usable, _errors = policy.read(repo, outbox.roads(repo))
    has = names.nodes(repo)
    found = {}
    for target in usable:
        if target.remote != 'no' and not target.gate:
            name = pycompat.sysbytes(target.name)
            node = has.get(name)
            found[name] = node.hex().encode('ascii') if node else _NOTHING
    may_push = [t.name for t in usable if t.remote == 'push' and not t.gate]
    rows = _read(repo, may_push, lambda j, n: [*j.pending(n), j.running(n)])
    for row in rows:
        if row.merged_into is None:
            key = b'%s%d' % (_CANCEL, row.number)
            found[key] = pycompat.sysbytes(row.target)
    return found


def _read(
    repo, names: Iterable[str], rows: Callable[[journalmod.Journal, str], Rows]
) -> list[delegation.Delegation]:
    '''``rows`` of all ``names``; none for an account that may only read the
    repository'''
    path = files.paths(repo).journal
    found: list[delegation.Delegation] = []
    unread = contextlib.suppress(journalmod.JournalError, OSError)
    if os.access(path, os.R_OK):
        with unread, contextlib.closing(journalmod.peek(path)) as opened:
            for name in names:
                found += filter(None, rows(opened, name))
    return found


def newest(repo) -> dict[bytes, bytes]:
    '''what became of the newest delegations, by number: the target, the state,
    the changeset, when it began and how many seconds it took

    Neither who pushed nor why it failed, as the web pages have it by ``state``.
    A changeset that cannot be pulled is shown as zeros.
    '''
    usable, _errors = policy.read(repo, outbox.roads(repo))
    shown = {target.name for target in usable if target.remote != 'no'}
    rows = _read(repo, shown, lambda j, n: j.newest(n, _NEWEST))
    rows.sort(key=lambda row: row.number)
    return {b'%d' % row.number: _shown(repo, row) for row in rows[-_NEWEST:]}


def _shown(repo, row: delegation.Delegation) -> bytes:
    has = repo.filtered(b'served').changelog.hasnode
    node = pycompat.sysbytes(row.node)
    node = node if has(bin(node)) else _NOTHING
    seconds = b'-' if row.seconds is None else b'%.1f' % row.seconds
    words = *map(pycompat.sysbytes, (row.target, row.state)), node
    began = b'%d' % max(0, row.began or row.created)
    return b' '.join([*words, began, seconds])


def answer(repo, client: bytes, key: bytes, old: bytes, new: bytes) -> bool:
    '''do what ``client`` (``remote:ssh:...``) asks for; whether it succeeded

    All that is said goes to the client.
    '''
    printer = printermod.Printer(repo.ui)
    new = b'' if new == _NOTHING else new
    try:
        with launchermod.open(repo.ui, repo) as launcher:
            abandoned.close_all(launcher.dispatcher)
            who = _who(repo, client)
            if key.startswith(_CANCEL):
                number = key[len(_CANCEL) :]
                return _cancel(launcher.dispatcher, number, old, new, who)
            return _delegate(launcher, key, old, new, who)
    except Refused as exc:
        printer.warn(*exc.args)
    except (files.FolderError, journalmod.JournalError, OSError) as exc:
        printer.warn(*wording.of_error(exc))
    return False


def _who(repo, client: bytes) -> str | None:
    variables = policy.setting(repo, b'user-variables', outbox.roads(repo))
    named = parsers.words(variables or b'')
    return push.pusher(repo.ui, client, b'serve', named)


def _target(
    dispatcher: dispatchermod.Dispatcher, name: bytes
) -> targetsmod.Target:
    '''the target ``name``, to which the push channel may delegate'''
    for target in dispatcher.targets:
        if pycompat.sysbytes(target.name) == name:
            if target.remote == 'push':
                return target
            raise Refused(*refusals.not_allowed(target.name))
    if pycompat.sysstr(name) in dispatcher.gates:
        raise Refused(*refusals.a_gate(pycompat.sysstr(name)))
    if name in targetsmod.names(dispatcher.repo.ui):
        raise Refused(*refusals.unusable(pycompat.sysstr(name)))
    raise Refused(*refusals.unknown_target(name))


def _delegate(
    launcher: launchermod.Launcher,
    key: bytes,
    old: bytes,
    new: bytes,
    who: str | None,
) -> bool:
    dispatcher = launcher.dispatcher
    target = _target(dispatcher, key)
    hold = holds.of(dispatcher.paths, target.name)
    if hold:
        raise Refused(*refusals.held(hold, target.name))
    node = _node(dispatcher, target, new)
    # Of two clients who ask at once, the second sees what the first has
    # recorded.
    with dispatcher.repo.lock():
        dispatcher.record_all()
        _compare(dispatcher, target, old)
        number = by_hand.record(dispatcher, target, node, who)
    dispatcher.say_left_behind(target, node, by_hand=True)
    jobs, waiting = dispatcher.free([(target, number)])
    dispatcher.say_waiting(waiting)
    if jobs and not target.wait:
        launcher.hand_over(jobs)
        return True
    broadcasts = getattr(dispatcher.repo, '_delegate_broadcasts', None)
    if jobs and broadcasts is not None:
        # the reply tells the rest: a web server may end this process
        followers = launcher.detach(jobs)
        broadcasts.append((dispatcher.paths, followers))
        return bool(followers)
    good = launcher.run(jobs) and not waiting
    abandoned.settle(dispatcher, [target])
    dispatcher.prune()
    return good


def _node(
    dispatcher: dispatchermod.Dispatcher, target: targetsmod.Target, new: bytes
) -> str:
    '''the changeset ``new``, which can be pulled and is for ``target``; if it
    is empty, the newest of those'''
    if not new:
        newest = by_hand.newest(dispatcher, target)
        if newest is None:
            raise Refused(*refusals.nothing_for(target.name))
        if not newest:
            raise Refused(*refusals.unusable(target.name))
        return newest
    node = new.decode('ascii', 'replace').lower()
    if not protocol.NODE.fullmatch(node):
        raise Refused(*refusals.no_node(target.name, new))
    changelog = dispatcher.repo.filtered(b'served').changelog
    if not changelog.hasnode(bin(node)):
        raise Refused(*refusals.not_there(target.name, node))
    is_for = dispatcher.is_for(target, changelog.rev(bin(node)))
    if is_for is None:
        raise Refused(*refusals.unusable(target.name))
    if not is_for:
        raise Refused(*refusals.not_in_when(target.name, node))
    return node


def _compare(
    dispatcher: dispatchermod.Dispatcher, target: targetsmod.Target, old: bytes
) -> None:
    '''raise Refused unless ``target`` has ``old``, and is about to keep it'''
    journal = dispatcher.journal
    waiting = journal.pending(target.name)
    begun = journal.running(target.name)
    # One that has just ended has the lock for a moment longer.
    is_held = target_lock.is_held(dispatcher.paths.lock(target.name))
    since = time.time() - _START
    if begun is None and waiting:
        row = waiting[-1]
        if is_held or (not row.reason and row.created > since):
            begun = row
    if begun:
        raise Refused(*refusals.busy(target.name, begun))
    last = journal.last(target.name, delegation.SUCCEEDED)
    has = last.node if last else None
    served = dispatcher.repo.filtered(b'served').changelog
    if has and not served.hasnode(bin(has)):
        has = None  # which is what was listed
    if pycompat.sysbytes(has or '') != (b'' if old == _NOTHING else old):
        raise Refused(*refusals.moved(target.name, has))


def _cancel(
    dispatcher: dispatchermod.Dispatcher,
    id: bytes,
    old: bytes,
    new: bytes,
    who: str | None,
) -> bool:
    '''cancel the delegation ``id``, which is for the target ``old``'''
    row = None
    if _NUMBER.fullmatch(id):
        row = dispatcher.journal.get(int(id))
    if row is None or new:
        raise Refused(*refusals.no_delegation(id))
    _target(dispatcher, pycompat.sysbytes(row.target))
    if pycompat.sysbytes(row.target) != old:
        raise Refused(*refusals.of_another(row))
    is_open = abandoned.is_open(dispatcher, row.number)
    row = dispatcher.journal.get(row.number) or row
    if is_open and row.merged_into:
        raise Refused(*refusals.goes_along(row))
    if not is_open and row.remedy != delegation.NOT_ENDED:
        raise Refused(*refusals.not_open(row))
    by = who or 'an unknown pusher'
    return ending.end(dispatcher, [row], by) == 0
