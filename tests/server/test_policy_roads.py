"""The policy of a web server's own file counts on every road."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest
import servers
import verdict
from hgrc import targets
from repositories import Clone, Repository
from waiting import until
from world import World

FORBIDS = 'allow-targets = ssh://nobody@localhost\n'
# what an owner might write who wants another policy
OWN = 'allow-targets = ssh://*\nallow-repository-config = timeout\n'


@contextlib.contextmanager
def served(world: World, repository: Repository, text: str) -> Iterator[str]:
    """REPOSITORY by hgweb, with TEXT in [delegate] of its own file; the URL."""
    conf = world.web_conf([repository])
    world.server.write(conf, conf.read_text() + '[delegate]\n' + text)
    port = servers.free_port()
    command = [*world.hg, 'serve', '--web-conf', str(conf)]
    command += ['--address', '127.0.0.1', '--port', str(port)]
    with world.http(command, port) as url:
        yield f'{url}/{repository.path.name}'


def over_http(world: World, repository: Repository, clone: Clone, text: str):
    with served(world, repository, text) as url:
        return clone.push(url)


def problems(said: list[bytes]) -> list[bytes]:
    return [line for line in said if b'delegate: blog in .hg/hgrc:' in line]


@pytest.mark.once
@pytest.mark.parametrize('own', ['', OWN, '%unset allow-targets\n'])
def test_an_hgrc_takes_no_policy_away_from_the_process_that_delegates(
    world: World, repository: Repository, clone: Clone, own: str
) -> None:
    world.server.write('.hgrc', '[hooks]\npretxnchangegroup.slow = sleep 1\n')
    with socket.create_server(('127.0.0.1', 0)) as listener:
        place = f'ssh://x@127.0.0.1:{listener.getsockname()[1]}'
        repository.hgrc(f'[delegate]\nblog = {place}\n{own}')
        clone.commit()
        push = over_http(world, repository, clone, FORBIDS)
        assert problems(push.remote)
        # nor has it logged in early, while the push was received
        until(lambda: not any('delegate' in x for x in world.living().values()))
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.once
def test_the_options_of_the_web_servers_file_are_limits(
    world: World, repository: Repository, clone: Clone
) -> None:
    """The process that delegates tells what was set by whom."""
    repository.hgrc(targets(world, more='*:timeout = 9h\n'))
    clone.commit()
    text = f'allow-targets = ssh://{world.deploy.name}@*\n*:timeout = 5m\n'
    push = over_http(world, repository, clone, text)
    assert b"'timeout' is not for a repository's hgrc" in b''.join(push.remote)
    assert not world.deploys()
    repository.hgrc(targets(world, more='blog:color = no\n'))
    node = clone.commit()
    push = over_http(world, repository, clone, text)
    assert verdict.last(push) == verdict.deployed(node)


def test_what_a_push_was_refused_no_other_road_delegates(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world))
    clone.commit()
    assert problems(over_http(world, repository, clone, FORBIDS).remote)
    # a cron job, a command and a push over ssh do not read that file
    for args in (['--pending'], ['blog'], ['blog', '-r', 'tip']):
        run = repository.hg('delegate', *args, check=False)
        assert run.returncode
        assert b"by http; see 'hg delegate-check'" in run.stderr or (
            b'cannot be used as it is configured' in run.stderr
        )
    node = clone.commit()
    assert problems(clone.push().remote)
    assert not world.deploys()
    # that can be told, and the next push by http takes it back
    run = repository.hg('delegate-check', '-Tjson', check=False)
    (said,) = [
        found['message']
        for found in json.loads(run.stdout)
        if 'that this hg does not read' in found['message']
    ]
    assert said.endswith(FORBIDS.strip())
    allows = f'allow-targets = ssh://{world.deploy.name}@localhost:*\n'
    node = clone.commit()
    push = over_http(world, repository, clone, allows)
    assert verdict.last(push) == verdict.deployed(node)


def test_a_push_that_waits_goes_nowhere_else_when_the_hgrc_is_changed(
    world: World, repository: Repository, clone: Clone
) -> None:
    closed = f'ssh://{world.deploy.name}@localhost:1'
    more = 'blog:retries = 0\n'
    repository.hgrc(f'[delegate]\nblog = {closed}\n')
    clone.commit()
    text = f'allow-targets = {closed}\n*:retries = 0\n'
    push = over_http(world, repository, clone, text)
    assert verdict.among(push.remote)[-1].state == 'pending'
    repository.hgrc(targets(world, more=more))
    assert repository.hg('delegate', '--pending', check=False).returncode
    assert not world.deploys()


@pytest.mark.once
def test_a_host_that_says_a_policy_itself_is_asked_alone(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world))
    node = clone.commit()
    over_http(world, repository, clone, FORBIDS)
    world.server.write('.hgrc', '[delegate]\nallow-targets = ssh://*\n')
    assert repository.hg('delegate', '--pending').returncode == 0
    (deploy,) = world.deploys()
    assert deploy.command == f'hg-delegate 1 blog {node}'
    run = repository.hg('delegate-check', check=False)
    assert b'the host configures pushes by http in another way' in run.stdout


@pytest.mark.once
def test_no_policy_of_the_outbox_gives_a_right(
    world: World, repository: Repository, clone: Clone
) -> None:
    """A member of the group may have written it."""
    world.server.write('.hgrc', '[delegate]\n' + FORBIDS)
    repository.hgrc(targets(world))
    clone.commit()
    clone.push()
    box = repository.path / '.hg' / 'store' / 'delegate-outbox'
    header, *lines = box.read_text().splitlines(keepends=True)
    forged = json.loads(header)
    policy = {'allow-targets': 'ssh://*', 'allow-repository-config': 'when'}
    forged['roads'] = dict.fromkeys(('ssh', 'http', 'path', 'x'), policy)
    world.server.write(box, json.dumps(forged) + '\n' + ''.join(lines))
    assert repository.hg('delegate', '--pending', check=False).returncode
    assert not world.deploys()
