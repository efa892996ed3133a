"""The receiver by way of Mercurial's chg, and of a shell that stays between:
either tells sshd a status where the script died by a signal."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
from collections.abc import Iterator

import protocols
import pytest
import verdict
from accounts import ROOT
from by_hand import check
from receivers import WAIT, Receiver
from repositories import Clone, Repository
from waiting import until
from world import World

pytestmark = pytest.mark.skipif(
    not shutil.which('chg'), reason='chg is not in every package of Mercurial'
)

CHG = 'env CHGHG="$HOME/hg" CHGSOCKNAME="$HOME/.chg" chg'
HG = '#!/bin/sh\nexec {} "$@"\n'


def install(receiver: Receiver, line: str, *more: str, **options: str) -> None:
    """LINE, in which HG stands for an hg, is the deploy account's command."""
    world, account = receiver.world, receiver.account
    receiver.install()  # its script
    account.write('hg', HG.format(shlex.join(world.hg)), 0o755)
    words = [*receiver.command(**options), *more][len(world.hg) :]
    key = world.key(world.server)
    account.authorize(key, line.format(f'{CHG} {shlex.join(words)}'))


def servers(receiver: Receiver) -> list[int]:
    return receiver.processes('--cmdserver chgunix')


@pytest.fixture
def receiver(world: World, repository: Repository) -> Iterator[Receiver]:
    receiver = Receiver(world, repository)
    install(receiver, 'exec {}')
    receiver.serve()
    yield receiver
    for pid in servers(receiver):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_one_server_serves_many_pushes(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo(WAIT)
    nodes = [clone.commit()]
    push = clone.start_push()
    push.wait_for(b'blog| begun')
    receiver.account.write('go', '')
    assert verdict.last(push.finish()) == verdict.deployed(nodes[0])
    first = servers(receiver)
    nodes += [clone.commit()]
    assert verdict.last(clone.push()) == verdict.deployed(nodes[1])
    until(lambda: servers(receiver) == first)
    assert receiver.runs() == nodes
    # nothing of the first session is left in it
    asked = receiver.environment()
    assert [asked['HG_PREVIOUS'], asked['HG_NODE']] == nodes
    assert not any(name.startswith(('SSH_', 'CHG')) for name in asked)


@pytest.mark.once
def test_the_lines_environment_is_read_at_each_push(
    receiver: Receiver, clone: Clone
) -> None:
    clone.commit()
    clone.push()
    install(receiver, 'exec {}', '--env', 'WORD=new')
    receiver.serve()
    clone.commit()
    clone.push()
    assert receiver.environment()['WORD'] == 'new'


@pytest.mark.once
@pytest.mark.parametrize('line', ['exec {}', '{}; exit $?'])
@pytest.mark.parametrize(
    ('todo', 'reason'),
    [
        ('exit 3', 'exit status 3'),
        ('exit 137', 'exit status 137'),
        ('kill -KILL $$', 'killed by signal KILL'),
    ],
)
def test_the_end_of_a_script_is_told(
    receiver: Receiver, clone: Clone, line: str, todo: str, reason: str
) -> None:
    install(receiver, line)
    receiver.todo(todo)
    clone.commit()
    assert verdict.among(clone.push().remote) == [verdict.failed(reason)]


@pytest.mark.once
def test_a_shell_between_hides_no_signal(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.account.authorize(
        receiver.world.key(receiver.world.server),
        f'{shlex.join(receiver.command())}; exit $?',
    )
    receiver.todo('kill -SEGV $$')
    clone.commit()
    ends = verdict.among(clone.push().remote)
    assert ends == [verdict.failed('killed by signal SEGV')]


@pytest.mark.once
def test_cancelled_and_refused_it_leaves_the_server_alone(
    receiver: Receiver, clone: Clone
) -> None:
    clone.commit()
    clone.push()
    first = servers(receiver)
    receiver.todo('trap "" TERM\n' + WAIT)
    clone.commit()
    push = clone.start_push()
    push.wait_for(b'blog| begun')
    receiver.repository.hg('delegate-cancel', '2')
    (end,) = verdict.among(push.finish().remote)
    assert end.state == 'failed' and end.detail.startswith('cancelled by ')
    assert not receiver.processes(f'{receiver.account.home}/script')
    receiver.serve('[hooks]\npretxnchangegroup.no = sleep 0.5; false\n')
    clone.commit()
    clone.push(check=False)
    until(lambda: servers(receiver) == first)
    assert len(receiver.runs()) == 2


@pytest.mark.once
@pytest.mark.skipif(not ROOT, reason='one account for all')
def test_a_box_has_no_way_to_the_server(
    receiver: Receiver, clone: Clone
) -> None:
    install(receiver, 'exec {}', '--box', run='./deploy.sh')
    home = receiver.account.home
    clone.commit(files={'deploy.sh': f'#!/bin/sh\nls -A ~ {home}\nexit 3\n'})
    (clone.path / 'deploy.sh').chmod(0o755)
    for _ in range(2):
        clone.commit()
        push = clone.push()
        assert verdict.among(push.remote) == [verdict.failed('exit status 3')]
        assert not any(b'chg' in line for line in push.remote)
    assert (home / '.chg').is_symlink()


@pytest.mark.once
def test_what_runs_goes_on_without_its_connection(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo(WAIT)
    node = clone.commit()
    push = clone.start_push()
    push.wait_for(b'blog| begun')
    for pid in receiver.processes('chg --config'):
        os.kill(pid, signal.SIGKILL)
    for pid in receiver.followers():
        if pid not in servers(receiver):
            os.kill(pid, signal.SIGKILL)
    receiver.account.write('go', '')
    assert verdict.last(push.finish()) == verdict.deployed(node)
    assert receiver.runs() == [node]


@pytest.mark.once
def test_many_at_once_find_no_server_yet(
    receiver: Receiver, clone: Clone
) -> None:
    nodes = [clone.commit() for _ in range(6)]
    clone.deliver()
    asked = [receiver.start(*protocols.deploy(node)) for node in nodes]
    for process in asked:
        assert process.communicate(timeout=120) == (b'', b'')
        assert process.returncode == 0
    assert sorted(receiver.runs()) == sorted(nodes)
    # whoever's socket was replaced ends by itself
    until(lambda: len(servers(receiver)) == 1)


@pytest.mark.once
@pytest.mark.parametrize('line', ['exec env CHGHG=/none {}', '/none/{}'])
def test_check_says_that_chg_cannot_be_started(
    receiver: Receiver, line: str
) -> None:
    receiver.account.authorize(
        receiver.world.key(receiver.world.server),
        line.format('chg delegate-receive --clone x --source y --run z'),
    )
    found, _status = check(receiver.repository)
    (said,) = [f for f in found if 'does not answer as the' in f['message']]
    assert said['remedy'].startswith('correct how chg is started, or use hg,')
