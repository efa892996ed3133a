# SPDX-License-Identifier: GPL-2.0-or-later
'''which changesets a push moved, and which of them are for a target'''

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mercurial import dagop, error, revset, smartset, tags
from mercurial.node import bin, nullid

from . import push

# What a push without changesets may have moved.
MOVES = ('bookmark', 'phase')

# What comes as a changeset.
CHANGES = ('changegroup', 'tag')

# The most ranges of changesets that are kept of each kind of move.
MAX_RANGES = 500


class SlowRevsetError(error.Abort):
    '''a revset took too long'''


# what evaluating somebody's revset may raise
REVSET_ERRORS = (
    error.Error,
    error.RepoError,
    ValueError,
    OverflowError,
    RecursionError,
)


def moves(
    repo, changes, with_tags: bool = False
) -> dict[str, list[list[str | None]]]:
    '''where bookmarks and tags moved to, what became public in a transaction

    By trigger: the [first, last] nodes, in hex, of ranges of revision numbers,
    in their order. Tags are compared only ``with_tags``, since that reads
    files of all heads.
    '''
    changelog = repo.unfiltered().changelog
    ends = (changes.get(b'bookmarks') or {}).values()
    found = {
        'bookmark': _points(changelog, [new for _old, new in ends]),
        'phase': sorted(push.published(changes), key=min),
    }
    if with_tags:
        found['tag'] = _points(changelog, tagged(repo, changes[b'origrepolen']))
    return {
        trigger: [
            [push.hexnode(changelog.node(rev)) for rev in (revs[0], revs[-1])]
            for revs in _merged(ranges)
        ]
        for trigger, ranges in found.items()
        if ranges
    }


def _points(changelog, nodes: Iterable[bytes | None]) -> list[range]:
    # a client may name a changeset that is not there, or none
    revs = {
        changelog.rev(node)
        for node in nodes
        if node and node != nullid and changelog.hasnode(node)
    }
    return [range(rev, rev + 1) for rev in sorted(revs)]


def tagged(repo, first: int) -> list[bytes | None]:
    '''what the tags name that ``.hgtags`` has since revision ``first``

    A tag that is new or has moved; None stands for one that was removed.
    '''
    changelog = repo.unfiltered().changelog
    old = dagop.headrevs(range(first), changelog.parentrevs)
    before, after = (
        tags.fnoderevs(repo.ui, repo, heads)
        for heads in (sorted(old), changelog.headrevs())
    )
    changed = tags.difftags(repo.ui, repo, before, after)
    return [new for _name, _old, new in changed]


def _merged(ranges: list[range]) -> list[range]:
    '''at most MAX_RANGES; if there are more, the first covers the oldest'''
    if len(ranges) <= MAX_RANGES:
        return ranges
    oldest, others = ranges[: 1 - MAX_RANGES], ranges[1 - MAX_RANGES :]
    return [range(oldest[0].start, oldest[-1].stop), *others]


def brought(
    repo, pushed: dict[str, Any], moved: dict[str, Any], triggers: Iterable[str]
) -> Iterable[int] | None:
    '''the revisions of ``pushed`` (as protocol 1 words it) for ``triggers``

    ``moved`` is the result of moves() for it. None if nothing of that is in
    the repository: not yet, or not any more.
    '''
    pairs = {name: moved.get(name, []) for name in triggers}
    if 'changegroup' in triggers and pushed['node']:
        pairs['changegroup'] = [[pushed['node'], pushed['node_last']]]
    found: list[Iterable[int]] = []
    for name, ends in pairs.items():
        revs = list(_between(repo, ends))
        if len(ends) == MAX_RANGES and revs:
            # the first range may cover more than what has moved
            revs[0] = set(revs[0]).intersection(eligible(repo, [name]) or ())
        found += revs
    if any(pairs.values()) and not found:
        return None
    # one range stays lazy, however long it is
    return found[0] if len(found) == 1 else sorted(set().union(*found))


def _between(repo, pairs: Iterable[list[str]]) -> Iterator[Iterable[int]]:
    '''the revisions from the first to the last of each of ``pairs``

    If an end of one was stripped, what is left of it; if both were, nothing.
    '''
    changelog = repo.unfiltered().changelog
    for first, last in (map(bin, pair) for pair in pairs):
        if changelog.hasnode(last):
            stop = changelog.rev(last) + 1
            known = changelog.hasnode(first)
            yield range(changelog.rev(first) if known else stop - 1, stop)
        elif changelog.hasnode(first):
            yield range(changelog.rev(first), len(changelog))


def eligible(repo, triggers: Iterable[str]) -> Iterable[int] | None:
    '''the revisions that ``triggers`` may have brought; None for all'''
    if 'changegroup' in triggers:
        return None
    unfiltered = repo.unfiltered()
    revs: set[int] = set()
    if 'bookmark' in triggers:
        points = map(unfiltered.changelog.rev, unfiltered._bookmarks.values())
        revs.update(point for point in points if point >= 0)
    if 'tag' in triggers:
        for name, node in unfiltered.tags().items():
            if unfiltered.tagtype(name) == b'global':
                revs.add(unfiltered.changelog.rev(node))
    if 'phase' in triggers:
        revs.update(unfiltered.revs(b'public()'))
    return sorted(revs)


def count(ui, repo, when: bytes | None, nodes: Iterable[str]) -> int:
    '''how many of ``nodes`` are in the revset ``when``; ``ui`` has aliases'''
    served = _served(repo)
    rev = repo.unfiltered().changelog.rev
    revs = smartset.baseset([rev(bin(node)) for node in nodes])
    return len(_matching(ui, served, when, revs))


def newest(
    ui, repo, when: bytes | None, pushed: Iterable[int] | None
) -> str | None:
    '''the changeset to deploy in the revset ``when``, as 40 hex digits

    ``ui`` has the aliases. An open head of ``pushed`` counts before a closed
    head, a head before other changesets, then the newest. Only revisions in
    ``pushed`` count (None: all of them); hidden and secret ones never do. None
    when there is none. Raises what Mercurial raises for a revset that cannot be
    evaluated.
    '''
    served = _served(repo)
    if pushed is None:
        pushed = range(len(repo.unfiltered()))
    hidden = served.changelog.filteredrevs
    if isinstance(pushed, range):
        descending: Iterable[int] = reversed(pushed)
        revs = smartset.spanset(served, pushed.start, pushed.stop)
    else:
        descending = sorted(pushed, reverse=True)
        revs = smartset.baseset([rev for rev in pushed if rev not in hidden])
    visible = (rev for rev in descending if rev not in hidden)
    revs = _matching(ui, served, when, revs)
    # the order is lazy: of a large push only the newest are looked at
    revs.sort(reverse=True)
    closed = None
    for rev in _heads(served.changelog, visible):
        if rev in revs:
            if not served[rev].closesbranch():
                return push.hexnode(served.changelog.node(rev))
            closed = rev if closed is None else closed
    rev = revs.first() if closed is None else closed
    return None if rev is None else push.hexnode(served.changelog.node(rev))


def _served(repo):
    '''what can be pulled from ``repo``'''
    served = repo.unfiltered().filtered(b'served')
    # File patterns are relative to the root, whatever folder the process is
    # in. This view is a new object, so nobody else is affected.
    object.__setattr__(served, 'getcwd', bytes)
    return served


def _matching(ui, served, when: bytes | None, revs):
    if when is None:
        return revs
    # with the aliases of the configuration, as on the command line
    lookup = revset.lookupfn(served)
    return revset.matchany(ui, [when], lookup=lookup)(served, revs)


def _heads(changelog, descending: Iterable[int]) -> Iterator[int]:
    '''those of the revisions that have no child among them'''
    parents: set[int] = set()
    for rev in descending:
        if rev not in parents:
            yield rev
        parents.discard(rev)
        parents.update(changelog.parentrevs(rev))
