# rights.py - what an account may do with a file
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what another account may do with a file, by owner, mode, groups and ACL

The kernel is not asked, for it answers for our own account alone.
'''

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

READ = 4
WRITE = 2
SEARCH = 1
_ALL = READ | WRITE | SEARCH

# what leads nowhere, or not for us either
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP)
# As many as Linux follows, path_resolution(7).
_MOST_LINKS = 40

# acl(5) as Linux stores it: a version, then entries of tag, rights and id.
_ACL = 'system.posix_acl_access'
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


@dataclass(frozen=True)
class Hole:
    '''``path`` is where an account has a right, by ``owner``, the group named
    ``group``, the ``acl``, or else as everybody has'''

    path: str
    owner: bool = False
    group: str = ''
    acl: bool = False


def account(name: str) -> Account | None:
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = os.getgrouplist(name, found.pw_gid)
    return Account(
        name,
        found.pw_uid,
        frozenset(groups),
        found.pw_dir,
        found.pw_shell or '/bin/sh',
    )


def hole(who: Account, path: str, want: int) -> Hole | None:
    '''how ``who`` may READ or WRITE ``path``, or make it another; or None

    Whoever may write a folder on the way can put another thing in the place
    of what is in it. Nobody passes through a folder without SEARCH.
    '''
    for way in _ways(os.path.abspath(path)):
        found = _on_the_way(who, way, want)
        if found:
            return found
    return None


def _ways(path: str) -> Iterator[str]:
    '''``path``, and where its links lead, one link after the other'''
    real = os.path.realpath(path)
    for _ in range(_MOST_LINKS):
        yield path
        parts = path.split('/')
        for number in range(2, len(parts) + 1):
            link = '/'.join(parts[:number])
            if os.path.islink(link):
                there = os.path.join(os.path.dirname(link), os.readlink(link))
                path = os.path.join(os.path.normpath(there), *parts[number:])
                break
        else:
            break
    if path != real:
        yield real


def _on_the_way(who: Account, path: str, want: int) -> Hole | None:
    folder = '/'
    for name in path.strip('/').split('/'):
        below = os.path.join(folder, name)
        try:
            has = allowed(who, os.stat(folder), _acl(folder))
            if not has & SEARCH:
                return None
            replaces = want == WRITE and has & WRITE
            if replaces and not _kept(who, folder, below):
                return _hole(who, folder)
            os.stat(below)
        except OSError as exc:
            if exc.errno in _NOWHERE:
                return None
            raise
        folder = below
    if allowed(who, os.stat(path), _acl(path)) & want:
        return _hole(who, path)
    return None


def _kept(who: Account, folder: str, entry: str) -> bool:
    '''whether the sticky bit of ``folder`` keeps ``entry`` from ``who``'''
    above = os.stat(folder)
    if not above.st_mode & stat.S_ISVTX or who.uid == above.st_uid:
        return False
    try:
        return who.uid != os.lstat(entry).st_uid
    except FileNotFoundError:
        return False


def allowed(who: Account, status: os.stat_result, acl: bytes = b'') -> int:
    '''the rights that ``who`` has, or can give itself as the owner. Pure'''
    if who.uid in (0, status.st_uid):
        return _ALL
    if acl:
        return _by_acl(who, status, acl)
    if status.st_gid in who.groups:
        return status.st_mode >> 3 & _ALL
    return status.st_mode & _ALL


def _by_acl(who: Account, status: os.stat_result, acl: bytes) -> int:
    '''acl(5), ACCESS CHECK ALGORITHM'''
    body = acl[4 : 4 + (len(acl) - 4) // 8 * 8]
    entries = list(_ACL_ENTRY.iter_unpack(body))
    mask = next((bits for tag, bits, _id in entries if tag == _MASK), _ALL)
    groups = []
    for tag, bits, id in entries:
        if tag == _USER and id == who.uid:
            return bits & mask
        group = status.st_gid if tag == _GROUP_OBJ else id
        if tag in (_GROUP_OBJ, _GROUP) and group in who.groups:
            groups.append(bits & mask)
    if not groups:
        return status.st_mode & _ALL
    # Any of them that has what is wanted suffices.
    rights = 0
    for bits in groups:
        rights |= bits
    return rights


def _acl(path: str) -> bytes:
    if not hasattr(os, 'getxattr'):
        return b''
    try:
        return os.getxattr(path, _ACL)
    except OSError as exc:
        if exc.errno in (errno.ENODATA, errno.ENOTSUP):
            return b''
        raise


def _hole(who: Account, path: str) -> Hole:
    status = os.stat(path)
    if who.uid == status.st_uid:
        return Hole(path, owner=True)
    if _acl(path):
        return Hole(path, acl=True)
    if status.st_gid in who.groups:
        return Hole(path, group=_group(status.st_gid))
    return Hole(path)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
