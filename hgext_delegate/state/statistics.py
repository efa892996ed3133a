# SPDX-License-Identifier: GPL-2.0-or-later
'''how long delegations to a target take, and how many of them fail

A gate's success is that it let a push pass.
'''

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from . import delegation, journal as journalmod

# how many of the last successes say what is usual
NEWEST = 5

_GOOD = (delegation.SUCCEEDED, delegation.PASSED)


@dataclasses.dataclass(frozen=True)
class Statistics:
    '''of what is recorded of ``target``: of older ones nothing is known

    ``count`` are those that were run, ``failed`` those of them that failed or
    were lost. The durations are of those that succeeded, in seconds, None where
    there is none; ``usual`` is the median of the newest.
    '''

    target: str
    count: int
    failed: int
    median: float | None
    slowest: float | None
    usual: float | None


def usual(journal: journalmod.Journal, target: str) -> float | None:
    '''how long a delegation to ``target`` is expected to take, in seconds;
    None where none has succeeded'''
    rows = []
    # what somebody else needs of the journal will fail, and say so
    with contextlib.suppress(journalmod.JournalError):
        rows = journal.db.select(
            'SELECT seconds FROM delegation WHERE target = ? AND '
            'state IN (?, ?) AND seconds IS NOT NULL '
            'ORDER BY turn DESC, number DESC LIMIT ?',
            *(target, *_GOOD, NEWEST),
            is_sound=_is_duration,
        )
    return _median([row[0] for row in rows])


def of_all(
    journal: journalmod.Journal, target: str | None = None
) -> list[Statistics]:
    '''of all targets, by name, or of one. Raises JournalError'''
    rows = journal.db.select(
        'SELECT target, state, seconds FROM delegation '
        'WHERE (turn IS NOT NULL OR state IN (?, ?, ?)) '
        'AND target = coalesce(?, target) ORDER BY target, turn, number',
        # gates have no turn
        *(delegation.PASSED, delegation.REFUSED, delegation.LOST, target),
        is_sound=_is_run,
    )
    found: dict[str, list[Any]] = {}
    for name, *run in rows:
        found.setdefault(name, []).append(run)
    return [_of(name, runs) for name, runs in found.items()]


def _of(target: str, runs: list[Any]) -> Statistics:
    run = (*delegation.RUN, delegation.PASSED, delegation.REFUSED)
    states = [state for state, _seconds in runs if state in run]
    durations = [
        seconds
        for state, seconds in runs
        if state in _GOOD and seconds is not None
    ]
    failures = (delegation.FAILED, delegation.LOST, delegation.REFUSED)
    return Statistics(
        target,
        len(states),
        sum(state in failures for state in states),
        _median(durations),
        max(durations, default=None),
        _median(durations[-NEWEST:]),
    )


def _median(durations: list[float]) -> float | None:
    # the module statistics takes 10 ms to load
    if not durations:
        return None
    durations, half = sorted(durations), len(durations) // 2
    return (durations[half] + durations[-1 - half]) / 2


def _is_duration(seconds: Any) -> bool:
    return isinstance(seconds, float) and 0 <= seconds < delegation.LATEST


def _is_run(target: Any, state: Any, seconds: Any) -> bool:
    known = seconds is None or _is_duration(seconds)
    return delegation.is_target(target) and isinstance(state, str) and known
