"""Web servers that end what they have started, each in its own way."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import pytest
from delegations import log
from deploys import STEPS
from hgrc import targets
from repositories import Clone, Repository, RunningPush
from waiting import until
from webservers import lighttpd, uwsgi_of_root
from world import World

pytestmark = pytest.mark.once


@contextlib.contextmanager
def live(world: World, clone: Clone, url: str) -> Iterator[RunningPush]:
    """A push of which one line has come while its deploy runs; afterwards the
    deploy may go on."""
    before = len(world.deploys())
    clone.commit()
    push = clone.start_push(url)
    push.wait_for(b'blog| step 1')
    assert world.deploys()[before].ended is None
    yield push
    for step in (1, 2, 3):
        world.deploy.write(f'go{step}', '')


def is_deployed(repository: Repository, clone: Clone) -> Callable[[], bool]:
    node = clone.tip()

    def look() -> bool:
        row = log(repository)[0]
        return (row['state'], row['node']) == ('succeeded', node)

    return look


def test_lighttpd_takes_no_delegation_with_it(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.forced_command(STEPS)
    with lighttpd(world, repository) as url:
        with live(world, ready, url) as push:
            push.kill()
            # lighttpd ends the CGI program of a client that has gone
            until(lambda: 'hgweb.cgi' not in str(world.living()))
            push.finish(check=False)
        until(is_deployed(repository, ready))
        for step in (1, 2, 3):
            (world.deploy.home / f'go{step}').unlink()
        with live(world, ready, url) as push:
            pid = int(world.server.read('lighttpd.pid'))
            os.kill(pid, signal.SIGKILL)
            assert push.finish(check=False).returncode
        until(is_deployed(repository, ready))


def test_uwsgi_that_root_starts_needs_a_home_and_takes_no_delegation_with_it(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.forced_command(STEPS)
    identity = 'blog:identity = ~/.ssh/id_ed25519\n'
    repository.hgrc(targets(world, more=identity))
    ready.commit()
    with uwsgi_of_root(world, repository) as url:
        ready.push(url)
    (row,) = log(repository)
    assert row['state'] == 'pending'
    mine = f'~{world.server.name}'
    assert row['remedy'] == (
        f"HOME is another account's: run hg with HOME={mine}"
    )
    limit, home = ('--harakiri', '5'), os.path.expanduser(mine)
    with uwsgi_of_root(world, repository, *limit, home=home) as url:
        with live(world, ready, url) as push:
            assert push.finish(check=False).returncode
        until(is_deployed(repository, ready))
