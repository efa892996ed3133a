"""Which changesets a push is, whatever else comes with it or between."""

from __future__ import annotations

import json

import pushes
import pytest
from hgrc import CLASSIC, targets
from repositories import Clone, Repository
from world import World

ORDER = """\
#!/bin/sh
mkdir held 2>/dev/null || exit 0
echo held
. ./hold
"""


@pytest.mark.parametrize('comes', ['first', 'last', 'alone'])
def test_what_is_obsolete_when_it_comes_is_not_deployed(
    world: World, repository: Repository, ready: Clone, comes: str
) -> None:
    evolution = '[experimental]\nevolution = all\n'
    draft = '[phases]\npublish = no\n'
    repository.hgrc(targets(world) + evolution + draft)
    world.pusher.write(
        ready.path / '.hg' / 'hgrc',
        f'[paths]\ndefault = {repository.url}\n{evolution}{draft}',
    )
    base = ready.commit()
    ready.push()
    unaware = world.clone(repository)
    old = ready.commit()
    ready.hg('update', '-q', base)
    new = ready.commit()
    if comes == 'last':
        other = unaware.commit()
    unaware.hg('pull', '-q', '-r', old, str(ready.path))
    if comes == 'first':
        other = unaware.commit()
    ready.hg('debugobsolete', old, new)
    ready.push()
    before = len(world.deploys())
    pushed = unaware.push('-f')
    if comes == 'alone':
        assert len(world.deploys()) == before
        assert not [line for line in pushed.remote if b'delegate' in line]
        return
    assert pushes.told(world)['node'] == other
    push = pushes.told_push(world)
    ends = (old, other) if comes == 'first' else (other, old)
    assert (push['node'], push['node_last']) == ends
    assert push['changesets'] == 2
    assert [head['node'] for head in push['heads']] == [other]


@pytest.mark.parametrize('enabled', [True, False])
def test_a_push_that_comes_between_is_not_taken_for_this_one(
    world: World, enabled: bool
) -> None:
    order = world.server.write('order', ORDER, 0o755)
    hooks = f'[hooks]\nchangegroup.first = {order}\n'
    repository = world.repository(enable=enabled)
    early = world.clone(repository)
    base = early.commit()
    early.push()
    late = world.clone(repository)
    hooks += '' if enabled else CLASSIC
    repository.hgrc(targets(world) + hooks)
    nodes = {}
    for name, clone in (('early', early), ('late', late)):
        clone.hg('branch', '-q', name)
        nodes[name] = [clone.commit(), clone.commit()]
    held = early.start_push('--new-branch')
    held.wait_for(b'held')
    late.push('--new-branch')
    world.server.write(repository.path / 'go', '')
    held.finish()
    said = [p for d in world.deploys() for p in json.loads(d.input)['pushes']]
    assert len(said) == 2
    for push in said:
        (head,) = push['heads']
        first, last = nodes[head['branch']]
        assert (push['node'], push['node_last']) == (first, last)
        assert push['changesets'] == push['phases'] == 2
        assert head['node'] == last != base


def test_several_changegroups_in_a_push_are_one_push(
    world: World, ready: Clone
) -> None:
    nodes = [ready.commit() for _ in range(3)]
    ready.push('--config', pushes.as_extension(world, pushes.PARTS))
    push = pushes.told_push(world)
    assert len(world.deploys()) == 1
    assert (push['node'], push['node_last']) == (nodes[0], nodes[2])
    assert push['changesets'] == push['phases'] == 3
    assert [head['node'] for head in push['heads']] == [nodes[2]]


def test_the_classic_line_alone_has_each_changegroup_by_itself(
    world: World,
) -> None:
    repository = world.repository(hgrc=targets(world) + CLASSIC, enable=False)
    clone = world.clone(repository)
    nodes = [clone.commit() for _ in range(3)]
    clone.push('--config', pushes.as_extension(world, pushes.PARTS))
    said = [json.loads(deploy.input) for deploy in world.deploys()]
    assert [context['node'] for context in said] == nodes
    for node, context in zip(nodes, said):
        (push,) = context['pushes']
        assert push['node'] == push['node_last'] == node
        assert [head['node'] for head in push['heads']] == [node]


def test_a_client_without_bundle2_is_told_of_too(
    world: World, ready: Clone
) -> None:
    nodes = [ready.commit(), ready.commit()]
    ready.push('--config', 'devel.legacy.exchange=bundle1')
    push = pushes.told_push(world)
    assert (push['node'], push['node_last']) == (nodes[0], nodes[1])
    assert push['phases'] == 2
    assert push['source'] == 'serve'
