# selection.py - which changesets of a push are for a target
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''which changesets a push moved, and which of them are for a target'''

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mercurial import error, revset, smartset
from mercurial.node import bin, hex, nullid

from . import push

# What a push without changesets may have moved.
MOVES = ('bookmark', 'phase')

# The most ranges of changesets that are kept of each kind of move.
MAX_RANGES = 500

# what evaluating somebody's revset may raise
REVSET_ERRORS = (
    error.Error,
    error.RepoError,
    ValueError,
    OverflowError,
    RecursionError,
)


def moves(repo, changes) -> dict[str, list[list[str]]]:
    '''to where bookmarks moved and what became public in a transaction

    By trigger, as [first, last] of ranges of revision numbers in their
    order, 40 hex digits each.
    '''
    changelog = repo.unfiltered().changelog
    ends = (changes.get(b'bookmarks') or {}).values()
    # a client may name a changeset that is not there, or none
    points = {
        changelog.rev(new)
        for _old, new in ends
        if new and new != nullid and changelog.hasnode(new)
    }
    found = {
        'bookmark': [range(point, point + 1) for point in sorted(points)],
        'phase': sorted(push.published(changes), key=min),
    }
    return {
        trigger: [_ends(repo, revs) for revs in _merged(ranges)]
        for trigger, ranges in found.items()
        if ranges
    }


def _merged(ranges: list[range]) -> list[range]:
    '''at most MAX_RANGES; if there are more, the first covers the oldest'''
    many = len(ranges) - MAX_RANGES
    if many <= 0:
        return ranges
    oldest, others = ranges[: many + 1], ranges[many + 1 :]
    return [range(oldest[0].start, oldest[-1].stop), *others]


def _ends(repo, revs) -> list[str]:
    node = repo.unfiltered().changelog.node
    return [hex(node(rev)).decode('ascii') for rev in (revs[0], revs[-1])]


def brought(
    repo, pushed: dict[str, Any], moved: dict[str, Any], triggers: Iterable[str]
) -> Iterable[int] | None:
    '''the revisions of ``pushed`` (as protocol 1 words it) for ``triggers``

    ``moved`` is what moves() said of it. None where nothing of that is in
    the repository: not yet, or not any more.
    '''
    pairs = {name: moved.get(name, []) for name in triggers}
    if 'changegroup' in triggers and pushed['node']:
        pairs['changegroup'] = [[pushed['node'], pushed['node_last']]]
    found: list[Iterable[int]] = []
    for name, ends in pairs.items():
        revs = list(_between(repo, ends))
        if len(ends) == MAX_RANGES and revs:
            # the first may cover more than what has moved
            revs[0] = set(revs[0]).intersection(eligible(repo, [name]) or ())
        found += revs
    if any(pairs.values()) and not found:
        return None
    # one range stays lazy, however long it is
    return found[0] if len(found) == 1 else sorted(set().union(*found))


def _between(repo, pairs: Iterable[list[str]]) -> Iterator[Iterable[int]]:
    '''the revisions from the first to the last of each of ``pairs``

    Where an end of one was stripped, what is left of it; where both were,
    nothing.
    '''
    changelog = repo.unfiltered().changelog
    for pair in map(_bins, pairs):
        known = [changelog.rev(end) for end in pair if changelog.hasnode(end)]
        if len(known) == 2:
            yield range(known[0], known[1] + 1)
        elif known and changelog.hasnode(pair[0]):
            yield range(known[0], len(changelog))
        elif known:
            yield range(known[0], known[0] + 1)


def _bins(pair: list[str]) -> list[bytes]:
    return [bin(end) for end in pair]


def eligible(repo, triggers: Iterable[str]) -> Iterable[int] | None:
    '''the revisions that some move may have brought; None for all of them'''
    if 'changegroup' in triggers:
        return None
    unfiltered = repo.unfiltered()
    revs: set[int] = set()
    if 'bookmark' in triggers:
        points = map(unfiltered.changelog.rev, unfiltered._bookmarks.values())
        revs.update(point for point in points if point >= 0)
    if 'phase' in triggers:
        revs.update(unfiltered.revs(b'public()'))
    return sorted(revs)


def newest(
    repo, when: bytes | None, pushed: Iterable[int] | None
) -> str | None:
    '''the newest changeset in the revset ``when``, as 40 hex digits

    Only revisions in ``pushed`` count (None: all of them); hidden and secret
    ones never do. None when there is none. Raises what Mercurial raises for a
    revset that cannot be evaluated.
    '''
    served = repo.filtered(b'served')
    if pushed is None:
        pushed = range(len(repo.unfiltered()))
    if isinstance(pushed, range):
        revs = smartset.spanset(served, pushed.start, pushed.stop)
    else:
        hidden = served.changelog.filteredrevs
        revs = smartset.baseset([rev for rev in pushed if rev not in hidden])
    if when is not None:
        # as the command line reads it: with the aliases of the configuration
        lookup = revset.lookupfn(served)
        revs = revset.matchany(repo.ui, [when], lookup=lookup)(served, revs)
    # lazily from the newest on: a large push is not walked through
    revs.sort(reverse=True)
    rev = revs.first()
    return None if rev is None else push.hexnode(served.changelog.node(rev))
