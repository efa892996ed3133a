"""hg delegate --dry-run tells what would be sent, and leaves no trace."""

from __future__ import annotations

import json
from typing import Any

import pytest
from by_hand import refused
from deploys import commands
from hgrc import KILLED, targets, unreachable
from repositories import Clone, Repository
from snapshot import contents
from world import World


def seen(world: World, repository: Repository) -> Any:
    """What a dry run may not change: files, what is recorded, and how often
    sshd was asked. What a killed process has left beside the journal may go."""
    connections = world.ssh_log().count('Connection from ')
    rows = repository.hg('delegate-log', '-Tjson').stdout
    files = {
        path: content
        for path, content in contents(repository.path).items()
        if path.name not in ('journal', 'journal-wal', 'journal-shm')
    }
    return connections, rows, files


def shown(repository: Repository, *args: str) -> list[dict]:
    """The objects that hg delegate --dry-run ARGS shows."""
    said = repository.hg('delegate', '--dry-run', *args).stdout.decode()
    mark = 'standard input: '
    lines = [line for line in said.splitlines() if line.startswith(mark)]
    return [json.loads(line[len(mark) :]) for line in lines]


def test_a_dry_run_shows_what_would_be_sent_and_does_nothing(
    world: World, repository: Repository, clone: Clone
) -> None:
    first = clone.commit()
    clone.push()
    repository.hgrc(targets(world, more='blog:command = $(make) it\n'))
    before = seen(world, repository)
    said = repository.hg('delegate', '-n').stdout.decode().splitlines()
    assert seen(world, repository) == before
    where = f'ssh://{world.deploy.name}@localhost:{world.port}'
    assert said[:4] == [
        f'blog: would delegate {first[:12]} to {where}',
        'changesets that would go live: 1',
        f'  {first[:12]}  a change',
        'command: $(make) it',
    ]
    assert len(said) == 5
    repository.hgrc(targets(world))
    second = clone.commit()
    clone.push()
    before = seen(world, repository)
    for rev in (second, first):
        (expected,) = shown(repository, '-r', rev)
        assert seen(world, repository) == before
        assert expected['id'] is None
        repository.hg('delegate', '-r', rev)
        sent = world.deploys()[-1]
        assert dict(sent.context, id=None) == expected
        assert (expected['node'], expected['previous']) == (rev, second)
        before = seen(world, repository)
    said_again = repository.hg('delegate', '-n', 'blog').stdout.decode()
    assert f'command: hg-delegate 1 blog {second}\n' in said_again


def test_a_dry_run_of_what_is_pending_is_what_follows(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(unreachable(world, 'retries = 0'))
    clone.commit()
    clone.push()
    repository.hgrc(unreachable(world) + KILLED)
    node = clone.commit()
    clone.push(check=False)
    # the killed process has not, and any hg may write them
    repository.hg('debugupdatecaches')
    repository.hgrc(targets(world))
    before = seen(world, repository)
    (expected,) = shown(repository, '--pending')
    assert seen(world, repository) == before
    assert expected['node'] == node and len(expected['pushes']) == 2
    repository.hg('delegate', '--pending')
    (deploy,) = world.deploys()
    # the push that no hook has seen has no id before it is recorded
    assert dict(deploy.context, id=expected['id']) == expected
    assert shown(repository, '--pending') == []


def test_a_dry_run_shows_what_is_superseded(
    world: World, repository: Repository, clone: Clone
) -> None:
    bookmark = targets(world, more='blog:trigger = bookmark\n')
    repository.hgrc(bookmark)
    nodes = [clone.commit(), clone.commit()]
    clone.hg('bookmark', 'live', '-r', nodes[1])
    clone.push('-B', 'live')
    killed = KILLED.replace('changegroup', 'txnclose-bookmark')
    repository.hgrc(bookmark + killed)
    clone.hg('bookmark', '-f', 'live', '-r', nodes[0])
    clone.push('-B', 'live', check=False)
    said = repository.hg('delegate', '--pending', '--dry-run').stdout.decode()
    assert said == (f'blog: {nodes[0][:12]} is superseded by {nodes[1][:12]}\n')


def test_what_is_pending_is_tried_for_the_targets_named(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, 'a', 'b') + KILLED)
    node = clone.commit()
    clone.push(check=False)
    repository.hgrc(targets(world, 'a', 'b'))
    assert [one['target'] for one in shown(repository, '--pending', 'b')] == [
        'b'
    ]
    repository.hg('delegate', '--pending', 'b')
    assert commands(world) == [f'hg-delegate 1 b {node}']
    said = refused(repository, 'delegate', '--pending', 'c')
    assert '(targets: a, b)' in said
    repository.hg('delegate', '--pending')
    assert commands(world)[1:] == [f'hg-delegate 1 a {node}']
    assert repository.hg('delegate', '--pending').stdout == b''
    assert len(world.deploys()) == 2


@pytest.mark.once
def test_a_dry_run_lists_what_would_go_live_and_what_would_be_taken_away(
    world: World, repository: Repository, pushed: Clone
) -> None:
    def listed(*args: str) -> list[str]:
        said = repository.hg('delegate', '-n', *args).stdout.decode()
        lines = said.split('\ncommand: ')[0].splitlines()
        while ': would delegate ' not in lines.pop(0):
            pass
        return lines

    first = pushed.tip()
    assert listed() == ['changesets that would go live: 0']
    second = pushed.commit(message='two\nlines \u202e of \x1b[31m text')
    third = pushed.commit(message='\x1b[31mred\u202e ' + 'x' * 100)
    pushed.deliver()
    assert listed() == [
        'changesets that would go live: 2',
        f'  {third[:12]}  ?[31mred? {"x" * 50}',
        f'  {second[:12]}  two',
    ]
    repository.hg('delegate')
    assert listed('-r', first) == [
        'changesets that would go live: 0',
        'changesets that would be taken away: 2',
        f'  {third[:12]}  ?[31mred? {"x" * 50}',
        f'  {second[:12]}  two',
    ]
    for _ in range(30):
        pushed.commit()
    pushed.deliver()
    assert listed()[0] == 'changesets that would go live: 30'
    assert len(listed()) == 22
    assert listed()[-1] == '  and 10 more, which -v lists'
    assert len(listed('-v')) == 31
    # another head: what comes and what goes
    pushed.hg('update', '-q', first)
    other = pushed.commit(files={'other': '1'})
    pushed.deliver()
    assert listed('-r', other) == [
        'changesets that would go live: 1',
        f'  {other[:12]}  a change',
        'changesets that would be taken away: 2',
        f'  {third[:12]}  ?[31mred? {"x" * 50}',
        f'  {second[:12]}  two',
    ]
    # what is deployed was stripped
    pushed.hg('update', '-q', other)
    strip = ('--config', 'extensions.strip=', 'strip', '--no-backup')
    repository.hg(*strip, '-r', f'{second}::')
    assert listed('-r', other) == [
        f'what is deployed, {third[:12]}, is not in the repository any more'
    ]
