# SPDX-License-Identifier: GPL-2.0-or-later
'''a bundle of what a push brings, made before it is accepted'''

from __future__ import annotations

import mmap
import tempfile
from typing import Any

from mercurial import bundle2, changegroup, discovery

# HG20 without a part: a push that brings no changesets
EMPTY = b'HG20' + bytes(8)


class TooLargeError(Exception):
    '''the bundle has more bytes than anybody takes'''


def make(repo, first: int, last: int, limit: int, folder: str) -> Any:
    '''the changesets ``first`` to ``last`` of ``repo``, at most ``limit`` bytes

    It is in a file without a name in ``folder``, which ends with this
    process. Raises TooLargeError and OSError.
    '''
    if first > last:
        return EMPTY
    with tempfile.TemporaryFile(dir=folder) as file:
        for chunk in _bundler(repo.unfiltered(), first, last).getchunks():
            limit -= len(chunk)
            if limit < 0:
                raise TooLargeError
            file.write(chunk)
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _bundler(repo, first: int, last: int) -> bundle2.bundle20:
    # Not by writenewbundle(): lfs makes that upload what it has just got.
    outgoing = _outgoing(repo, first, last)
    bundler = bundle2.bundle20(repo.ui, {b'obsmarkers': (b'V1',)})
    version = changegroup.safeversion(repo)
    group = changegroup.makechangegroup(repo, outgoing, version, b'gate')
    part = bundler.newpart(b'changegroup', data=group.getchunks())
    part.addparam(b'version', version)
    if b'side-data' in repo.features:
        part.addparam(b'exp-sidedata', b'1')
    markers = repo.obsstore.relevantmarkers(outgoing.missing)
    bundle2.buildobsmarkerspart(bundler, markers, mandatory=False)
    return bundler


def _outgoing(repo, first: int, last: int) -> discovery.outgoing:
    '''what is new, and what was hidden and becomes visible by that'''
    changelog = repo.changelog
    new = set(range(first, last + 1))
    if repo.obsstore:
        new.update(repo.revs(b'obsolete() and ::%ld and not public()', new))
    parents = {p for rev in new for p in changelog.parentrevs(rev) if p >= 0}
    inner = parents & new
    return discovery.outgoing(
        repo,
        commonheads=[changelog.node(rev) for rev in sorted(parents - new)]
        or [repo.nullid],
        ancestorsof=[changelog.node(rev) for rev in sorted(new - inner)],
    )
