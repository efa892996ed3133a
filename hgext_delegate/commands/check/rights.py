# SPDX-License-Identifier: GPL-2.0-or-later
'''what another account may do with a file, by owner, mode, groups and ACL

This is computed, since the kernel answers access(2) for our own account only.
'''

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from mercurial import util
from mercurial.i18n import _

READ = 4
WRITE = 2
SEARCH = 1
_ALL = READ | WRITE | SEARCH

# As many as Linux follows, path_resolution(7).
_MAX_LINKS = 40

# acl(5) as Linux stores it: a version, then entries of tag, rights and id.
_ACL = 'system.posix_acl_access'
_ACL_VERSION_SIZE = 4
_ACL_ENTRY = struct.Struct('<HHI')
_USER, _GROUP_OBJ, _GROUP, _MASK = 2, 4, 8, 16


@dataclass(frozen=True)
class Account:
    '''an account of this machine, with all the groups that it is in'''

    name: str
    uid: int
    groups: frozenset[int]
    home: str = '/'
    shell: str = '/bin/sh'


def account(name: str) -> Account | None:
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = frozenset(os.getgrouplist(name, found.pw_gid))
    shell = found.pw_shell or '/bin/sh'
    return Account(name, found.pw_uid, groups, found.pw_dir, shell)


def granting(path: bytes, letter: bytes) -> bytes:
    '''the command that gives our own account a right to ``path``'''
    status = os.stat(path)
    if status.st_uid == os.geteuid():
        return b'chmod u+%s %s' % (letter, path)
    if status.st_gid in os.getgroups() and status.st_uid:
        more = b'rwX' if letter == b'w' else b'rX'
        owner = util.username(status.st_uid) or b'%d' % status.st_uid
        return _(b'as %s: chmod g+%s %s') % (owner, more, path)
    return _(b'as root: chown %s %s') % (util.username(os.geteuid()), path)


def hole(who: Account, path: str, want: int) -> str | None:
    '''the file by which ``who`` may READ or WRITE ``path``; None if not

    That is ``path`` itself, or a folder on the way to it: whoever may write
    that can replace what is in it.
    '''
    try:
        for folder, entry in _steps(path):
            if want == WRITE and _replaces(who, folder, entry):
                return folder
        real = os.path.realpath(path)
        if _rights(who, real) & want and _reaches(who, os.path.dirname(real)):
            return real
    except OSError:
        pass  # it is not there, or our account cannot use it either
    return None


def obstacles(who: Account, path: str) -> Iterator[str]:
    '''what keeps ``who`` from reading ``path``: it, or folders on the way'''
    for folder, _entry in _steps(path):
        if not _rights(who, folder) & SEARCH:
            yield folder
    real = os.path.realpath(path)
    want = READ | SEARCH if os.path.isdir(real) else READ
    if _rights(who, real) & want != want:
        yield real


def _steps(path: str) -> Iterator[tuple[str, str]]:
    '''each folder on the way to ``path``, and which entry of it is next

    Links are followed: no folder is below a link. path_resolution(7)
    '''
    folder, left, links = '/', os.path.abspath(path).split('/')[::-1], 0
    while left:
        name = left.pop()
        entry = os.path.join(folder, name)
        if name in ('', '.', '..'):
            folder = os.path.normpath(entry)
            continue
        yield folder, entry
        if os.path.islink(entry) and links < _MAX_LINKS:
            links += 1
            there = os.readlink(entry)
            left += there.split('/')[::-1]
            folder = '/' if os.path.isabs(there) else folder
        else:
            folder = entry


def _reaches(who: Account, folder: str) -> bool:
    '''whether ``who`` may pass through ``folder``, and get there'''
    way = [folder, *map(str, pathlib.PurePath(folder).parents)]
    return all(_rights(who, each) & SEARCH for each in way)


def _replaces(who: Account, folder: str, entry: str) -> bool:
    '''whether ``who`` may put another file in the place of ``entry``'''
    if not _rights(who, folder) & WRITE or not _reaches(who, folder):
        return False
    above = os.stat(folder)
    if not above.st_mode & stat.S_ISVTX or who.uid == above.st_uid:
        return True
    return not os.path.lexists(entry) or who.uid == os.lstat(entry).st_uid


def _rights(who: Account, path: str) -> int:
    return allowed(who, os.stat(path), read_acl(path))


def allowed(who: Account, status: os.stat_result, acl: bytes = b'') -> int:
    '''the rights that ``who`` has, or can give itself as the owner. Pure'''
    if who.uid in (0, status.st_uid):
        return _ALL
    if acl:
        return _allowed_by_acl(who, status, acl)
    if status.st_gid in who.groups:
        return status.st_mode >> 3 & _ALL
    return status.st_mode & _ALL


def _allowed_by_acl(who: Account, status: os.stat_result, acl: bytes) -> int:
    '''acl(5), ACCESS CHECK ALGORITHM'''
    entries = list(_ACL_ENTRY.iter_unpack(acl[_ACL_VERSION_SIZE:]))
    mask = next((bits for tag, bits, _id in entries if tag == _MASK), _ALL)
    is_member, of_groups = False, 0
    for tag, bits, id in entries:
        if tag == _USER and id == who.uid:
            return bits & mask
        group = status.st_gid if tag == _GROUP_OBJ else id
        if tag in (_GROUP_OBJ, _GROUP) and group in who.groups:
            # It is enough if one of them has the right that is wanted.
            is_member, of_groups = True, of_groups | bits & mask
    return of_groups if is_member else status.st_mode & _ALL


def read_acl(path: str) -> bytes:
    '''what Linux stores of the ACL of ``path``; nothing where it has none'''
    if hasattr(os, 'getxattr'):
        with contextlib.suppress(OSError):
            return os.getxattr(path, _ACL)
    return b''
