# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate-check: the list of findings, and how they are shown

It logs in, and asks for what must be refused. It runs nothing on the deploy
side but a receiver, and writes nothing in the repository.
'''

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mercurial import encoding, pycompat

from ... import imports
from ...config import policy, targets as targetsmod
from ...push import outbox
from ...report import printer, wording
from .. import opened
from . import config, finding, records, serving


def run(ui, repo, names: Sequence[bytes], opts) -> int:
    '''0 if there was no error among the findings'''
    repo = repo.unfiltered()
    targets, errors = policy.read(repo, outbox.roads(repo))
    wrong = [*config.untrusted(ui), *map(config.of_error, errors)]
    known = [*targetsmod.names(ui), *filter(None, (f.target for f in wrong))]
    for name in names:
        if name not in known:
            raise opened.unknown_target(name, known)
    chosen = list(dict.fromkeys(names or known))
    status = 0
    with ui.formatter(b'delegate-check', pycompat.byteskwargs(opts)) as fm:
        for found in _findings(ui, repo, targets, wrong, chosen):
            # --quiet leaves out what is right, but not from a template
            if found.level != finding.OK or not (ui.quiet and fm.isplain()):
                _show(ui, fm, found)
            if found.level == finding.ERROR:
                status = 1
    return status


def _findings(
    ui,
    repo,
    targets: Sequence[targetsmod.Target],
    wrong: Sequence[finding.Finding],
    chosen: Sequence[bytes],
) -> Iterator[finding.Finding]:
    yield from config.general(ui, repo)
    yield from serving.check(ui, repo)
    yield from config.of_roads(repo)
    yield from config.hooks(ui)
    usable = {pycompat.sysbytes(target.name): target for target in targets}
    can_log_in = bool(usable)
    if usable:
        try:
            with imports.complete():
                from . import server
        except ImportError as exc:
            can_log_in = False
            about = finding.About(b'', b'server')
            yield about.error(*wording.of_import(exc))
    for name in (b'', *chosen):
        yield from (found for found in wrong if found.target == name)
        if name in usable:
            yield from config.of_target(ui, repo, usable[name])
            yield from config.remote(usable[name])
            if can_log_in:
                yield from server.check(ui, repo, usable[name])
    yield from records.check(repo, [name for name in chosen if name in usable])
    yield config.http(ui)
    yield from config.web(repo)


def _show(ui, fm, found: finding.Finding) -> None:
    '''print ``found`` at once, since the next login takes time'''
    # a path or a revset may hold what steers the terminal
    message, remedy = (
        encoding.tolocal(wording.safe(text))
        for text in (found.message, printer.advice(ui, found.remedy))
    )
    fm.startitem()
    fm.data(target=found.target, topic=found.topic, level=found.level)
    fm.data(message=message, remedy=remedy)
    label = b'delegate.check delegate.check.%s' % found.level
    fm.plain(b'%-7s' % found.level, label=label)
    fm.plain(b'  %-10s  %s\n' % (found.target or b'-', message))
    if remedy:
        fm.plain(b'(%s)\n' % remedy)
    ui.flush()
