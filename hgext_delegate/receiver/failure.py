# SPDX-License-Identifier: GPL-2.0-or-later
'''why a pull or an update failed, in our words. Pure

Mercurial's own text names its internals, and may be a traceback. It is never
shown; the first line of the table that fits it is.
'''

from __future__ import annotations

import os
import re

_SHOWN = 10
_LONGEST = 200

_UNTRACKED = re.compile(
    rb'^(.+): untracked (?:file|directory) (?:differs|conflicts)', re.MULTILINE
)
_BY_HAND = 'see it as this account: hg -R %(path)s '
# (in what hg says, reason, remedy); %(found)s is the group
_TABLE = [
    (
        rb'No space left on device|Disk quota exceeded|ENOSPC',
        'the disk is full',
        'make room where %(path)s is',
    ),
    (
        rb'\(in subrepo(?:sitory)? "?([^")]+)"?\)',
        'the subrepository %(found)s cannot be had',
        'see .hgsub, and if this account can read what it names',
    ),
    (
        rb'subrepos not enabled',
        'the changeset has subrepositories, which are off',
        'to turn them on, add --subrepos to this receiver',
    ),
    (
        rb'(git|svn|hg) subrepos not allowed',
        'subrepositories of %(found)s are not allowed',
        'to allow them, in ~/.hgrc: [subrepos] %(found)s:allowed = true',
    ),
    (
        rb'(?:in the destination|unknown to this Mercurial): (largefiles|lfs)',
        'the repository needs %(found)s, which this account has not enabled',
        'enable it, in ~/.hgrc: [extensions] %(found)s =',
    ),
    (
        rb'(?:in the destination|unknown to this Mercurial): ([^\n]+)',
        'the Mercurial of this account is too old for: %(found)s',
        'install a newer one',
    ),
    (
        rb'lock held by ([^\n]+)',
        'the clone is locked by %(found)s',
        'if that has ended: hg -R %(path)s debuglocks -L -W',
    ),
    (
        rb'abandoned transaction',
        'the last pull was interrupted',
        'as this account: hg recover -R %(path)s',
    ),
    (
        rb'repository is unrelated',
        'the clone is not one of %(name)s',
        'move %(path)s away; the next deploy makes it anew',
    ),
    (
        rb'Permission denied: [b]?[\'"]([^\n]+?)[\'"]',
        'this account has no right to %(found)s',
        'change the rights, or pull by ssh:// or https://',
    ),
    (
        rb'(uncommitted merge|outstanding \w+|\w+ in progress)',
        'somebody has left something unfinished in the clone: %(found)s',
        _BY_HAND + 'status --verbose',
    ),
]
# of a pull alone
_SOURCE = [
    (
        rb'repository [^\n]+ not found|HTTP Error 404|appear to be an hg repo',
        '%(name)s is no repository, or not there any more',
        'correct --source',
    ),
    (
        rb'authorization (?:failed|required)|HTTP Error 40[13]',
        '%(name)s does not let this account in',
        'see [auth] in hg help config',
    ),
    (
        rb'remote: ([^\n]+)\n(?:remote: [^\n]*\n)*abort: no suitable response',
        'cannot pull from %(name)s: %(found)s',
        _BY_HAND + 'pull',
    ),
    (
        rb'abort: error: ([^\n]+)',
        'cannot pull from %(name)s: %(found)s',
        _BY_HAND + 'pull',
    ),
    (rb'', 'cannot pull from %(name)s', _BY_HAND + 'pull'),
]

# of an update alone
_CONTENT = [
    (
        rb'repository ([^\n]+) not found',
        'the subrepository %(found)s cannot be had',
        'see .hgsub, and if this account can read what it names',
    ),
    (
        rb'abort: ([^\n]*invalid pattern[^\n]*)',
        'a pattern in .hgignore is wrong: %(found)s',
        'correct it, commit and push',
    ),
    (
        rb'abort: (?:error: )?([^\n]*(?:LFS|largefile|refused|HTTP)[^\n]*)',
        'what the changeset needs cannot be fetched: %(found)s',
        'see if this account can read it where %(name)s has it',
    ),
]


def of_pull(said: bytes, path: str, name: str) -> tuple[str, str]:
    '''reason and remedy; ``said`` is all that hg has printed'''
    found = _look_up([*_TABLE, *_SOURCE], said, path, name)
    assert found
    return found


def of_update(said: bytes, path: str, name: str) -> tuple[str, str] | None:
    '''the same of an update or a purge; None if the cause is not known'''
    in_the_way = _UNTRACKED.findall(said)
    if in_the_way:
        return (
            'untracked files are where the changeset has its own: %s'
            % shown(in_the_way),
            'move them away, they are in %s' % path,
        )
    return _look_up([*_TABLE, *_CONTENT], said, path, name)


def _look_up(
    table: list[tuple[bytes, str, str]], said: bytes, path: str, name: str
) -> tuple[str, str] | None:
    for pattern, reason, remedy in table:
        match = re.search(pattern, said)
        if match:
            groups = [group for group in match.groups() if group]
            values = {'path': path, 'name': name, 'found': _line(groups)}
            return reason % values, remedy % values
    return None


def _line(groups: list[bytes]) -> str:
    '''a line of text that acts on no terminal'''
    text = b' '.join(groups[:1]).decode('utf-8', 'replace').strip()
    line = ''.join(c if c.isprintable() else '?' for c in text)
    return line[:_LONGEST]


def shown(names: list[bytes]) -> str:
    '''the names of files, or the first of them'''
    some = [ascii(os.fsdecode(name)) for name in names[:_SHOWN]]
    return ', '.join(some + ['...'] * (len(names) > _SHOWN))
