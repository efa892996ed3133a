"""Pushes that wait, and what else Mercurial does to a repository."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import verdict
from delegations import outcomes
from hgrc import targets, unreachable
from repositories import Clone, Repository, RunningPush
from world import BEGUN, World


def outbox(repository: Repository) -> list[str]:
    """The last node of each push in the outbox."""
    path = repository.path / '.hg' / 'store' / 'delegate-outbox'
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [json.loads(line)['push']['node_last'] for line in lines[1:]]


@pytest.fixture
def waiting(world: World, repository: Repository, clone: Clone) -> list[str]:
    """The nodes of two pushes that wait in REPOSITORY; it can be reached."""
    repository.hgrc(unreachable(world, 'retries = 0'))
    nodes = []
    for _ in range(2):
        nodes.append(clone.commit())
        clone.push()
    assert outcomes(repository) == [('pending', node) for node in nodes]
    repository.hgrc(targets(world))
    return nodes


def test_a_clone_takes_nothing_of_ours_along(
    world: World, repository: Repository, waiting: list[str]
) -> None:
    path = str(repository.path)
    server, pusher = world.server, world.pusher
    for owner, args in (
        (server, [path, str(server.home / 'linked')]),
        (server, ['--pull', path, str(server.home / 'pulled')]),
        (pusher, ['--stream', repository.url, str(pusher.home / 'streamed')]),
    ):
        owner.run([*world.hg, 'clone', '-q', *args])
        to = Path(args[-1])
        assert (to / '.hg' / 'store' / '00changelog.i').exists()
        assert not list(to.rglob('*delegate*'))
    assert not world.deploys()
    assert outcomes(repository) == [('pending', node) for node in waiting]


def test_a_share_and_its_source_have_one_journal_and_one_turn(
    world: World, repository: Repository, waiting: list[str], clone: Clone
) -> None:
    shared = world.repository('shared')
    world.server.run(['rm', '-r', str(shared.path)])
    share = [*world.hg, '--config', 'extensions.share=', 'share', '-U']
    world.server.run([*share, str(repository.path), str(shared.path)])
    shared.hgrc(targets(world))
    world.forced_command(BEGUN)
    other = world.clone(repository)
    first = clone.commit(files={'a': '1'})
    begun = clone.start_push(shared.url)
    begun.wait_for(b'blog| begun')
    second = other.commit(files={'b': '1'})
    waits = other.start_push('-f')
    waits.wait_for(b'waiting for delegation 3 of ')
    world.deploy.write('go', '')
    for push in (begun, waits):
        assert verdict.last(push.finish()).state == 'deployed'
    assert outcomes(repository) == [
        ('superseded', waiting[0]),
        ('superseded', waiting[1]),
        ('succeeded', first),
        ('succeeded', second),
    ]
    assert outcomes(shared) == outcomes(repository)
    assert (repository.path / '.hg' / 'delegate' / 'journal').exists()
    assert not (shared.path / '.hg' / 'delegate').exists()
    assert not (shared.path / '.hg' / 'store').exists()
    runs = world.deploys()
    assert [run.context['node'] for run in runs] == [first, second]
    assert len(runs[0].context['pushes']) == 3


def test_a_push_that_was_rolled_back_is_not_delegated(
    world: World, repository: Repository, waiting: list[str], clone: Clone
) -> None:
    rollback = ['--config', 'ui.rollback=yes', 'rollback']
    repository.hg(*rollback)
    assert outbox(repository) == waiting[:1]
    repository.hg('delegate', '--pending', check=False)
    assert outcomes(repository) == [
        ('succeeded', waiting[0]),
        ('cancelled', waiting[1]),
    ]
    (deploy,) = world.deploys()
    assert deploy.context['node'] == waiting[0]
    assert len(deploy.context['pushes']) == 1
    # what was taken back can be pushed again, in a transaction of its own
    clone.hg('phase', '--draft', '--force', waiting[1])
    assert verdict.last(clone.push()).state == 'deployed'
    assert outcomes(repository)[2:] == [('succeeded', waiting[1])]


def test_a_changeset_that_was_stripped_is_not_delegated(
    world: World, repository: Repository, waiting: list[str], clone: Clone
) -> None:
    strip = ['--config', 'extensions.strip=', 'strip', '--no-backup']
    repository.hg(*strip, waiting[1])
    repository.hg('delegate', '--pending', check=False)
    assert outcomes(repository) == [
        ('succeeded', waiting[0]),
        ('cancelled', waiting[1]),
    ]
    repository.hg(*strip, waiting[0])
    node = world.clone(repository).commit()
    assert node not in waiting
    clone.hg('pull', '-q')
    clone.push('-f')
    last = clone.hg('log', '-r', 'tip', '-T', '{node}').stdout.decode()
    assert outbox(repository) == [last]
    assert outcomes(repository)[-1] == ('succeeded', last)


@pytest.fixture
def left_behind(
    world: World, repository: Repository, clone: Clone
) -> Iterator[int]:
    """The PID of the process that 'wait = no' has left delegating."""
    repository.hgrc(targets(world, more='blog:wait = no\n'))
    world.forced_command(BEGUN)
    clone.commit()
    clone.push()
    while not world.deploys():
        time.sleep(0.02)
    (pid,) = [
        pid for pid, command in world.living().items() if '--pending' in command
    ]
    yield pid
    world.deploy.write('go', '')
    while outcomes(repository)[-1][0] == 'running':
        time.sleep(0.05)


@pytest.mark.once
def test_what_is_left_behind_has_nothing_of_the_connection(
    world: World, left_behind: int
) -> None:
    files = {
        int(fd.name): os.readlink(fd)
        for fd in Path(f'/proc/{left_behind}/fd').iterdir()
    }
    assert {files.pop(number) for number in (0, 1, 2)} == {'/dev/null'}
    assert not [link for link in files.values() if link.startswith('pipe:')]
    # the one socket is its own, to the deploy account
    (socket,) = [x for x in files.values() if x.startswith('socket:')]
    inode = socket[len('socket:[') : -1]
    table = ''
    for name in ('tcp', 'tcp6'):
        with contextlib.suppress(FileNotFoundError):
            table += Path(f'/proc/net/{name}').read_text('ascii')
    (line,) = [x.split() for x in table.splitlines() if inode in x.split()]
    assert int(line[2].rpartition(':')[2], 16) == world.port
    # and the pusher's session is over: no terminal, no group, no sshd
    assert os.getsid(left_behind) == left_behind
    sessions = [c for c in world.living().values() if 'serve --stdio' in c]
    assert sessions == []


def test_what_is_left_of_a_push_that_was_partly_stripped_is_delegated(
    world: World, repository: Repository, clone: Clone
) -> None:
    when = "blog:when = file('path:docs')\n"
    wrong = targets(world, more=when + 'blog:color = perhaps\n')
    repository.hgrc(wrong)
    kept = clone.commit(files={'docs/page': '1'})
    gone = clone.commit()
    clone.push()
    for each in (repository, clone):
        each.hg('--config', 'extensions.strip=', 'strip', '-r', gone)
    clone.commit()
    clone.push()
    repository.hgrc(targets(world, more=when))
    repository.hg('delegate', '--pending')
    assert [deploy.context['node'] for deploy in world.deploys()] == [kept]


def held(world: World, clone: Clone) -> tuple[str, RunningPush]:
    """A changeset that is being deployed until there is a file 'go'."""
    world.forced_command(BEGUN)
    node = clone.commit()
    runs = clone.start_push()
    runs.wait_for(b'blog| begun')
    return node, runs


def test_what_is_stripped_while_it_waits_for_its_turn_is_not_deployed(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world))
    first, runs = held(world, clone)
    other = world.clone(repository)
    gone = other.commit()
    waits = other.start_push()
    waits.wait_for(b'waiting for delegation 1 ')
    repository.hg('--config', 'extensions.strip=', 'strip', '-r', gone)
    world.deploy.write('go', '')
    runs.finish()
    said = verdict.among(waits.finish().remote)
    assert verdict.failed('the changeset is gone from the repository') in said
    assert [deploy.context['node'] for deploy in world.deploys()] == [first]


@pytest.mark.parametrize('how', ['strip', 'prune'])
def test_what_is_left_of_a_push_when_its_turn_comes_is_deployed(
    world: World, repository: Repository, clone: Clone, how: str
) -> None:
    more = (
        '[delegate]\nblog:when = not file("path:draft")\n'
        '[phases]\npublish = no\n[experimental]\nevolution = all\n'
    )
    repository.hgrc(targets(world, more=more))
    first, runs = held(world, clone)
    other = world.clone(repository)
    kept = other.commit()
    other.commit(files={'draft': '1'})
    gone = other.commit()
    waits = other.start_push()
    waits.wait_for(b'waiting for delegation 1 ')
    if how == 'strip':
        repository.hg('--config', 'extensions.strip=', 'strip', '-r', gone)
    else:
        repository.hg('debugobsolete', gone)
    world.deploy.write('go', '')
    runs.finish()
    assert verdict.last(waits.finish()) == verdict.deployed(kept)
    nodes = [deploy.context['node'] for deploy in world.deploys()]
    assert nodes == [first, kept]
    log = repository.hg('delegate-log', '-l', '1', '-T', '{state} {node}')
    assert log.stdout.decode() == f'succeeded {kept}'
