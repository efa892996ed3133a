"""What the deploy side is told of a push, end to end."""

from __future__ import annotations

import datetime
import re

import pushes
from hgrc import targets
from repositories import Clone, Repository
from world import World


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
                'caused_by': None,
                'omitted': {},
            }
        ],
        'attempt': 1,
        'omitted': 0,
    }


def test_previous_is_what_was_deployed_last_with_success(
    world: World, pushed: Clone
) -> None:
    first = pushed.tip()
    world.forced_command('. ./record\nexit 1\n')
    pushed.commit()
    pushed.push()
    assert pushes.told(world)['previous'] == first
    world.forced_command()
    third = pushed.commit()
    pushed.push()
    assert pushes.told(world)['previous'] == first
    pushed.commit()
    pushed.push()
    assert pushes.told(world)['previous'] == third


def test_what_had_to_wait_is_told_of_in_push_order(
    world: World, repository: Repository, ready: Clone
) -> None:
    down = targets(world, more='blog:retries = 0\nblog:knownhosts = /none\n')
    repository.hgrc(down)
    nodes = []
    for _ in range(2):
        nodes.append(ready.commit())
        ready.push()
    assert not world.deploys()
    repository.hgrc(targets(world))
    nodes.append(ready.commit())
    ready.push()
    context = pushes.told(world)
    assert [push['node'] for push in context['pushes']] == nodes
    assert context['attempt'] == 1
    repository.hgrc(down)
    nodes.append(ready.commit())
    ready.push()
    repository.hgrc(targets(world))
    repository.hg('delegate', '--pending')
    context = pushes.told(world)
    assert [push['node'] for push in context['pushes']] == nodes[3:]
    assert context['attempt'] == 2


def test_several_heads_and_branches_in_one_push(
    world: World, pushed: Clone
) -> None:
    base = pushed.tip()
    nodes = []
    for branch in ('default', 'default', 'stable', 'other'):
        pushed.hg('update', '-q', base)
        pushed.hg('branch', '-q', '-f', branch)
        nodes.append(pushed.commit())
    pushed.hg('update', '-q', nodes[2])
    nodes.append(pushed.commit())
    pushed.push('-f', '--new-branch')
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
    repository.hgrc(targets(world) + draft)
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
    repository.hgrc(targets(world))
    ready.commit()
    ready.push()
    assert pushes.told_push(world)['phases'] == 2
