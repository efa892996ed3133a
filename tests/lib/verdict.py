"""What the last line of a delegation says, in one place.

A test compares what was said with what it expects:

    assert verdict.last(push) == verdict.deployed(node)
    assert verdict.lost('connection closed') in verdict.among(push.remote)

How long it took is no part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from repositories import Push

# What each begins with, after the target's name.
_WORDS = {
    'deployed': b'deployed ',
    'superseded': b'superseded by ',
    'failed': b'failed: ',
    'lost': b'lost: ',
    'pending': b'pending: ',
    'handed over': b'handed over',
    'passed': b'passed',
    'refused': b'refused: ',
    'not asked': b'not asked: ',
    'ended': b'ended: ',
}
# What follows: the detail, and how long it took.
_REST = {
    'deployed': rb'([0-9a-f]{12}) in \d+\.\d s',
    'superseded': rb'([0-9a-f]{12})',
    'failed': rb'(.*?)(?: after \d+\.\d s)?',
    'lost': rb'(.*?) after \d+\.\d s',
    'pending': rb'(.*)',
    'handed over': rb'(?: as delegation (\d+))?',
    'passed': rb'() in \d+\.\d s',
    'refused': rb'(.*?)(?: after \d+\.\d s)?',
    'not asked': rb'(.*)',
    'ended': rb'(.*)',
}


@dataclass(frozen=True)
class Verdict:
    """What became of a delegation to TARGET."""

    # 'deployed', 'superseded', 'failed', 'lost', 'pending' or 'handed over';
    # '' is a line that says something else
    state: str
    detail: str = ''  # the node's first 12 digits, the reason, the number
    target: str = 'blog'


def deployed(node: str, target: str = 'blog') -> Verdict:
    return Verdict('deployed', node[:12], target)


def superseded(node: str, target: str = 'blog') -> Verdict:
    """By the deploy of NODE."""
    return Verdict('superseded', node[:12], target)


def failed(reason: str, target: str = 'blog') -> Verdict:
    """For REASON, without how long it took."""
    return Verdict('failed', reason, target)


def passed(target: str = 'checks') -> Verdict:
    return Verdict('passed', '', target)


def refused(reason: str, target: str = 'checks') -> Verdict:
    return Verdict('refused', reason, target)


def lost(reason: str, target: str = 'blog') -> Verdict:
    return Verdict('lost', reason, target)


def pending(reason: str, target: str = 'blog') -> Verdict:
    return Verdict('pending', reason, target)


def handed_over(number: int | None = None, target: str = 'blog') -> Verdict:
    """As delegation NUMBER, where the repository keeps numbers."""
    return Verdict('handed over', str(number or ''), target)


def beginning(state: str, target: str = 'blog') -> bytes:
    """What a line with the verdict STATE begins with."""
    return b'delegate: %s: %s' % (target.encode(), _WORDS[state])


def read(line: bytes) -> Verdict:
    """What LINE says, with or without 'remote: ' before it."""
    for state, words in _WORDS.items():
        form = rb'(?:remote: )?delegate: ([^\s:]+): ' + words + _REST[state]
        found = re.fullmatch(form + rb'\n?', line)
        if found:
            detail = (found[2] or b'').decode('utf-8', 'replace')
            return Verdict(state, detail, found[1].decode())
    return Verdict('', line.decode('utf-8', 'replace'), '')


def among(said: bytes | Iterable[bytes]) -> list[Verdict]:
    """The verdicts in the text or the lines SAID, in their order."""
    lines = said.splitlines() if isinstance(said, bytes) else said
    return [each for each in map(read, lines) if each.state]


def last(push: Push) -> Verdict:
    """What the last line says that PUSH has heard from the server."""
    return read(push.remote[-1])
