"""What the deploy side is told of a push, end to end."""

from __future__ import annotations

import datetime
import json
import re

import pushes
import pytest
from repositories import Clone, Repository
from world import World

ORDER = """\
#!/bin/sh
mkdir held 2>/dev/null || exit 0
echo held
until [ -e go ]; do sleep 0.02; done
"""
CLASSIC = '[hooks]\nchangegroup.autopush = python:hgext_delegate.hook\n'


@pytest.fixture
def ready(world: World, repository: Repository, clone: Clone) -> Clone:
    """A clone of a repository with the target blog."""
    repository.hgrc(pushes.target(world))
    return clone


def test_the_object_of_the_first_push_is_complete(
    world: World, repository: Repository, ready: Clone
) -> None:
    before = datetime.datetime.now(datetime.timezone.utc)
    node = ready.commit()
    ready.push()
    context = pushes.told(world)
    (push,) = context['pushes']
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', push['time'])
    time = datetime.datetime.fromisoformat(push['time'].replace('Z', '+00:00'))
    assert abs(time - before) < datetime.timedelta(minutes=5)
    assert re.fullmatch('TXN:[0-9a-f]{40}', push['transaction'])
    assert re.fullmatch('remote:ssh:(127.0.0.1|::1)', push['url'])
    assert context == {
        'protocol': 1,
        'id': context['id'],
        'target': 'blog',
        'repository': {
            'name': repository.path.name,
            'root': str(repository.path),
        },
        'node': node,
        'previous': None,
        'pushes': [
            {
                'node': node,
                'node_last': node,
                'changesets': 1,
                'heads': [
                    {
                        'node': node,
                        'branch': 'default',
                        'bookmarks': [],
                        'closed': False,
                    }
                ],
                'bookmarks': {},
                'phases': 1,
                'pusher': None,
                'source': 'serve',
                'url': push['url'],
                'transaction': push['transaction'],
                'time': push['time'],
                'variables': {},
                'omitted': {},
            }
        ],
        'attempt': 1,
        'omitted': 0,
    }


def test_previous_is_what_was_deployed_last_with_success(
    world: World, ready: Clone
) -> None:
    first = ready.commit()
    ready.push()
    world.forced_command('. ./record\nexit 1\n')
    ready.commit()
    ready.push()
    assert pushes.told(world)['previous'] == first
    world.forced_command()
    third = ready.commit()
    ready.push()
    assert pushes.told(world)['previous'] == first
    ready.commit()
    ready.push()
    assert pushes.told(world)['previous'] == third


def test_several_heads_and_branches_in_one_push(
    world: World, ready: Clone
) -> None:
    base = ready.commit()
    ready.push()
    nodes = []
    for branch in ('default', 'default', 'stable', 'other'):
        ready.hg('update', '-q', base)
        ready.hg('branch', '-q', '-f', branch)
        nodes.append(ready.commit())
    ready.hg('update', '-q', nodes[2])
    nodes.append(ready.commit())
    ready.push('-f', '--new-branch')
    push = pushes.told_push(world)
    assert (push['node'], push['node_last']) == (nodes[0], nodes[-1])
    assert push['changesets'] == 5
    heads = [(head['node'], head['branch']) for head in push['heads']]
    assert heads == [
        (nodes[4], 'stable'),
        (nodes[3], 'other'),
        (nodes[1], 'default'),
        (nodes[0], 'default'),
    ]
    assert pushes.told(world)['node'] == nodes[-1]


def test_a_merge_is_one_head(world: World, ready: Clone) -> None:
    base = ready.commit(files={'a': '1'})
    one = ready.commit(files={'b': '1'})
    ready.hg('update', '-q', base)
    ready.commit(files={'c': '1'})
    ready.hg('merge', '-q', one)
    merge = ready.commit(files={'d': '1'})
    ready.push()
    push = pushes.told_push(world)
    assert [head['node'] for head in push['heads']] == [merge]
    assert (push['node'], push['node_last']) == (base, merge)
    assert push['changesets'] == 4


def test_a_branch_that_is_closed_is_marked(world: World, ready: Clone) -> None:
    ready.commit()
    ready.hg('branch', '-q', 'done')
    ready.commit()
    closing = ready.commit('--close-branch')
    ready.push('--new-branch')
    push = pushes.told_push(world)
    assert push['node_last'] == closing
    assert push['heads'] == [
        {'node': closing, 'branch': 'done', 'bookmarks': [], 'closed': True}
    ]


def test_bookmarks_created_moved_and_deleted_in_the_same_push(
    world: World, ready: Clone
) -> None:
    first = ready.commit()
    ready.hg('bookmark', '-i', 'gone', 'moved', 'stays')
    ready.push('-B', 'gone', '-B', 'moved', '-B', 'stays')
    push = pushes.told_push(world)
    names = ['gone', 'moved', 'stays']
    assert push['bookmarks'] == {name: [None, first] for name in names}
    assert push['heads'][0]['bookmarks'] == names
    second = ready.commit()
    ready.hg('bookmark', '-d', 'gone')
    ready.hg('bookmark', '-i', 'a new one')
    ready.hg('bookmark', '-i', '-f', 'moved')
    ready.push('-B', 'gone', '-B', 'moved', '-B', 'a new one')
    push = pushes.told_push(world)
    assert push['bookmarks'] == {
        'gone': [first, None],
        'moved': [first, second],
        'a new one': [None, second],
    }
    assert push['heads'][0]['bookmarks'] == ['a new one', 'moved']


def test_only_what_becomes_public_is_counted(
    world: World, repository: Repository, ready: Clone
) -> None:
    draft = '[phases]\npublish = no\n'
    repository.hgrc(pushes.target(world) + draft)
    for _ in range(2):
        ready.commit()
    ready.push()
    assert pushes.told_push(world)['phases'] == 0
    ready.commit()
    ready.push('--publish')
    assert pushes.told_push(world)['phases'] == 3
    ready.commit()
    ready.push()
    assert pushes.told_push(world)['phases'] == 0
    repository.hgrc(pushes.target(world))
    ready.commit()
    ready.push()
    assert pushes.told_push(world)['phases'] == 2


@pytest.mark.parametrize('comes', ['first', 'last', 'alone'])
def test_what_is_obsolete_when_it_comes_is_not_deployed(
    world: World, repository: Repository, ready: Clone, comes: str
) -> None:
    evolution = '[experimental]\nevolution = all\n'
    draft = '[phases]\npublish = no\n'
    repository.hgrc(pushes.target(world) + evolution + draft)
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
    repository.hgrc(pushes.target(world) + hooks)
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
    repository = world.repository(
        hgrc=pushes.target(world) + CLASSIC, enable=False
    )
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
    world: World, repository: Repository, ready: Clone
) -> None:
    # Such a client can push to a repository without generaldelta.
    repository.hgrc(pushes.target(world) + '[server]\nbundle1 = yes\n')
    nodes = [ready.commit(), ready.commit()]
    ready.push('--config', 'devel.legacy.exchange=bundle1')
    push = pushes.told_push(world)
    assert (push['node'], push['node_last']) == (nodes[0], nodes[1])
    assert push['phases'] == 2
    assert push['source'] == 'serve'
