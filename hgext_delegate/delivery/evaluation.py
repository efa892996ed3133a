# SPDX-License-Identifier: GPL-2.0-or-later
'''the revset of a target, evaluated within a limit of time where it needs one

Mercurial evaluates a revset for as long as that takes, and nothing in the
process can end a regular expression. So what is another's than the host's,
on a host that has a policy, is evaluated by an hg of its own, which can be
killed. A revset that cannot take long costs no such process.
'''

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections.abc import Iterable
from typing import Any

from mercurial import error, pycompat
from mercurial.i18n import _

from ..config import revsets, targets
from ..push import selection
from . import detached

# For all that one push, or one command, asks. An hg that nobody waits for any
# more ends by itself after as much time of the processor.
LIMIT = 30


class Evaluator:
    '''asks which changesets are for a target, for LIMIT seconds in all'''

    def __init__(self) -> None:
        self._left = float(LIMIT)

    def newest(
        self, repo, target: targets.Target, pushed: Iterable[int] | None
    ) -> str | None:
        '''selection.newest(), which see'''
        if not _needs_limit(repo, target):
            ui = _ui(repo, target)
            return selection.newest(ui, repo, target.when, pushed)
        if isinstance(pushed, range):
            return self._ask(repo, target, span=[pushed.start, pushed.stop])
        return self._ask(repo, target, revs=pushed and list(pushed))

    def count(self, repo, target: targets.Target, nodes: list[str]) -> int:
        '''selection.count(), which see'''
        if not _needs_limit(repo, target):
            ui = _ui(repo, target)
            return selection.count(ui, repo, target.when, nodes)
        return self._ask(repo, target, nodes=nodes)

    def _ask(self, repo, target: targets.Target, **asked) -> Any:
        assert target.when is not None
        asked['when'] = target.when.decode('latin-1')
        began = time.monotonic()
        try:
            done = subprocess.run(
                detached.command(repo, 'delegate', '--dry-run', '--', '-'),
                input=json.dumps(asked).encode('ascii'),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=self._left,
                env=detached.environment(repo),
            )
        except subprocess.TimeoutExpired:
            raise selection.SlowRevsetError(
                _(b'it takes more than %d s') % LIMIT,
                hint=_(b'make it simpler; pushes wait for it meanwhile'),
            ) from None
        finally:
            self._left -= time.monotonic() - began
        return _parse(done.stdout)


def _ui(repo, target: targets.Target) -> Any:
    '''whose aliases count'''
    return repo.baseui if target.is_limited else repo.ui


def _needs_limit(repo, target: targets.Target) -> bool:
    when = target.when
    return (
        target.is_limited
        and when is not None
        and not revsets.is_cheap(repo.baseui, when)
    )


def _parse(answer: bytes) -> Any:
    try:
        # an extension may have printed something before
        told = json.loads(answer.splitlines()[-1])
    except (IndexError, ValueError):
        raise error.StateError(_(b'the hg that evaluates it fails')) from None
    if 'error' not in told:
        return told['found']
    kind = error.RepoLookupError if told['is_lookup'] else error.StateError
    raise kind(told['error'].encode('latin-1'))


def answer(ui, repo) -> None:
    '''evaluate what Evaluator asks on standard input'''
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 1))
    asked = json.loads(ui.fin.read())
    repo, when = repo.unfiltered(), asked['when'].encode('latin-1')
    told: dict[str, Any] = {}
    try:
        if 'nodes' in asked:
            told['found'] = selection.count(
                repo.baseui, repo, when, asked['nodes']
            )
        else:
            span = asked.get('span')
            revs = range(*span) if span else asked['revs']
            told['found'] = selection.newest(repo.baseui, repo, when, revs)
    except selection.REVSET_ERRORS as exc:
        message = getattr(exc, 'message', None) or pycompat.bytestr(exc)
        told['error'] = message.decode('latin-1')
        told['is_lookup'] = isinstance(exc, error.RepoLookupError)
    ui.write(b'%s\n' % json.dumps(told).encode('ascii'))
