# SPDX-License-Identifier: GPL-2.0-or-later
'''a bundle of what a push brings, made before it is accepted'''

from __future__ import annotations

import mmap
import tempfile
from typing import Any

from mercurial import bundle2, discovery

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
    repo = repo.unfiltered()
    with tempfile.TemporaryFile(dir=folder) as file:
        bundle2.writenewbundle(
            repo.ui,
            repo,
            b'gate',
            b'bundle',
            b'HG20',
            _outgoing(repo, first, last),
            {
                b'obsolescence': True,
                b'obsolescence-mandatory': False,
                b'tagsfnodescache': False,
                b'revbranchcache': False,
            },
            vfs=_Bounded(file, limit),
        )
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


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


class _Bounded:
    '''the one file of a vfs, as Mercurial writes a bundle, up to ``limit``'''

    def __init__(self, file: Any, limit: int):
        self._file = file
        self._left = limit

    def open(self, name: bytes, mode: bytes) -> _Bounded:
        return self

    def write(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise TooLargeError
        self._file.write(data)

    def close(self) -> None:
        '''it is needed yet'''

    def unlink(self, name: bytes) -> None:
        '''it has no name'''
