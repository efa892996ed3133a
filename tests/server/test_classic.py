"""The classic hook line alone, without the extension enabled."""

from __future__ import annotations

import re

import pytest
import verdict
from deploys import nodes
from hgrc import CLASSIC, PUSHVARS, targets
from repositories import Clone, Repository
from waiting import until
from world import World


def classic(world: World, more: str = '') -> tuple[Repository, Clone]:
    repository = world.repository(
        enable=False, hgrc=targets(world, more=more) + PUSHVARS + CLASSIC
    )
    return repository, world.clone(repository)


def delegate_log(repository: Repository) -> bytes:
    enable = 'extensions.hgext_delegate='
    template = '{target} {state} {node}\n'
    return repository.hg(
        'delegate-log', '-T', template, '--config', enable
    ).stdout


def test_a_push_that_does_not_wait_is_delegated(world: World) -> None:
    repository, clone = classic(world, 'blog:wait = no\n')
    node = clone.commit()
    assert verdict.last(clone.push()).state == 'handed over'
    until(lambda: b'succeeded' in delegate_log(repository))
    assert nodes(world) == [node]


def test_a_push_by_path_is_delegated(world: World) -> None:
    repository, _clone = classic(world)
    path = world.server.home / 'by-path'
    world.server.run([*world.hg, 'init', str(path)])
    clone = Clone(world.server, path, world.hg)
    node = clone.commit('-u', 'alice')
    said = clone.push(str(repository.path)).stdout
    assert verdict.among(said) == [verdict.deployed(node)]
    assert nodes(world) == [node]


def test_a_wish_that_cannot_be_followed_is_said_and_loses_nothing(
    world: World,
) -> None:
    # It is too late to refuse the push.
    _repository, clone = classic(world)
    node = clone.commit()
    push = clone.push('--pushvars', 'DELEGATE=only:blgo')
    assert any(b'only:blgo is not understood' in line for line in push.remote)
    assert nodes(world) == [node]


@pytest.mark.once
def test_a_push_whose_hook_is_late_does_not_overtake(world: World) -> None:
    repository, clone = classic(world)
    late = '[hooks]\nchangegroup.a = until [ -e {} ]; do sleep 0.02; done\n'
    go = world.server.home / 'go'
    world.forced_command('. ./record\necho begun\n. ./hold\n')
    first = clone.commit()
    holds = clone.start_push()
    holds.wait_for(b'blog| begun')
    repository.hgrc(targets(world) + late.format(go) + CLASSIC[8:])
    # A clone is locked while it pushes.
    second, third = (world.clone(repository) for _ in range(2))
    second.commit()
    older = second.start_push()
    older.wait_for(b'added 1 changesets')
    repository.hgrc(targets(world) + CLASSIC)
    third.hg('pull', '-q', '-u')
    last = third.commit()
    newer = third.start_push()
    newer.wait_for(b'waiting for delegation 1 ')
    world.server.write('go', '')
    until(lambda: delegate_log(repository).count(b'\n') == 3)
    world.deploy.write('go', '')
    for push in (holds, older, newer):
        push.finish()
    assert nodes(world) == [first, last]
    assert delegate_log(repository).count(b'succeeded') == 2


@pytest.mark.once
def test_what_is_asked_for_by_hand_is_not_overtaken_by_what_waited(
    world: World,
) -> None:
    repository, clone = classic(world)
    repository.hgrc('[delegate]\nblog = ssh://localhost:1\n' + CLASSIC)
    first = clone.commit()
    clone.commit()
    clone.push('-r', first)
    clone.push()
    repository.hgrc(targets(world))
    enable = 'extensions.hgext_delegate='
    repository.hg('--config', enable, 'delegate', 'blog', '-r', first)
    assert nodes(world) == [first]


def test_the_commands_that_are_named_can_be_typed(world: World) -> None:
    repository, clone = classic(world)
    world.forced_command('echo broken; exit 3\n')
    clone.commit()
    said = b'\n'.join(clone.push().remote).decode()
    shows, again = re.findall(r"\('hg (.*)' on the server", said)
    asked = [*repository.program, '-R', str(repository.path)]
    enable = '--config extensions.hgext_delegate='
    assert shows == f'{enable} delegate-log 1'
    done = world.server.run([*asked, *shows.split()])
    assert b'broken' in done.stdout
    world.forced_command()
    assert again == f'{enable} delegate blog'
    world.server.run([*asked, *again.split()])
    assert delegate_log(repository).startswith(b'blog succeeded ')
