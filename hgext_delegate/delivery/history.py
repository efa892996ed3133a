# SPDX-License-Identifier: GPL-2.0-or-later
'''the history of a repository, for workers that must not touch ``repo``'''

from __future__ import annotations

import contextlib
import threading

from mercurial import error, hg
from mercurial.node import bin

from ..config import targets
from ..push import outbox, selection
from . import evaluation

# Making a repository object runs its extensions. One thread at a time: lazy
# imports are not safe among threads.
_OPENING = threading.Lock()


class History:
    '''answers from what it has learned, else from a new repository object

    The hook's own object does not see the pushes that came later. Nodes are
    40 hex digits.
    '''

    def __init__(self, repo):
        self._ui = repo.baseui.copy()
        self._root = repo.root
        self._evaluator = evaluation.Evaluator()
        self._known: dict[tuple[str, str], bool] = {}

    def learn(self, repo, node: str, other: str) -> None:
        '''keep whether ``node`` is an ancestor, if ``repo`` has both'''
        with contextlib.suppress(error.LookupError):
            self._known[node, other] = _is_ancestor(repo, node, other)

    def exists(self, node: str) -> bool:
        '''whether ``node`` is there, now, for whoever pulls'''
        with _OPENING:
            served = self._open().filtered(b'served')
            return served.changelog.hasnode(bin(node))

    def is_ancestor(self, node: str, other: str) -> bool:
        '''whether ``node`` is ``other`` or an ancestor of it'''
        if (node, other) not in self._known:
            with _OPENING:
                try:
                    known = _is_ancestor(self._open(), node, other)
                except error.LookupError:
                    # one of them was stripped
                    known = False
            self._known[node, other] = known
        return self._known[node, other]

    def lacking(self, nodes: set[str], other: str) -> set[str]:
        '''those of ``nodes`` that are there for whoever pulls, and that are
        neither ``other`` nor ancestors of it'''
        left = {n for n in nodes if not self._known.get((n, other))}
        if not left:
            return left
        with _OPENING:
            repo = self._open()
            for node in left:
                self.learn(repo, node, other)
            hasnode = repo.filtered(b'served').changelog.hasnode
            return {
                node
                for node in left
                if hasnode(bin(node)) and not self._known.get((node, other))
            }

    def newest(self, target: targets.Target, entry: outbox.Entry) -> str | None:
        '''the newest changeset of a push for ``target`` that is still there'''
        with _OPENING, contextlib.suppress(*selection.REVSET_ERRORS):
            repo = self._open()
            pushed = selection.brought(
                repo, entry.push, entry.moved, target.trigger
            )
            if pushed is not None:
                return self._evaluator.newest(repo, target, pushed)
        return None

    def _open(self):
        ui = self._ui.copy()
        # the hook's own repository object has printed the same warnings
        ui.pushbuffer(error=True)
        return hg.repository(ui, self._root).unfiltered()


def _is_ancestor(repo, node: str, other: str) -> bool:
    changelog = repo.unfiltered().changelog
    return changelog.isancestorrev(
        changelog.rev(bin(node)), changelog.rev(bin(other))
    )
