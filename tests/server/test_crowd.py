"""Many push at once: one delegation at a time, in order, and few of them."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator

import pytest
import servers
import verdict
from delegations import states
from deploys import check_turns
from hgrc import targets
from repositories import Clone, Push, Repository
from sources import CHECKOUT
from waiting import until
from world import HELD, World

pytestmark = pytest.mark.once


BRANCHES = 10

DEPLOY = """\
. ./record
echo begun
sleep 1
echo deployed
"""


def crowd(world: World, repository: Repository) -> list[tuple[Clone, str]]:
    """Two pushers for each of BRANCHES lines of development, with a clone and
    a node of their own: of each two, one node is the other's parent."""
    first = world.clone(repository)
    first.hg('debugbuilddag', '+1:base' + '<base+2' * BRANCHES)
    said = first.hg('log', '-r', '1:', '-T', '{node}\n').stdout.decode()
    first.push('-r', '0')
    pairs = []
    for node in said.split():
        path = first.path.with_name(f'at-{node[:12]}')
        owner = world.pusher
        pairs.append(
            (Clone(owner, owner.copy(first.path, path), first.program), node)
        )
    return pairs


def push_all(pairs: list[tuple[Clone, str]], *urls: str) -> list[Push]:
    """Let all push at once, in turn to URLS ('' is ssh), to their ends."""
    running = [
        clone.start_push('-f', '-r', node, url or 'default')
        for (clone, node), url in zip(pairs, itertools.cycle(urls))
    ]
    return [push.finish(check=False, timeout=300) for push in running]


@contextlib.contextmanager
def threads(world: World, repository: Repository) -> Iterator[str]:
    """The URL of REPOSITORY on a web server that has a thread per request."""
    config = world.server.write(
        'threads.conf',
        f'[paths]\nr = {repository.path}\n'
        '[web]\npush_ssl = no\nallow-push = *\n',
    )
    port = servers.free_port()
    source = (CHECKOUT / 'tests/lib/wsgi_threads.py').read_text('utf-8')
    script = world.server.write('wsgi_threads.py', source)
    command = [world.python, str(script), str(config), str(port)]
    with world.http(command, port) as url:
        yield f'{url}/r'


def check(world: World, repository: Repository, pushes: list[Push]) -> None:
    # 1: somebody had already pushed the child
    assert {push.returncode for push in pushes} <= {0, 1}
    said = repository.hg('log', '-r', '0:', '-T', '{node}\n').stdout
    nodes = said.decode().split()
    assert len(nodes) == 1 + 2 * BRANCHES
    deploys = world.deploys()
    revisions = [nodes.index(deploy.context['node']) for deploy in deploys]
    # always on to what was pushed later, and to the last of all in the end
    assert revisions == sorted(set(revisions))
    assert revisions[-1] == len(nodes) - 1
    check_turns(deploys)
    told = [p['node_last'] for d in deploys for p in d.context['pushes']]
    assert len(told) == len(set(told))
    made = [p for p in pushes if any(b'added ' in line for line in p.remote)]
    # and the one that brought the base
    assert len(told) == len(made) + 1
    assert len(deploys) < len(told) * 3 / 4
    for push in made:
        end = verdict.among(push.remote)[-1]
        assert end.state in ('deployed', 'superseded')
    log = json.loads(repository.hg('delegate-log', '-l99', '-Tjson').stdout)
    assert {row['state'] for row in log} == {'succeeded', 'superseded'}
    assert len(log) == len(told)


def test_a_crowd_ends_with_the_newest_and_few_deploys(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world))
    world.forced_command(DEPLOY)
    pairs = crowd(world, repository)
    with threads(world, repository) as url:
        pushes = push_all(pairs, '', url)
    check(world, repository, pushes)


def test_pushes_that_nobody_waits_for_need_one_process(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, more='blog:wait = no\n'))
    world.forced_command(HELD)
    for _ in range(8):
        node = clone.commit()
        clone.push()
    until(lambda: len(world.deploys()) == 1)

    def processes() -> list[str]:
        commands = world.living().values()
        return [line for line in commands if 'delegate --pending' in line]

    # one runs, and as many have seen that and are about to end
    until(lambda: len(processes()) == 1)
    world.deploy.write('go', '')
    until(lambda: not processes())
    assert [deploy.context['node'] for deploy in world.deploys()][-1] == node
    assert len(world.deploys()) == 2
    assert 'pending' not in states(repository)
