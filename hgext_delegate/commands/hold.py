# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate-hold: let what is pushed to a target wait, and let go of it'''

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence

from mercurial import encoding, error, pycompat, util
from mercurial.i18n import _

from ..config import targets as targetsmod
from ..delivery import dispatcher as dispatchermod
from ..push import push
from ..report import printer as printermod, wording
from ..state import files, holds
from . import cancel, delegate, opened


def hold(ui, repo, names: Sequence[bytes], opts) -> int:
    '''hg delegate-hold; with --release 0 only if all that waits succeeded'''
    names = list(dict.fromkeys(names))
    if not opts['release']:
        with opened.aborting():
            return _hold(ui, repo, names, opts['message'])
    if opts['message']:
        raise error.InputError(
            _(b'cannot specify both --message and --release'),
            hint=_(b'a reason is for those who wait'),
        )
    return _release(ui, repo, names)


def _hold(ui, repo, names: Sequence[bytes], message: bytes) -> int:
    known = targetsmod.names(ui)
    for name in names:
        if name not in known:
            raise opened.unknown_target(name, known)
        if targetsmod.gate(dict(ui.configitems(targetsmod.SECTION)), name):
            raise error.InputError(
                _(b"'%s' is a gate: nothing waits for it") % name,
                hint=_(b'set %s:when to none() to let pushes pass') % name,
            )
    reason = push.localtext(message)
    paths = files.make(repo.unfiltered())
    printer = printermod.Printer(ui)
    lines = []
    for name in names:
        target = pycompat.sysstr(name)
        before = holds.of(paths, target)
        with _changing(paths, target):
            found = holds.put(paths, target, cancel.who(), reason)
        hints = []
        if before:
            was, _remedy = wording.held(before, target)
            hints.append(_(b'it was %s') % wording.text(was))
        lines.append((target, wording.held(found, target)[0], hints))
    # the holds count whatever the journal says
    try:
        with opened.to_read(ui, repo) as dispatcher:
            for target, _line, hints in lines:
                hints += _waiting(dispatcher, target)
    except error.StateError as exc:
        printer.warn(exc.message)
    for target, line, hints in lines:
        printer.say(wording.of(target, wording.text(line)), *hints)
    return 0


def _waiting(dispatcher: dispatchermod.Dispatcher, target: str) -> list[bytes]:
    '''what runs for ``target``, and how much waits'''
    hints = []
    running = dispatcher.journal.running(target)
    if running:
        line = _(b"delegation %d goes on; 'hg delegate-cancel %d' ends it")
        hints.append(line % (running.number, running.number))
    if count := dispatcher.how_many_wait(target):
        hints.append(_(b'pushes that wait for it: %d') % count)
    return hints


def _release(ui, repo, names: Sequence[bytes]) -> int:
    paths = files.paths(repo.unfiltered())
    known = targetsmod.names(ui)
    # what is held may not be configured any more
    there = {*known, *map(pycompat.sysbytes, holds.all(paths))}
    for name in names:
        if name not in there:
            raise opened.unknown_target(name, there)
    printer = printermod.Printer(ui)
    free = []
    for name in names:
        target = pycompat.sysstr(name)
        if holds.of(paths, target) is None:
            hint = _(b"'hg delegate --pending %s' delegates what waits for it")
            line = wording.of(target, _(b'nobody holds it'))
            printer.warn(line, hint % name)
            continue
        with _changing(paths, target):
            holds.release(paths, target)
        printer.say(wording.of(target, _(b'released')))
        free.append(name)
    left = [name for name in free if name in known]
    status = 0 if len(free) == len(names) else 1
    if left:
        pending = {'pending': True, 'rev': b'', 'dry_run': None}
        status = delegate.delegate(ui, repo, left, pending) or status
    return status


@contextlib.contextmanager
def _changing(paths: files.Paths, target: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        pass  # somebody else has released it just now
    except OSError as exc:
        owner = util.username(os.lstat(paths.folder).st_uid)
        hint = _(b'run it as %s, who may write .hg/delegate') % owner
        if exc.errno in (errno.EISDIR, errno.ENOTDIR):
            name = pycompat.sysbytes(paths.hold(target).name)
            hint = _(b'move away .hg/delegate/%s') % name
        elif exc.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = _(b'free some space, and run it again')
        line = _(b'cannot change who holds it: %s')
        line %= encoding.strtolocal(exc.strerror or '')
        raise error.StateError(line, hint=hint) from None
