# history.py - what a worker may ask of the repository's history
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the history of a repository, for workers that must not touch ``repo``'''

from __future__ import annotations

import contextlib
import threading

from mercurial import error, hg
from mercurial.node import bin

from ..config import targets
from ..push import outbox, selection

# A repository object is made with all its extensions; one at a time, since
# Mercurial's lazy imports are not made for threads.
_OPENING = threading.Lock()


class History:
    '''answers from what the hook has seen, else from a repository of its own

    The object that the hook got is as old as its transaction, and other
    pushes have come since.
    '''

    def __init__(self, repo):
        self._ui = repo.baseui.copy()
        self._root = repo.root
        self._known: dict[tuple[str, str], bool] = {}

    def learn(self, repo, node: str, other: str) -> None:
        '''keep what ``repo`` knows of the two, where it knows both'''
        with contextlib.suppress(error.LookupError):
            self._known[node, other] = _is_ancestor(repo, node, other)

    def exists(self, node: str) -> bool:
        '''whether ``node`` is there, now, for whoever pulls'''
        with _OPENING:
            return _is_served(self._open(), node)

    def is_ancestor(self, node: str, other: str) -> bool:
        '''whether ``node`` is ``other`` or an ancestor of it'''
        if (node, other) not in self._known:
            with _OPENING:
                try:
                    known = _is_ancestor(self._open(), node, other)
                except error.LookupError:
                    # one of them was stripped: nothing can be older or newer
                    known = False
            self._known[node, other] = known
        return self._known[node, other]

    def newest(self, target: targets.Target, entry: outbox.Entry) -> str | None:
        '''the newest changeset of a push for ``target``, if any is left'''
        with _OPENING, contextlib.suppress(*selection.REVSET_ERRORS):
            repo = self._open()
            pushed = selection.brought(
                repo, entry.push, entry.moved, target.trigger
            )
            if pushed is not None:
                return selection.newest(repo, target.when, pushed)
        return None

    def _open(self):
        ui = self._ui.copy()
        # what it has to say has been said by the hook's own repository
        ui.pushbuffer(error=True)
        return hg.repository(ui, self._root).unfiltered()


def _is_served(repo, node: str) -> bool:
    try:
        repo.filtered(b'served').changelog.rev(bin(node))
    except error.LookupError:
        return False
    return True


def _is_ancestor(repo, node: str, other: str) -> bool:
    changelog = repo.unfiltered().changelog
    return changelog.isancestorrev(
        changelog.rev(bin(node)), changelog.rev(bin(other))
    )
