# SPDX-License-Identifier: GPL-2.0-or-later
'''keep the deployed names: what each target has, for ``hg log`` and others

A name that cannot be written now is written by a later push: nothing fails
for it.
'''

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from ..state import delegation, deployed, files, journal, target_lock

# how long another process may take to write them, in seconds
_PATIENCE = 10.0


def note(paths: files.Paths, target: str, node: str) -> None:
    '''``target`` has ``node``, 40 hex digits, which it was told to deploy

    Before the journal says so: who reads there that it has ended finds it.
    '''
    _write(paths, lambda: {target: node})


def refresh(
    paths: files.Paths, opened: journal.Journal, targets: Iterable[str]
) -> None:
    '''let the names of ``targets`` be as the journal has them

    As after an upgrade, or where a process was killed. What runs is left to
    its worker.
    '''

    def recorded() -> dict[str, str]:
        return {
            name: row.node
            for name in targets
            if not opened.running(name)
            and (row := opened.last(name, delegation.SUCCEEDED))
        }

    _write(paths, recorded)


def _write(paths: files.Paths, wanted: Callable[[], dict[str, str]]) -> None:
    failures = (OSError, target_lock.LockError, journal.JournalError)
    with contextlib.suppress(*failures):
        if not _news(paths, wanted()):
            return
        turn = target_lock.turn(paths, deployed.LOCK, _PATIENCE, lambda: True)
        with turn as mine:
            # it may have become another while we waited
            if mine and (news := _news(paths, wanted())):
                known = _known(paths)
                deployed.replace(
                    paths.deployed, files.FIRST_LINE, {**known, **news}
                )


def _known(paths: files.Paths) -> dict[bytes, bytes]:
    # a link, say, is replaced
    with contextlib.suppress(OSError):
        return deployed.read(paths.deployed)
    return {}


def _news(paths: files.Paths, wanted: dict[str, str]) -> dict[bytes, bytes]:
    known = _known(paths)
    nodes = {
        name.encode('ascii'): node.encode('ascii')
        for name, node in wanted.items()
    }
    return {n: node for n, node in nodes.items() if known.get(n) != node}
