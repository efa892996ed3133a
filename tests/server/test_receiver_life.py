"""hg delegate-receive: nothing but what is meant to ends a deploy."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import protocols
import pytest
from receivers import WAIT, Receiver, commit, new_id, read_until
from repositories import Clone, Repository
from waiting import until
from world import World

# A family that TERM does not end: a grandchild that ignores it, and one in a
# process group of its own, as timeout(1) makes.
FAMILY = """\
(trap '' TERM; echo >~/one; while :; do sleep 0.05; done) &
timeout 900 sh -c 'trap "" TERM; echo >~/two; while :; do sleep 0.05; done' &
trap 'echo told to end; exit 0' TERM
until [ -e ~/one ] && [ -e ~/two ]; do sleep 0.02; done
echo begun
while :; do sleep 0.05; done
"""


TERM = (
    b'signal TERM was sent to the receiver\n'
    b'(does something here use kill or pkill? nobody cancelled it)'
)


@pytest.fixture
def receiver(world: World, repository: Repository) -> Receiver:
    receiver = Receiver(world, repository)
    receiver.install()
    return receiver


@pytest.fixture
def node(receiver: Receiver, clone: Clone) -> str:
    """What there is to deploy."""
    return commit(clone)


def family(receiver: Receiver) -> list[int]:
    script = f'/bin/sh {receiver.account.home}/script'
    loops = receiver.processes('while :; do sleep')
    return loops + receiver.processes(script)


def test_a_deploy_outlives_its_connection_and_tells_the_next(
    receiver: Receiver, node: str
) -> None:
    receiver.todo(WAIT + 'exit 7\n')
    id = new_id()
    first = receiver.start(*protocols.deploy(node, id=id))
    read_until(first, b'begun')
    first.kill()
    first.communicate()
    second = receiver.start(*protocols.deploy(node, id=id, attempt=2))
    third = receiver.start(*protocols.deploy(node, id=id, attempt=3))
    read_until(second, b'begun')
    receiver.account.write('go', '')
    assert second.communicate(timeout=60)[0] == b'done\n'
    assert third.communicate(timeout=60)[0] == b'begun\ndone\n'
    assert (second.returncode, third.returncode) == (7, 7)
    late = receiver.deploy(node, id=id, attempt=4)
    assert (late.returncode, late.stdout) == (7, b'begun\ndone\n')
    assert receiver.all_runs() == [node]


@pytest.mark.once
def test_a_deploy_outlives_whatever_held_its_connection(
    receiver: Receiver, node: str
) -> None:
    receiver.todo(WAIT)
    id = new_id()
    process = receiver.start(*protocols.deploy(node, id=id))
    read_until(process, b'begun')
    (kept,) = receiver.supervisors()
    (gone,) = receiver.followers()
    os.kill(gone, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    files = {os.readlink(path) for path in Path(f'/proc/{kept}/fd').iterdir()}
    shared = {file for file in files if not file.startswith('/')}
    assert len(shared) == 1, files  # the pipe from the script
    os.kill(kept, signal.SIGHUP)
    assert receiver.status(id)['state'] == 'running'
    receiver.account.write('go', '')
    assert receiver.deploy(node, id=id).stdout == b'begun\ndone\n'
    assert receiver.all_runs() == [node]


@pytest.mark.once
@pytest.mark.parametrize('how', ['cancel', 'signal', 'channel', 'time'])
def test_what_ends_a_deploy_ends_all_that_it_started(
    receiver: Receiver, node: str, how: str
) -> None:
    if how == 'time':
        receiver.install(timeout='8s')
    receiver.todo(FAMILY)
    id = new_id()
    process = receiver.start(*protocols.deploy(node, id=id))
    read_until(process, b'begun')
    (supervisor,) = receiver.supervisors()
    if how == 'cancel':
        assert receiver.status(id, 'cancel')['state'] == 'cancelled'
    elif how == 'signal':
        os.kill(supervisor, signal.SIGTERM)
    elif how == 'channel':
        (follower,) = receiver.followers()
        os.kill(follower, signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert b'told to end\n' in out
    status, last = {
        'cancel': (125, b'cancelled'),
        'signal': (125, TERM),
        'channel': (125, TERM),
        'time': (124, b'not finished after 8 s'),
    }[how]
    assert process.returncode == status
    assert out.endswith(b'delegate-receive: %s\n' % last)
    assert not family(receiver)
    again = receiver.deploy(node, id=id)
    assert again.returncode == status
    assert again.stdout.endswith(out[-20:])
    assert receiver.all_runs() == [node]


def test_one_runs_at_a_time_and_the_next_waits(
    receiver: Receiver, node: str
) -> None:
    receiver.todo(WAIT)
    first = receiver.start(*protocols.deploy(node))
    read_until(first, b'begun')
    second = receiver.start(*protocols.deploy(node))
    read_until(second, b'waiting for another delegation in this clone')
    assert receiver.runs() == [node]
    receiver.account.write('go', '')
    for process in (first, second):
        assert process.communicate(timeout=60)[0].endswith(b'done\n')
        assert process.returncode == 0
    assert receiver.all_runs() == [node, node]


@pytest.mark.once
def test_those_who_wait_run_in_the_order_in_which_they_came(
    receiver: Receiver, clone: Clone
) -> None:
    nodes = [commit(clone) for _ in range(4)]
    receiver.todo(WAIT)
    started = []
    for node in nodes:
        started.append(receiver.start(*protocols.deploy(node)))
        read_until(started[-1], b'waiting' if started[1:] else b'begun')
    receiver.account.write('go', '')
    for process in started:
        process.communicate(timeout=60)
    assert receiver.all_runs() == nodes


@pytest.mark.once
def test_who_waits_can_be_cancelled_and_waits_no_longer_than_it_may(
    receiver: Receiver, node: str
) -> None:
    receiver.todo(WAIT)
    first = receiver.start(*protocols.deploy(node))
    read_until(first, b'begun')
    id = new_id()
    second = receiver.start(*protocols.deploy(node, id=id))
    read_until(second, b'waiting for another')
    assert receiver.status(id)['state'] == 'pending'
    assert receiver.ask(*protocols.named('cancel', id)).returncode == 0
    assert second.wait(60) == 125
    second.communicate()
    receiver.install(timeout='1s')
    third = receiver.deploy(node)
    assert third.returncode == 122
    assert b'another delegation has the clone still after 1 s' in third.stdout
    receiver.account.write('go', '')
    first.communicate(timeout=60)
    assert receiver.all_runs() == [node]


@pytest.mark.once
def test_not_too_many_wait(receiver: Receiver, node: str) -> None:
    receiver.todo(WAIT)
    waiting = [receiver.start(*protocols.deploy(node)) for _ in range(11)]
    while len(list(receiver.state.glob('*/log/*'))) < 11:
        time.sleep(0.02)
    receiver.await_run()
    refused = receiver.deploy(node)
    assert refused.returncode == 122
    assert b'10 delegations wait for this clone already' in refused.stderr
    receiver.account.write('go', '')
    for process in waiting:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert receiver.all_runs() == [node] * 11


@pytest.mark.once
def test_a_cancel_that_is_faster_than_its_deploy_wins(
    receiver: Receiver, node: str
) -> None:
    id = new_id()
    assert receiver.status(id, 'cancel')['state'] == 'cancelled'
    assert receiver.deploy(node, id=id).returncode == 125
    assert receiver.all_runs() == []
    ended = new_id()
    assert receiver.deploy(node, id=ended).returncode == 0
    assert receiver.status(ended, 'cancel')['state'] == 'succeeded'
    other = receiver.ask(*protocols.named('cancel', ended, target='other'))
    assert (other.returncode, other.stdout) == (2, b'')


@pytest.mark.once
def test_an_id_is_for_one_delegation(receiver: Receiver, node: str) -> None:
    id = new_id()
    assert receiver.deploy(node, id=id).returncode == 0
    for fields in ({'node': '7' * 40}, {'target': 'other'}):
        told = {'node': node, 'id': id, **fields}
        refused = receiver.deploy(**told)
        assert (refused.returncode, refused.stdout) == (2, b'')
        assert b'belongs to another delegation' in refused.stderr
    assert receiver.all_runs() == [node]


@pytest.mark.once
def test_a_receiver_that_is_killed_midway_is_told_and_never_repeated(
    receiver: Receiver, node: str
) -> None:
    receiver.todo(FAMILY)
    id = new_id()
    process = receiver.start(*protocols.deploy(node, id=id))
    read_until(process, b'begun')
    os.kill(receiver.supervisors()[0], signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 120
    assert b'the receiver was killed, and what the script has done' in out
    assert not family(receiver)
    assert receiver.deploy(node, id=id).returncode == 120
    assert receiver.status(id)['state'] == 'lost'
    assert receiver.all_runs() == [node]
    receiver.todo('')
    assert receiver.deploy(node).returncode == 0


@pytest.mark.once
def test_the_next_deploy_ends_what_a_killed_receiver_left(
    receiver: Receiver, node: str
) -> None:
    receiver.todo(FAMILY)
    id = new_id()
    process = receiver.start(*protocols.deploy(node, id=id))
    read_until(process, b'begun')
    process.kill()
    process.communicate()
    for pid in receiver.processes('delegate-receive'):
        os.kill(pid, signal.SIGKILL)
    assert family(receiver)
    receiver.todo('')
    assert receiver.deploy(node).returncode == 0
    assert not family(receiver)
    assert receiver.status(id)['state'] == 'lost'


def test_a_receiver_that_is_killed_before_the_script_is_replaced(
    receiver: Receiver, node: str
) -> None:
    account = receiver.account
    wait = 'until [ -e ~/go ]; do sleep 0.02; done'
    account.write('.hgrc', f'[hooks]\npre-pull = echo pull >>~/pulls; {wait}\n')
    process = receiver.start(*protocols.deploy(node))
    until((account.home / 'pulls').exists)
    (killed,) = receiver.supervisors()
    os.kill(killed, signal.SIGKILL)
    until(lambda: [pid for pid in receiver.supervisors() if pid != killed])
    account.write('go', '')
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert receiver.all_runs() == [node]


@pytest.mark.once
def test_a_damaged_record_does_not_run_again(
    receiver: Receiver, node: str
) -> None:
    id = new_id()
    receiver.deploy(node, id=id)
    assert receiver.all_runs() == [node]
    (path,) = receiver.state.glob('*/journal')
    receiver.account.write(path, 'x' * 10_000)
    again = receiver.deploy(node, id=id)
    assert again.returncode == 120
    assert b'the journal is damaged' in again.stderr
    assert b'(it is kept as %s.damaged-' % os.fsencode(path) in again.stderr
    assert receiver.all_runs() == [node]
    other = receiver.deploy(node)
    assert (other.returncode, other.stderr) == (0, b'')
