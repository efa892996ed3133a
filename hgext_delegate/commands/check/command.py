# command.py - hg delegate-check
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''hg delegate-check: the list of facts, and how they are shown

It logs in, and asks for what must be refused. It runs nothing on the deploy
side and writes nothing in the repository.
'''

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence

from mercurial import (
    encoding,
    error,
    pycompat,
)
from mercurial.i18n import _

from ... import imports
from ...config import policy, targets as targetsmod
from ...report import wording
from . import config, finding, records

Findings = Iterator[finding.Finding]


def run(ui, repo, names: Sequence[bytes], opts) -> int:
    '''0 if there was no error among the findings'''
    repo = repo.unfiltered()
    targets, mistakes = targetsmod.read(ui, policy.refused(repo))
    untrusted = config.untrusted(ui)
    wrong = untrusted
    for mistake in map(config.mistake, mistakes):
        wrong.setdefault(mistake.target, []).append(mistake)
    chosen = _chosen(names, [*targetsmod.names(ui), *filter(None, wrong)])
    status = 0
    with ui.formatter(b'delegate-check', pycompat.byteskwargs(opts)) as fm:
        for found in _findings(ui, repo, targets, wrong, chosen):
            if _is_wanted(ui, fm, found):
                _show(ui, fm, found)
            if found.level == finding.ERROR:
                status = 1
    return status


def _chosen(names: Sequence[bytes], known: Sequence[bytes]) -> list[bytes]:
    for name in names:
        if name not in known:
            listed = b', '.join(sorted(set(known)))
            raise error.InputError(
                _(b"there is no target '%s'") % name,
                hint=_(b'targets: %s') % (listed or _(b'none, see [delegate]')),
            )
    return list(dict.fromkeys(names or known))


def _findings(
    ui,
    repo,
    targets: Sequence[targetsmod.Target],
    wrong: dict[bytes, list[finding.Finding]],
    chosen: Sequence[bytes],
) -> Findings:
    yield from config.general(ui, repo)
    yield from wrong.get(b'', ())
    usable = {pycompat.sysbytes(target.name): target for target in targets}
    server: types.ModuleType | None = None
    if usable:
        try:
            with imports.complete():
                from . import server as servermod
            server = servermod
        except ImportError as exc:
            about = finding.About(b'', b'server')
            yield about.error(*wording.of_import(exc))
    for name in chosen:
        yield from wrong.get(name, ())
        if name in usable:
            yield from config.of_target(ui, repo, usable[name])
            if server:
                yield from server.check(ui, repo, usable[name])
    yield from records.check(repo, [n for n in chosen if n in usable])
    yield config.http(ui)


def _is_wanted(ui, fm, found: finding.Finding) -> bool:
    '''--quiet leaves out what is right, but not from a template'''
    return found.level != finding.OK or not (ui.quiet and fm.isplain())


def _show(ui, fm, found: finding.Finding) -> None:
    '''a line, and the remedy in another; at once, since logging in takes
    time'''
    message, remedy = map(_safe, (found.message, found.remedy))
    fm.startitem()
    fm.data(target=found.target, topic=found.topic, level=found.level)
    fm.data(message=message, remedy=remedy)
    label = b'delegate.check delegate.check.%s' % found.level
    fm.plain(b'%-7s' % found.level, label=label)
    fm.plain(b'  %-10s  %s\n' % (found.target or b'-', message))
    if remedy:
        fm.plain(b'(%s)\n' % remedy)
    ui.flush()


def _safe(text: bytes) -> bytes:
    '''without what could steer the terminal: a path or a revset may have it'''
    return encoding.tolocal(wording.safe(text))
