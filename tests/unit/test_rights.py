"""What another account may do with a file."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hgext_delegate.commands.check import rights

pytestmark = pytest.mark.once


OTHER = rights.Account('other', 4_000_001, frozenset({4_000_002}))
MINE = os.getgid()
MEMBER = rights.Account('member', 4_000_001, frozenset({MINE}))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody can get to."""
    path = Path(tempfile.mkdtemp(dir='/var/tmp', prefix='hg-delegate-rights-'))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def make(path: Path, mode: int = 0o600) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.chown(path, -1, MINE)
    path.chmod(mode)
    return str(path)


def status(mode: int, uid: int = 1, gid: int = 1) -> Any:
    return os.stat_result((mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ('mode', 'uid', 'gid', 'rights_'),
    [
        (0o640, 1, 1, 0),
        (0o640, 1, 4_000_002, 4),
        (0o627, 1, 4_000_002, 2),  # the group counts, and not the others
        (0o607, 1, 4_000_002, 0),
        (0o645, 1, 1, 5),
        (0o000, 4_000_001, 1, 7),  # the owner can change the mode
    ],
)
def test_rights_are_those_of_owner_group_or_others(
    mode: int, uid: int, gid: int, rights_: int
) -> None:
    assert rights.allowed(OTHER, status(mode, uid, gid)) == rights_


def test_root_may_everything() -> None:
    root = rights.Account('toor', 0, frozenset())
    assert rights.allowed(root, status(0)) == 7


def acl(*entries: tuple[int, int, int]) -> bytes:
    """As Linux stores it: tag, rights and id of each entry."""
    packed = (struct.pack('<HHI', *entry) for entry in entries)
    return struct.pack('<I', 2) + b''.join(packed)


@pytest.mark.parametrize(
    ('entries', 'rights_'),
    [
        ([(2, 6, 4_000_001), (4, 0, 0), (16, 7, 0)], 6),
        ([(2, 6, 4_000_001), (4, 0, 0), (16, 4, 0)], 4),  # masked
        ([(2, 6, 9), (4, 0, 0), (16, 7, 0)], 1),  # another user: as others
        ([(4, 0, 0), (8, 6, 4_000_002), (16, 7, 0)], 6),
        ([(4, 0, 0), (8, 6, 9), (16, 7, 0)], 1),
        ([(2, 0, 4_000_001), (8, 7, 4_000_002), (16, 7, 0)], 0),
    ],
)
def test_an_acl_counts_instead_of_the_group(
    entries: list[tuple[int, int, int]], rights_: int
) -> None:
    # with an ACL the bits of the group in the mode are its mask
    shown = status(stat.S_IFREG | 0o671)
    assert rights.allowed(OTHER, shown, acl(*entries)) == rights_


def test_a_file_is_read_by_its_mode_and_only_past_folders(folder: Path) -> None:
    key = make(folder / 'ssh' / 'key', 0o604)
    assert rights.hole(OTHER, key, rights.READ) == key
    (folder / 'ssh').chmod(0o700)
    assert rights.hole(OTHER, key, rights.READ) is None
    (folder / 'ssh').chmod(0o711)
    os.chmod(key, 0o600)
    assert rights.hole(OTHER, key, rights.READ) is None
    os.chmod(key, 0o640)
    assert rights.hole(OTHER, key, rights.READ) is None
    assert rights.hole(MEMBER, key, rights.READ) == key


def test_who_may_write_a_folder_can_exchange_what_is_in_it(
    folder: Path,
) -> None:
    path = make(folder / 'a' / 'b' / 'hgrc')
    assert rights.hole(OTHER, path, rights.WRITE) is None
    (folder / 'a').chmod(0o777)
    found = rights.hole(OTHER, path, rights.WRITE)
    assert found == str(folder / 'a')
    assert rights.hole(OTHER, path, rights.READ) is None
    # the sticky bit keeps what is there, but not what could be made there
    (folder / 'a').chmod(0o1777)
    assert rights.hole(OTHER, path, rights.WRITE) is None
    missing = str(folder / 'a' / 'hgrc')
    found = rights.hole(OTHER, missing, rights.WRITE)
    assert found == str(folder / 'a')
    (folder / 'a').chmod(0o755)
    assert rights.hole(OTHER, missing, rights.WRITE) is None


def test_the_owner_of_a_folder_with_a_sticky_bit_is_not_kept_out(
    folder: Path,
) -> None:
    folder.chmod(0o1700)
    owner = rights.Account('owner', os.getuid(), frozenset())
    if os.getuid() == 0:
        os.chown(folder, OTHER.uid, -1)
        owner = OTHER
    assert rights._replaces(owner, str(folder), '/')
    folder.chmod(0o1777)
    other = rights.Account('x', 9, frozenset())
    assert not rights._replaces(other, str(folder), '/')


def test_links_are_followed_and_could_themselves_be_exchanged(
    folder: Path,
) -> None:
    real = make(folder / 'real' / 'key', 0o604)
    (folder / 'link').symlink_to(folder / 'real')
    (folder / 'real').chmod(0o711)
    through = str(folder / 'link' / 'key')
    found = rights.hole(OTHER, through, rights.READ)
    assert found == real
    os.chmod(real, 0o600)
    (folder / 'open').mkdir()
    (folder / 'open').chmod(0o777)
    (folder / 'open' / 'link').symlink_to(real)
    found = rights.hole(OTHER, str(folder / 'open' / 'link'), rights.WRITE)
    assert found == str(folder / 'open')
    os.chmod(folder / 'open', 0o755)
    (folder / 'real').chmod(0o777)
    found = rights.hole(OTHER, str(folder / 'open' / 'link'), rights.WRITE)
    assert found == str(folder / 'real')


def test_an_account_has_all_its_groups() -> None:
    found = rights.account('root')
    assert found and found.uid == 0 and 0 in found.groups
    assert rights.account('no-such-account') is None


def test_each_link_of_a_chain_is_on_the_way(folder: Path) -> None:
    data = folder / 'data'
    data.mkdir()
    (data / 'key').touch()
    free = folder / 'free'
    free.mkdir()
    free.chmod(0o777)
    (free / 'second').symlink_to('../data')
    (folder / 'first').symlink_to('free/second')
    nobody = rights.Account('nobody', 4_000_001, frozenset())
    found = rights.hole(nobody, str(folder / 'first/key'), rights.WRITE)
    assert found == str(free)
    (folder / 'circle').symlink_to('circle')
    path = str(folder / 'circle' / 'key')
    assert rights.hole(nobody, path, rights.WRITE) is None


def test_what_a_link_in_a_closed_folder_leads_to_may_be_open(
    folder: Path,
) -> None:
    key = make(folder / 'open' / 'key', 0o604)
    (folder / 'open').chmod(0o711)
    closed = folder / 'closed'
    closed.mkdir(0o700)
    (closed / 'near').symlink_to('../open/key')
    (closed / 'far').symlink_to(key)
    for name in ('near', 'far'):
        assert rights.hole(OTHER, str(closed / name), rights.READ) == key
    (folder / 'open').chmod(0o700)
    assert rights.hole(OTHER, str(closed / 'far'), rights.READ) is None
