"""A page goes on while its delegation runs, where the server has threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from delegations import log
from deploys import STEPS
from pages import get, live, publish
from repositories import Clone, Repository
from waiting import until
from webservers import apache, cgi, gunicorn, hg_serve, nginx
from world import World

Server = Callable[..., contextlib.AbstractContextManager[str]]


@pytest.fixture(name='running')
def a_delegation_that_runs(
    world: World, repository: Repository, ready: Clone
) -> Iterator[None]:
    """Delegation 1, which has said 'step 1' and waits for go1."""
    publish(world, 'output')
    world.forced_command(STEPS)
    ready.commit()
    push = ready.start_push()
    push.wait_for(b'blog| step 1')
    yield
    for step in (1, 2, 3):
        world.deploy.write(f'go{step}', '')
    push.finish()


@pytest.mark.parametrize(
    ('server', 'options'),
    [
        (hg_serve, ''),
        (gunicorn, '--worker-class gthread --threads 4'),
        (apache, ''),
        (nginx, ''),
    ],
)
def test_each_line_is_there_while_the_deploy_still_runs(
    world: World,
    repository: Repository,
    running: None,
    server: Server,
    options: str,
) -> None:
    with server(world, repository, *options.split()) as url:
        # nothing waits for a list
        assert 'running' in get(f'{url}/delegations').words
        page, text = f'{url}/delegations/1', f'{url}/raw-delegations/1'
        with live(page) as shown, live(text) as raw:
            for step in (1, 2, 3):
                shown.wait_for(f'step {step}\n')
                raw.wait_for(f'step {step}\n')
                assert 'deployed' not in shown.text + raw.text
                assert 'http-equiv="refresh"' not in shown.text
                assert world.deploys()[0].ended is None
                world.deploy.write(f'go{step}', '')
            end = shown.finish().partition('step 3')[2]
            assert '<strong>blog: deployed ' in end
            assert end.rstrip().endswith('</html>')
            last = raw.finish().splitlines()[-1]
            assert last.startswith('delegate: blog: deployed ')


@pytest.mark.parametrize('server', [gunicorn, cgi])
def test_where_there_is_no_thread_the_page_loads_itself_again(
    world: World, repository: Repository, running: None, server: Server
) -> None:
    with server(world, repository) as url:
        page = get(f'{url}/delegations/1')
        assert '<meta http-equiv="refresh" content="5" />' in page.text
        assert 'step 1\n' in page.text and 'deployed' not in page.words
        said = get(f'{url}/raw-delegations/1').text
        assert said == 'step 1\ndelegate: blog: running\n'
        for step in (1, 2, 3):
            world.deploy.write(f'go{step}', '')
        until(lambda: log(repository)[0]['state'] == 'succeeded')
        page = get(f'{url}/delegations/1')
        assert 'refresh' not in page.text and 'step 3\n' in page.text
        assert 'blog: deployed' in page.words


@pytest.mark.once
def test_a_few_are_live_at_a_time_until_they_go(
    world: World, repository: Repository, running: None
) -> None:
    with hg_serve(world, repository) as url:
        url += '/delegations/1'
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(live(url)).wait_for('step 1\n')
            assert 'http-equiv="refresh"' in get(url).text
            said = get(url.replace('/delegations', '/raw-delegations')).text
            assert said.endswith('\ndelegate: blog: running\n')
        # they have gone, which the server notices when it writes
        world.deploy.write('go1', '')

        def is_live_again() -> bool:
            with live(url) as page:
                page.wait_for('step 1\n')
                return 'http-equiv="refresh"' not in page.text

        until(is_live_again)


@pytest.mark.once
def test_a_delegation_whose_process_was_killed_keeps_no_reader(
    world: World, repository: Repository, ready: Clone
) -> None:
    publish(world, 'output')
    world.forced_command(STEPS)
    ready.commit()
    push = ready.start_push()
    push.wait_for(b'blog| step 1')
    with hg_serve(world, repository) as url:
        with live(f'{url}/delegations/1') as page:
            page.wait_for('step 1\n')
            for pid, line in world.living().items():
                if 'serve --stdio' in line:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, 9)
            end = page.finish()
            assert 'the process that runs it cannot be seen' in end
        again = get(f'{url}/delegations/1')
        assert 'the process that runs it cannot be seen' in again.text
        assert 'refresh' not in again.text
    push.finish(check=False)
    world.end_processes()


@pytest.mark.once
def test_a_server_that_shows_pages_loads_no_ssh_and_starts_no_thread(
    world: World, repository: Repository, ready: Clone
) -> None:
    publish(world, 'output')
    ready.commit()
    ready.push()
    pages = ('', '/delegations', '/delegations/1', '/json-delegations')

    def threads() -> dict[int, int]:
        living = world.living().items()
        return {
            pid: len(list(Path(f'/proc/{pid}/task').iterdir()))
            for pid, line in living
            if 'gunicorn' in line
        }

    with gunicorn(world, repository) as url:
        assert get(f'{url}?cmd=capabilities').status == 200
        before = threads()
        assert [get(url + path).status for path in pages] == [200] * 4
        assert before == threads()
        for pid in before:
            maps = Path(f'/proc/{pid}/maps').read_text('utf-8')
            assert 'cryptography' not in maps
