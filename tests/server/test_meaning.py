"""The configuration means the same for every transport and every folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest
import servers
import verdict
from delegations import log, states
from deploys import nodes
from hgrc import KILLED, targets
from repositories import Clone, Push, Repository
from webservers import gunicorn
from world import World

WHEN = "blog:when = file('docs/**') and modifies('set:**.txt')\n"


def by_path(world: World) -> Clone:
    """A clone of the server account's own, in a folder of its own."""
    path = world.server.home / 'by-path'
    world.server.run([*world.hg, 'init', str(path)])
    world.server.write('by-path/.hg/hgrc', '[ui]\nusername = alice\n')
    return Clone(world.server, path, world.hg)


@pytest.mark.parametrize('way', ['ssh', 'path', 'http'])
def test_file_patterns_are_relative_to_the_repository(
    world: World, repository: Repository, clone: Clone, way: str
) -> None:
    if way == 'path':
        clone = by_path(world)
    clone.commit(files={'docs/a.txt': 'one'})
    clone.push(str(repository.path) if way == 'path' else repository.url)
    repository.hgrc(targets(world, more=WHEN))
    node = clone.commit(files={'docs/a.txt': 'two'})
    clone.commit(files={'other.txt': 'two'})
    with contextlib.ExitStack() as stack:
        url = repository.url
        if way == 'http':
            served = world.hgweb([repository])
            url = f'{stack.enter_context(served)}/{repository.path.name}'
        clone.push(str(repository.path) if way == 'path' else url)
    assert nodes(world) == [node]


@pytest.mark.parametrize('folder', ['.', 'docs', '/'])
def test_commands_find_the_same_from_every_folder(
    world: World, repository: Repository, clone: Clone, folder: str
) -> None:
    clone.commit(files={'docs/a.txt': 'one'})
    node = clone.commit(files={'docs/a.txt': 'two'})
    clone.commit(files={'other.txt': 'two'})
    clone.deliver()
    repository.hgrc(targets(world, more=WHEN))
    world.server.mkdir(repository.path / 'docs')
    command = ['--cwd', folder if folder == '/' else repository.path / folder]
    said = repository.hg(*map(str, command), 'delegate', '--dry-run').stdout
    assert node.encode() in said
    said = repository.hg(*map(str, command), 'delegate-check').stdout
    assert f'{node[:12]} is the newest changeset'.encode() in said


def test_what_a_command_finds_for_no_target_stays_pending(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, more='blog:when = wanted()\n') + KILLED)
    node = clone.commit()
    clone.push(check=False)
    world.server.write('.hgrc', '[revsetalias]\nwanted() = none()\n')
    repository.hg('delegate', '--pending')
    assert [row['state'] for row in log(repository)] == ['pending']
    world.server.write('.hgrc', '[revsetalias]\nwanted() = all()\n')
    repository.hg('delegate', '--pending')
    assert nodes(world) == [node]
    assert states(repository) == ['succeeded']


def test_what_the_target_has_already_does_not_wait_for_ever(
    world: World, repository: Repository, clone: Clone
) -> None:
    never = 'blog:when = none()\n'
    repository.hgrc(targets(world, more=never) + KILLED)
    clone.commit()
    clone.push(check=False)
    repository.hg('delegate', '--pending')
    assert states(repository) == ['pending']
    repository.hgrc(targets(world, more=never))
    repository.hg('delegate', 'blog', '-r', 'tip')
    repository.hg('delegate', '--pending')
    assert states(repository) == ['succeeded']


def served(
    world: World, repository: Repository
) -> contextlib.AbstractContextManager[str]:
    return gunicorn(world, repository, '--worker-class', 'gthread')


def served_alone(
    world: World, repository: Repository
) -> contextlib.AbstractContextManager[str]:
    port = servers.free_port()
    options = ['web.push_ssl=no', 'web.allow-push=*']
    command = [*world.hg, '-R', str(repository.path), 'serve']
    command += ['--address', '127.0.0.1', '--port', str(port)]
    for option in options:
        command += ['--config', option]
    return world.http(command, port)


@pytest.mark.parametrize('server', [served_alone, served])
def test_a_target_counts_from_the_moment_it_is_written(
    world: World,
    repository: Repository,
    clone: Clone,
    server: Callable[..., contextlib.AbstractContextManager[str]],
) -> None:
    repository.hgrc('')
    clone.commit()
    with server(world, repository) as url:
        clone.push(url)
        clone.hg('incoming', url, check=False)
        time.sleep(1.1)  # what hgweb compares are whole seconds
        repository.hgrc(targets(world))
        node = clone.commit()
        push = clone.push(url)
        assert verdict.last(push) == verdict.deployed(node)
        repository.hgrc('')
        clone.commit()
        assert not verdict.among(clone.push(url).remote)
    assert nodes(world) == [node]


def test_a_closed_head_does_not_go_live(
    world: World, repository: Repository, ready: Clone
) -> None:
    """A feature branch is merged and then closed, in one push."""
    base = ready.commit()
    ready.commit(files={'default': 'more'})
    ready.hg('update', base)
    ready.hg('branch', 'feature')
    feature = ready.commit(files={'feature': 'new'})
    ready.hg('update', 'default')
    ready.hg('merge', 'feature')
    merged = ready.commit(message='merge')
    ready.hg('update', '-C', feature)
    ready.commit('--close-branch', files={'feature': 'closed'})
    ready.push('--new-branch')
    assert nodes(world) == [merged]


def test_a_closed_head_comes_before_what_is_no_head(
    world: World, repository: Repository, ready: Clone
) -> None:
    ready.commit()
    closing = ready.commit('--close-branch')
    ready.push()
    assert nodes(world) == [closing]


def test_a_head_comes_before_a_newer_changeset_that_is_none(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, more='blog:when = branch(default)\n'))
    base = clone.commit()
    head = clone.commit()
    clone.hg('update', base)
    clone.commit(files={'other': 'older'})  # newer, and not a head
    clone.hg('branch', 'feature')
    clone.commit(files={'other': 'newer'})
    clone.push('--new-branch', '-f')
    assert nodes(world) == [head]


def _said(push: Push, *words: str) -> bool:
    return any(
        line.startswith(b'delegate: blog: ')
        and all(word.encode() in line for word in words)
        for line in push.remote
    )


@pytest.mark.once
def test_which_of_several_open_heads_was_chosen_is_said(
    world: World, ready: Clone
) -> None:
    ready.commit(files={'base': '1'})
    ready.commit(files={'one': '1'})
    ready.hg('update', '-q', '-r', '0')
    node = ready.commit(files={'two': '1'})
    push = ready.push('-f')
    assert _said(push, node[:12], 'is the newest of 2 open heads that were')
    hint = b"('blog:when = present(branch(NAME))' in the hgrc says which)"
    assert hint in push.remote
    assert nodes(world) == [node]


@pytest.mark.once
def test_heads_that_are_not_for_the_target_are_not_counted(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(targets(world, more="blog:when = file('path:two')\n"))
    ready.commit(files={'base': '1'})
    ready.commit(files={'one': '1'})
    ready.hg('update', '-q', '-r', '0')
    node = ready.commit(files={'two': '1'})
    push = ready.push('-f')
    assert nodes(world) == [node] and not _said(push, 'open heads')


def test_what_is_left_behind_is_said(
    world: World, repository: Repository, ready: Clone
) -> None:
    ready.commit(files={'base': '1'})
    live = ready.commit(files={'one': '1'})
    assert not _said(ready.push(), 'leaving')
    ready.hg('update', '-q', '-r', '0')
    node = ready.commit(files={'two': '1'})
    push = ready.push('-f')
    words = f'leaving {live[:12]}, which is not in {node[:12]}'
    assert _said(push, words)
    assert nodes(world) == [live, node]
    ready.commit(files={'two': '2'})
    assert not _said(ready.push(), 'leaving')
    said = repository.ask('delegate', 'blog', '-r', live).stdout.decode()
    assert f'which is not in {live[:12]}' in said
    said = repository.ask('delegate', 'blog', '-r', '0').stdout.decode()
    assert f'going back from {live[:12]} to ' in said


@pytest.mark.once
def test_a_push_says_that_the_target_had_been_rolled_back(
    world: World, repository: Repository, ready: Clone
) -> None:
    first = ready.commit()
    ready.push()
    second = ready.commit()
    ready.push()
    repository.hg('delegate', 'blog', '-r', first)
    ready.commit()
    words = f'gone back from {second[:12]} to {first[:12]} since the last push'
    assert _said(ready.push(), words)
    repository.hg('delegate', 'blog')
    ready.commit()
    assert not _said(ready.push(), 'gone back')
