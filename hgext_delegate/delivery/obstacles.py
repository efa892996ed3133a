# SPDX-License-Identifier: GPL-2.0-or-later
'''what keeps a delegation waiting that could begin

Somebody holds its target.
'''

from __future__ import annotations

from ..report import wording
from ..state import files, holds, journal as journalmod, waiting


def of(paths: files.Paths, target: str) -> dict[str, str]:
    '''the reason why ``target`` has to wait, and the remedy; {} if it does not
    have to'''
    hold = holds.of(paths, target)
    if hold is None:
        return {}
    return dict(zip(('reason', 'remedy'), wording.held(hold, target)))


def stop(
    paths: files.Paths, journal: journalmod.Journal, target: str, number: int
) -> bool:
    '''whether the delegation ``number`` to ``target`` waits for that, which is
    noted. Raises JournalError'''
    why = of(paths, target)
    return bool(why) and waiting.defer(journal, number, **why)
