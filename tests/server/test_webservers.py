"""Through a web server a pusher hears what hg serve lets him hear."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import urllib.parse
from collections.abc import Callable

import pytest
import verdict
from delegations import log
from deploys import STEPS
from hgrc import targets
from pages import publish
from repositories import Clone, Repository
from waiting import until
from webservers import apache, cgi, gunicorn, hg_serve, proxy, uwsgi, waitress
from world import World


@pytest.mark.parametrize(
    ('server', 'options'),
    [
        (gunicorn, '--worker-class sync'),
        (gunicorn, '--worker-class gthread'),
        (uwsgi, '--enable-threads'),
        (uwsgi, ''),
        (waitress, ''),
        (apache, ''),
        (cgi, ''),
        (proxy, ''),
    ],
)
def test_each_line_arrives_while_the_deploy_still_runs(
    world: World,
    repository: Repository,
    ready: Clone,
    server: Callable[..., contextlib.AbstractContextManager[str]],
    options: str,
) -> None:
    world.forced_command(STEPS)
    node = ready.commit()
    with server(world, repository, *options.split()) as url:
        push = ready.start_push(url)
        for step in (1, 2, 3):
            push.wait_for(b'blog| step %d' % step)
            assert world.deploys()[0].ended is None
            world.deploy.write(f'go{step}', '')
        done = push.finish()
    assert verdict.last(done) == verdict.deployed(node)


@pytest.mark.parametrize(
    ('server', 'options'),
    [
        (gunicorn, '--worker-class sync'),
        (gunicorn, '--worker-class gthread --max-requests 1'),
        (uwsgi, ''),
        (apache, ''),
        (cgi, ''),
    ],
)
def test_a_pusher_who_goes_away_stops_nothing(
    world: World,
    repository: Repository,
    ready: Clone,
    server: Callable[..., contextlib.AbstractContextManager[str]],
    options: str,
) -> None:
    world.forced_command(STEPS)
    ready.commit()
    with server(world, repository, *options.split()) as url:
        push = ready.start_push(url)
        push.wait_for(b'blog| step 1')
        push.kill()
        for step in (1, 2, 3):
            world.deploy.write(f'go{step}', '')
        until(lambda: log(repository)[0]['state'] == 'succeeded')


@pytest.mark.once
@pytest.mark.parametrize(
    ('server', 'options'),
    [(hg_serve, ''), (gunicorn, '--worker-class gthread --threads 4')],
)
def test_who_stops_reading_is_let_go(
    world: World,
    repository: Repository,
    ready: Clone,
    server: Callable[..., contextlib.AbstractContextManager[str]],
    options: str,
) -> None:
    """A pusher, and a reader of the page. After 2 s, not a minute."""
    publish(world, 'output')
    impatient = world.server.write(
        'impatient.py',
        'import importlib\n'
        'from mercurial import extensions\n'
        'def extsetup(ui):\n'
        '    name = extensions.find(b"hgext_delegate").__name__\n'
        '    name += ".extension.http_reply"\n'
        '    importlib.import_module(name).PATIENCE = 2\n',
    )
    enabled = f'[extensions]\nimpatient = {impatient}\n'
    repository.hgrc(targets(world) + enabled)
    # more than the buffers of both ends take, once both are there
    flood = 'echo begin; cat >object\n. ./hold\nseq -f %01000.0f 20000\n'
    world.forced_command(flood)
    ready.commit()

    def readers() -> list[str]:
        logs = f'{repository.path}/.hg/delegate/log/'
        found = []
        for pid, command in world.living().items():
            with contextlib.suppress(OSError):
                if 'delegate --pending' not in command.replace("'", ''):
                    names = os.listdir(f'/proc/{pid}/fd')
                    ends = [os.readlink(f'/proc/{pid}/fd/{n}') for n in names]
                    found += [end for end in ends if end.startswith(logs)]
        return found

    stack = contextlib.ExitStack()
    with server(world, repository, *options.split()) as url, stack:
        push = ready.start_push(url)
        push.wait_for(b'blog| begin')
        place = urllib.parse.urlsplit(url)
        address = (place.hostname, place.port or 80)
        reader = stack.enter_context(socket.create_connection(address))
        page = f'{place.path}/raw-delegations/1'
        reader.sendall(f'GET {page} HTTP/1.0\r\n\r\n'.encode())
        until(lambda: len(readers()) == 2)
        os.kill(push.process.pid, signal.SIGSTOP)
        world.deploy.write('go', '')
        until(lambda: not readers())
        until(lambda: log(repository)[0]['state'] == 'succeeded')
        push.kill()


@pytest.mark.parametrize('server', [gunicorn, uwsgi, apache])
def test_a_push_that_does_not_wait_is_delegated_by_itself(
    world: World,
    repository: Repository,
    ready: Clone,
    server: Callable[..., contextlib.AbstractContextManager[str]],
) -> None:
    repository.hgrc(targets(world, more='blog:wait = no\n'))
    node = ready.commit()
    with server(world, repository) as url:
        assert verdict.last(ready.push(url)) == verdict.handed_over(1)
        until(lambda: log(repository)[0]['state'] == 'succeeded')
    assert log(repository)[0]['node'] == node


def test_a_process_of_its_own_knows_what_hgweb_alone_was_told(
    world: World,
) -> None:
    repository = world.repository(enable=False)
    clone = world.clone(repository)
    conf = f'[extensions]\nhgext_delegate = {world.extension}\n'
    conf += targets(world, more='blog:wait = no\n')
    node = clone.commit()
    with gunicorn(world, repository, conf=conf) as url:
        push = clone.push(url)
        assert verdict.last(push) == verdict.handed_over(1)
        until(lambda: any(deploy.ended for deploy in world.deploys()))
    assert world.deploys()[0].command.endswith(node)


def test_what_the_repository_says_counts_for_a_process_of_its_own(
    world: World,
) -> None:
    other = world.others[0]
    other.write('forced', '#!/bin/sh\n. ./record\n', 0o755)
    other.authorize(world.key(world.server), f'{other.home}/forced')
    elsewhere = f'ssh://{other.name}@localhost:{world.port}'
    repository = world.repository(hgrc=f'[delegate]\nblog = {elsewhere}\n')
    clone = world.clone(repository)
    clone.commit()
    conf = targets(world, more='blog:wait = no\n')
    with gunicorn(world, repository, conf=conf) as url:
        assert verdict.last(clone.push(url)).state == 'handed over'
        until(lambda: any(deploy.ended for deploy in world.deploys(other)))
    assert not world.deploys()


@pytest.mark.once
@pytest.mark.parametrize('server', [hg_serve, waitress])
def test_a_server_that_is_stopped_takes_no_delegation_with_it(
    world: World,
    repository: Repository,
    ready: Clone,
    server: Callable[..., contextlib.AbstractContextManager[str]],
) -> None:
    world.forced_command(STEPS)
    ready.commit()
    with server(world, repository) as url:
        runs = ready.start_push(url)
        runs.wait_for(b'blog| step 1')
        other = world.clone(repository)
        other.commit()
        waits = other.start_push(url)
        waits.wait_for(b'waiting for delegation 1')
    # it ends at once, or the fixture would have given up
    for push in (runs, waits):
        assert push.finish(check=False).returncode
    for step in (1, 2, 3):
        world.deploy.write(f'go{step}', '')
    until(
        lambda: [row['state'] for row in log(repository)] == ['succeeded'] * 2
    )


def its_own_limit(_world: World) -> None:
    """The server itself ends a worker that takes too long."""


def kill_9(world: World) -> None:
    living = world.living().items()
    os.kill(max(pid for pid, line in living if ' gunicorn ' in line), 9)


def apachectl_graceful(world: World) -> None:
    text = (world.server.home / 'apache.pid').read_text('ascii')
    os.kill(int(text), signal.SIGUSR1)


@pytest.mark.once
@pytest.mark.parametrize(
    ('server', 'options', 'end'),
    [
        (gunicorn, '--timeout 2', its_own_limit),
        (gunicorn, '--timeout 60', kill_9),
        (uwsgi, '--master --harakiri 5', its_own_limit),
        (apache, '', apachectl_graceful),
    ],
)
def test_a_worker_that_is_ended_takes_no_delegation_with_it(
    world: World,
    repository: Repository,
    ready: Clone,
    server: Callable[..., contextlib.AbstractContextManager[str]],
    options: str,
    end: Callable[[World], None],
) -> None:
    world.forced_command(STEPS)
    node = ready.commit()
    with server(world, repository, *options.split()) as url:
        push = ready.start_push(url)
        push.wait_for(b'blog| step 1')
        end(world)
        # Mercurial's own words: the reply was cut
        assert push.finish(check=False).returncode
        for step in (1, 2, 3):
            world.deploy.write(f'go{step}', '')
        until(lambda: log(repository)[0]['state'] == 'succeeded')
        assert log(repository)[0]['node'] == node
        # as docs/http.rst tells whoever has seen a reply cut
        assert b'no changes found' in ready.push(url, check=False).stdout
        node = ready.commit()
        assert verdict.last(ready.push(url)) == verdict.deployed(node)


@pytest.mark.once
def test_a_push_that_comes_to_nothing_leaves_no_process(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(targets(world) + '[hooks]\npretxnclose.no = false\n')
    ready.commit()
    with gunicorn(world, repository) as url:
        assert ready.push(url, check=False).returncode == 255
        until(
            lambda: not [x for x in world.living().values() if 'delegate' in x]
        )
    assert not world.deploys()


@pytest.mark.parametrize('server', [gunicorn, apache])
def test_who_has_logged_in_is_the_pusher(
    world: World,
    repository: Repository,
    ready: Clone,
    server: Callable[..., contextlib.AbstractContextManager[str]],
) -> None:
    repository.hgrc(targets(world) + '[web]\nallow-push = alice\n')
    ready.commit()
    with server(world, repository, password=True) as url:
        refused = ready.push(url, check=False)
        assert refused.returncode == 255
        assert not world.deploys()
        ready.push(url.replace('://', '://alice:secret@'))
    (deploy,) = world.deploys()
    (push,) = deploy.context['pushes']
    assert push['pusher'] == 'alice'
    assert 'secret' not in deploy.input.decode('ascii')


@pytest.mark.once
def test_who_has_logged_in_at_the_proxy_is_the_pusher(
    world: World, repository: Repository, ready: Clone
) -> None:
    # as docs/hosts/hgweb.rst has it
    named = 'user-variables = HTTP_X_FORWARDED_USER\n'
    repository.hgrc(targets(world, more=named))
    ready.commit()
    with proxy(world, repository) as url:
        ready.push(url)
    (deploy,) = world.deploys()
    assert deploy.context['pushes'][0]['pusher'] == 'alice'
