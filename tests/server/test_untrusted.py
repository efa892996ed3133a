"""An hgrc that Mercurial does not trust changes nothing for us."""

from __future__ import annotations

import os

import pytest
import verdict
from hgrc import host_says
from repositories import Clone, Repository
from world import World

SHIFTS = [
    # a hook more moves those that are set last
    'changegroup.more = true\n',
    # one of the host's less
    '%unset changegroup.host\n',
    'priority.pretxnclose.delegate = 5\npriority.changegroup.delegate = -5\n',
    'pretxnclose.delegate =\ntxnclose.delegate =\nchangegroup.delegate =\n',
    '%unset pretxnclose.delegate\n%unset changegroup.delegate\n',
]


def untrusted(world: World, repository: Repository, hgrc: str) -> None:
    """Let HGRC be that of REPOSITORY, and belong to somebody else."""
    if os.geteuid() != 0:
        pytest.skip('an account trusts itself: nothing to show without root')
    repository.hgrc(hgrc)
    path = repository.path / '.hg' / 'hgrc'
    os.chown(path, world.pusher.uid, world.pusher.gid)


def host(world: World, targets: str = '') -> None:
    host_says(
        world,
        f'{targets}[extensions]\nhgext_delegate = {world.extension}\n'
        # a pretxn hook of the host's own would refuse the push: Mercurial's
        # doing, with or without us
        '[hooks]\nchangegroup.host = true\n',
    )


@pytest.mark.parametrize('items', SHIFTS)
def test_its_hooks_refuse_no_push_where_nothing_is_to_delegate(
    world: World, repository: Repository, clone: Clone, items: str
) -> None:
    host(world)
    untrusted(world, repository, '[hooks]\n' + items)
    clone.commit()
    push = clone.push(check=False)
    assert push.returncode == 0, push.remote
    assert not [line for line in push.remote if b'.delegate' in line]


@pytest.mark.parametrize('items', SHIFTS)
def test_its_hooks_silence_no_target(
    world: World, repository: Repository, clone: Clone, items: str
) -> None:
    host(world, f'blog = ssh://{world.deploy.name}@localhost:{world.port}\n')
    untrusted(world, repository, '[hooks]\n' + items)
    node = clone.commit()
    assert verdict.last(clone.push()) == verdict.deployed(node)
    assert len(world.deploys()) == 1
    # by bookmark as well, where another of our hooks delegates
    host(
        world,
        f'blog = ssh://{world.deploy.name}@localhost:{world.port}\n'
        'blog:trigger = bookmark\n',
    )
    clone.hg('bookmark', 'live')
    push = clone.push('-B', 'live', check=False)
    assert verdict.last(push) == verdict.deployed(node)


def test_an_untrusted_hgrc_neither_adds_nor_changes_nor_silences(
    world: World, repository: Repository, clone: Clone
) -> None:
    host_says(
        world,
        f'blog = ssh://{world.deploy.name}@localhost:{world.port}\n'
        f'[extensions]\nhgext_delegate = {world.extension}\n',
    )
    untrusted(
        world,
        repository,
        '[extensions]\nhgext_delegate = !\n'
        '[delegate]\nblog = ssh://other@localhost\nblog:when = none()\n'
        'more = ssh://other@localhost\n',
    )
    clone.commit()
    push = clone.push()
    assert verdict.last(push).state == 'deployed'
    assert not [line for line in push.remote if b'more' in line]
    assert len(world.deploys()) == 1
