"""The receiver is started while the push is still received, and is no push's
business until that is accepted."""

from __future__ import annotations

import time

import pytest
import verdict
from receivers import WAIT, Receiver
from repositories import Clone, Repository, RunningPush
from waiting import until
from world import World


def configure(receiver: Receiver, *hooks: str, more: str = '') -> None:
    lines = ''.join(f'{hook}\n' for hook in hooks)
    receiver.serve(f'{more}[hooks]\n{lines}')


@pytest.fixture
def receiver(world: World, repository: Repository) -> Receiver:
    receiver = Receiver(world, repository)
    receiver.install()
    configure(receiver)
    return receiver


def hold(receiver: Receiver) -> str:
    """A hook in which pushes wait until release()."""
    go = receiver.world.server.home / 'go'
    go.unlink(missing_ok=True)
    return f'pretxnchangegroup.h = until [ -e {go} ]; do sleep 0.02; done'


def release(receiver: Receiver) -> None:
    receiver.world.server.write('go', '')


def begun(receiver: Receiver) -> set[int]:
    """Its processes that began with being asked to stand by."""
    pids = receiver.processes('delegate-receive')
    return {pid for pid in pids if _stood_by(pid)}


def _stood_by(pid: int) -> bool:
    try:
        with open(f'/proc/{pid}/environ', 'rb') as file:
            asked = b'SSH_ORIGINAL_COMMAND=hg-delegate 1 blog standby'
            return asked in file.read().split(b'\0')
    except OSError:
        return False


def begin(receiver: Receiver, clone: Clone) -> RunningPush:
    """A push that a hook holds, while a receiver stands by."""
    before = begun(receiver)
    push = clone.start_push('-f')
    until(lambda: begun(receiver) - before)
    return push


def test_it_stands_by_and_then_deploys(
    receiver: Receiver, clone: Clone
) -> None:
    configure(receiver, hold(receiver))
    for _ in range(2):
        node = clone.commit()
        push = begin(receiver, clone)
        assert node not in receiver.runs()
        release(receiver)
        done = push.finish()
        assert verdict.last(done) == verdict.deployed(node)
        assert receiver.all_runs()[-1] == node
        configure(receiver, hold(receiver))
    assert len(receiver.runs()) == 2


@pytest.mark.parametrize(
    ('hook', 'more'),
    [('pretxnclose.no = false', ''), ('', 'blog:when = none()\n')],
    ids=['rejected', 'for no target'],
)
def test_for_nothing_it_ends_without_a_word(
    receiver: Receiver, clone: Clone, hook: str, more: str
) -> None:
    configure(receiver, hold(receiver), hook, more=more)
    clone.commit()
    push = begin(receiver, clone)
    release(receiver)
    done = push.finish(check=False)
    assert b'delegate' not in b'\n'.join(done.remote)
    until(lambda: not receiver.processes('delegate-receive'))
    assert not receiver.runs()
    assert not receiver.state.exists() and not receiver.clone.exists()


def test_who_waits_for_a_turn_keeps_no_receiver(
    receiver: Receiver, world: World, clone: Clone
) -> None:
    receiver.todo(WAIT)
    first_node = clone.commit()
    first = clone.start_push()
    first.wait_for(b'blog| begun')
    other = world.clone(receiver.repository)
    last_node = other.commit()
    configure(receiver, hold(receiver))
    running = begun(receiver)
    second = begin(receiver, other)
    release(receiver)
    second.wait_for(b'waiting for delegation 1 of ')
    until(lambda: begun(receiver) <= running)
    assert receiver.runs() == [first_node]
    receiver.account.write('go', '')
    assert verdict.last(first.finish()) == verdict.deployed(first_node)
    assert verdict.last(second.finish()) == verdict.deployed(last_node)
    assert receiver.all_runs() == [first_node, last_node]


def test_one_that_is_taken_along_runs_nothing(
    receiver: Receiver, world: World, clone: Clone
) -> None:
    receiver.todo(WAIT)
    nodes, pushes = [], []
    for each in (clone, *(world.clone(receiver.repository) for _ in '12')):
        nodes.append(each.commit())
        pushes.append(each.start_push('-f'))
        if len(pushes) == 1:
            pushes[0].wait_for(b'blog| begun')
        else:
            pushes[-1].wait_for(b'waiting for delegation 1 of ')
    receiver.account.write('go', '')
    for push, node in zip(pushes, (nodes[0], nodes[2], nodes[2])):
        assert verdict.last(push.finish()) == verdict.deployed(node)
    assert receiver.all_runs() == [nodes[0], nodes[2]]


def test_one_that_has_ended_meanwhile_is_started_again(
    receiver: Receiver, clone: Clone
) -> None:
    configure(receiver, hold(receiver))
    receiver.install(timeout='1s')
    node = clone.commit()
    push = begin(receiver, clone)
    until(lambda: not begun(receiver))
    time.sleep(0.5)  # nothing shows when the server has heard of it
    receiver.install()
    release(receiver)
    assert verdict.last(push.finish()) == verdict.deployed(node)
    assert receiver.all_runs() == [node]


@pytest.mark.once
@pytest.mark.parametrize(
    'more', ['', 'blog:receiver = yes\nblog:command = x\n']
)
def test_no_other_program_is_asked_to_stand_by(
    world: World, repository: Repository, clone: Clone, more: str
) -> None:
    url = f'ssh://{world.deploy.name}@localhost:{world.port}'
    repository.hgrc(f'[delegate]\nblog = {url}\n{more}')
    node = clone.commit()
    assert verdict.last(clone.push()) == verdict.deployed(node)
    (deploy,) = world.deploys()
    assert 'standby' not in deploy.command
