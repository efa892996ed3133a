"""Through gunicorn and uWSGI a pusher hears what hg serve lets him hear."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
import servers
from repositories import Clone, Repository
from test_ahead import until
from test_deploy import LAST, targets
from test_pending import log
from world import World

APPLICATION = """\
from mercurial.hgweb import hgweb
application = hgweb({config!r})
"""
# Only alice gets through, as far as hgweb knows by the server's own means.
PASSWORD = """\
import base64
hgweb, allowed = application, base64.b64encode(b'alice:secret').decode()

def application(environ, start_response):
    if environ.get('HTTP_AUTHORIZATION') != 'Basic ' + allowed:
        ask = [('WWW-Authenticate', 'Basic realm="hg"')]
        start_response('401 Unauthorized', ask)
        return []
    return hgweb({**environ, 'REMOTE_USER': 'alice'}, start_response)
"""
STEPS = """\
. ./record
for i in 1 2 3; do
  echo "step $i"
  until [ -e "go$i" ]; do sleep 0.02; done
done
"""


@contextlib.contextmanager
def served(
    world: World,
    repository: Repository,
    *command: str,
    password: bool = False,
) -> Iterator[str]:
    """Serve REPOSITORY by COMMAND as the server account; its URL."""
    config = bytes(world.web_conf([repository]))
    application = APPLICATION.format(config=config)
    if password:
        application += PASSWORD
    world.server.write('wsgi.py', application)
    port = servers.free_port()
    words = [word.replace('ADDRESS', f'127.0.0.1:{port}') for word in command]
    with world.http([world.python, *words], port) as url:
        yield f'{url}/{repository.path.name}'


def gunicorn(
    world: World,
    repository: Repository,
    *options: str,
    password: bool = False,
) -> contextlib.AbstractContextManager[str]:
    command = ['-m', 'gunicorn', '--chdir', '.', '--bind', 'ADDRESS']
    command += [*options, 'wsgi:application']
    return served(world, repository, *command, password=password)


def uwsgi(
    world: World, repository: Repository, *options: str
) -> contextlib.AbstractContextManager[str]:
    command = ['-c', 'import pyuwsgi; pyuwsgi.run()', '--http-socket']
    command += ['ADDRESS', '--wsgi', 'wsgi', '--die-on-term', *options]
    return served(world, repository, *command)


@pytest.fixture
def ready(world: World, repository: Repository, clone: Clone) -> Clone:
    repository.hgrc(targets(world))
    return clone


@pytest.mark.parametrize(
    ('server', 'options'),
    [
        (gunicorn, '--worker-class sync'),
        (gunicorn, '--worker-class gthread'),
        (uwsgi, '--enable-threads'),
        (uwsgi, ''),
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
    last = LAST.match(done.remote[-1])
    assert last and last[3].decode() == node[:12]


@pytest.mark.parametrize(
    ('server', 'options'),
    [(gunicorn, '--worker-class gthread'), (uwsgi, '--enable-threads')],
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


def test_a_worker_that_gunicorn_kills_leaves_a_lost_delegation(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.forced_command(STEPS)
    ready.commit()
    with gunicorn(world, repository, '--timeout', '2') as url:
        push = ready.start_push(url)
        push.wait_for(b'blog| step 1')
        assert push.finish(check=False).returncode
        until(lambda: log(repository)[0]['state'] == 'lost')
        for step in (1, 2, 3):
            world.deploy.write(f'go{step}', '')
        node = ready.commit()
        last = LAST.match(ready.push(url).remote[-1])
        assert last and last[3].decode() == node[:12]


def test_who_has_logged_in_is_the_pusher(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(targets(world) + '[web]\nallow-push = alice\n')
    ready.commit()
    with gunicorn(world, repository, password=True) as url:
        refused = ready.push(url, check=False)
        assert refused.returncode == 255
        assert not world.deploys()
        ready.push(url.replace('://', '://alice:secret@'))
    (deploy,) = world.deploys()
    (push,) = deploy.context['pushes']
    assert push['pusher'] == 'alice'
    assert 'secret' not in deploy.input.decode('ascii')
