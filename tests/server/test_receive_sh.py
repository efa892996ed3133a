"""contrib/receive.sh, for a deploy account without Mercurial."""

from __future__ import annotations

import shlex

import protocols
import pytest
import receivers
from receivers import WAIT, Receiver, read_until
from repositories import Clone, Repository
from sources import CHECKOUT
from world import World

SCRIPT = CHECKOUT / 'contrib' / 'receive.sh'
NODE = '0123456789abcdef' * 2 + '01234567'


@pytest.fixture
def receiver(world: World, repository: Repository) -> Receiver:
    """The same, but for the program: what is tested is receive.sh."""
    account = world.deploy
    path = account.write('receive.sh', SCRIPT.read_text(), 0o755)
    script = account.write('script', receivers.SCRIPT, 0o755)
    command = shlex.join([str(path), str(script)])
    account.authorize(world.key(world.server), command)
    return Receiver(world, repository)


def test_it_has_few_lines() -> None:
    text = SCRIPT.read_text().replace('\\\n', '')
    lines = [line for line in text.splitlines() if not line.startswith('#')]
    assert len(lines) <= 16


def test_it_runs_the_script_with_what_it_was_told(receiver: Receiver) -> None:
    receiver.todo('cat "$DELEGATE_JSON"; pwd; umask; echo oops >&2; exit 3\n')
    request, data = protocols.deploy(NODE)
    ended = receiver.ask(request, data)
    assert ended.returncode == 3
    home = str(receiver.account.home).encode()
    # what it makes a web server can read
    assert ended.stdout == data + home + b'\n0022\noops\n'
    environ = receiver.environment()
    assert environ['HG_NODE'] == NODE
    assert environ['DELEGATE_TARGET'] == 'blog'
    assert not [name for name in environ if name.startswith(('SSH_', 'LC_'))]


def test_a_push_is_deployed_through_it(
    receiver: Receiver, repository: Repository, clone: Clone
) -> None:
    world = receiver.world
    url = f'ssh://{world.deploy.name}@localhost:{world.port}'
    repository.hgrc(f'[delegate]\nblog = {url}\n')
    receiver.todo(WAIT)
    node = clone.commit()
    push = clone.start_push()
    push.wait_for(b'blog| begun')
    receiver.account.write('go', '')
    assert push.finish().remote[-2:][0] == b'blog| done'
    assert receiver.runs() == [node]


@pytest.mark.once
@pytest.mark.parametrize(
    'request_text',
    [
        '',
        'id; touch oops',
        f'hg-delegate 1 $(touch${{IFS}}oops) {NODE}',
        f'hg-delegate 1 -x {NODE}',
        f'hg-delegate 1 blog {NODE};id',
        f'hg-delegate 1 blog {NODE}\nid',
        f'hg-delegate 2 blog {NODE}',
        f'hg-delegate 1 * {NODE}',
        f'hg-delegate 1 ../x {NODE}',
        'hg-delegate 1 blog cancel',
        'length x',
        '(',
    ],
)
def test_it_refuses_anything_else(
    receiver: Receiver, request_text: str
) -> None:
    if request_text:
        ended = receiver.ask(request_text, b'')
    else:
        home = receiver.account.home
        command = [str(home / 'receive.sh'), str(home / 'script')]
        ended = receiver.account.run(command, check=False)
    assert (ended.returncode, ended.stdout) == (2, b'')
    assert ended.stderr == b'receive.sh: request refused\n'
    assert not list(receiver.account.home.rglob('*oops*'))
    assert receiver.runs() == []


def test_a_lost_connection_stops_nothing_and_the_next_waits(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo(WAIT + 'echo >~/ended; seq 100000\n')
    first = receiver.start(*protocols.deploy(NODE))
    read_until(first, b'begun')
    first.kill()
    first.communicate()
    second = receiver.start(*protocols.deploy('1' * 40))
    while len(list((receiver.account.home / 'deploys').iterdir())) < 2:
        pass
    assert receiver.runs() == [NODE]
    receiver.account.write('go', '')
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert said.startswith(b'begun\ndone\n')
    assert said.endswith(b'\n100000\n')
    assert receiver.runs() == [NODE, '1' * 40]
    logs = (receiver.account.home / 'deploys').glob('*/log')
    assert all(log.read_bytes() == said for log in logs)


def test_a_filter_that_holds_lines_loses_none(receiver: Receiver) -> None:
    receiver.todo(
        '(sleep 1; echo one; sleep 1; echo two) & echo first; exit 5\n'
    )
    ended = receiver.ask(*protocols.deploy(NODE))
    assert (ended.returncode, ended.stdout) == (5, b'first\none\ntwo\n')


def test_what_a_script_leaves_running_holds_nobody_up(
    receiver: Receiver,
) -> None:
    receiver.todo('(until [ -e ~/go ]; do sleep 0.1; done) & echo first\n')
    ended = receiver.ask(*protocols.deploy(NODE))
    assert (ended.returncode, ended.stdout) == (0, b'first\n')
    receiver.account.write('go', '')
