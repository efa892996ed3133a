"""A receiver that stands by while a push is still received."""

from __future__ import annotations

import json
import subprocess
import time

import protocols
import pytest
from receivers import WAIT, Receiver, commit, new_id, read_until
from repositories import Clone, Repository
from world import World

REQUEST = 'hg-delegate 1 blog standby'


@pytest.fixture
def receiver(world: World, repository: Repository) -> Receiver:
    receiver = Receiver(world, repository)
    receiver.install()
    return receiver


def stand_by(receiver: Receiver) -> subprocess.Popen[bytes]:
    """A session of it, once the receiver waits for its input."""
    before = set(receiver.processes('delegate-receive'))
    process = receiver.start(REQUEST)
    while not _waiting(receiver, before):
        assert process.poll() is None
        time.sleep(0.05)
    return process


def _waiting(receiver: Receiver, before: set[int]) -> bool:
    new = set(receiver.processes('delegate-receive')) - before
    called = []
    for pid in new:
        try:
            with open(f'/proc/{pid}/wchan') as file:
                called.append(file.read())
        except OSError:
            pass
    return any('poll' in name or 'select' in name for name in called)


def send(process: subprocess.Popen[bytes], data: bytes) -> tuple[int, bytes]:
    """Its exit status and output, once DATA was all of its input."""
    out, error = process.communicate(data, timeout=120)
    assert not error, error
    return process.returncode, out


def test_it_deploys_what_its_object_names(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo('echo deployed\n')
    for _ in range(2):
        waiting = stand_by(receiver)
        # which is pushed only now
        node, id = commit(clone), new_id()
        _, data = protocols.deploy(node, id=id)
        assert send(waiting, data) == (0, b'deployed\n')
        assert receiver.status(id)['state'] == 'succeeded'
        assert receiver.runs()[-1] == node
    again = receiver.deploy(node, id=id)
    assert (again.returncode, again.stdout) == (0, b'deployed\n')
    assert len(receiver.all_runs()) == 2


@pytest.mark.once
def test_without_an_object_it_ends_without_a_word(receiver: Receiver) -> None:
    assert send(stand_by(receiver), b'') == (0, b'')
    assert not receiver.state.exists() and not receiver.clone.exists()
    assert receiver.all_runs() == []


@pytest.mark.once
def test_it_does_not_outlive_its_connection(receiver: Receiver) -> None:
    waiting = stand_by(receiver)
    waiting.kill()
    waiting.communicate()
    began = time.monotonic()
    while receiver.processes('delegate-receive'):
        assert time.monotonic() < began + 10
        time.sleep(0.02)
    assert not receiver.state.exists()


@pytest.mark.once
def test_it_keeps_nobody_waiting(receiver: Receiver, clone: Clone) -> None:
    first = commit(clone)
    assert receiver.deploy(first).returncode == 0
    waiting = stand_by(receiver)
    second = receiver.deploy(commit(clone))
    assert (second.returncode, second.stdout) == (0, b'')
    # and is told of what has come meanwhile
    _, data = protocols.deploy(first)
    assert send(waiting, data) == (0, b'')
    assert receiver.all_runs()[-1] == first


def test_what_it_runs_outlives_its_connection(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo(WAIT)
    id, node = new_id(), commit(clone)
    waiting = stand_by(receiver)
    assert waiting.stdin
    _, data = protocols.deploy(node, id=id)
    waiting.stdin.write(data)
    waiting.stdin.close()
    waiting.stdin = None
    read_until(waiting, b'begun')
    waiting.kill()
    waiting.communicate()
    receiver.account.write('go', '')
    again = receiver.deploy(node, id=id)
    assert (again.returncode, again.stdout) == (0, b'begun\ndone\n')
    assert receiver.all_runs() == [node]


@pytest.mark.once
@pytest.mark.parametrize(
    ('data', 'said'),
    [
        (b'{', b'the object is not JSON'),
        (json.dumps(protocols.content('0' * 40)).encode(), b'node of the'),
        (protocols.deploy('1' * 40, target='other')[1], b"target is 'other'"),
    ],
)
def test_an_object_of_another_kind_is_refused(
    receiver: Receiver, data: bytes, said: bytes
) -> None:
    waiting = stand_by(receiver)
    out, error = waiting.communicate(data, timeout=60)
    assert (waiting.returncode, out) == (2, b'')
    assert said in error
    assert not receiver.state.exists()


@pytest.mark.once
def test_to_wait_in_vain_is_no_success(receiver: Receiver) -> None:
    receiver.install(timeout='1s')
    waiting = receiver.start(REQUEST)
    assert waiting.wait(60) == 2
    assert waiting.stdin
    waiting.stdin.close()
    waiting.stdin = None
    _, said = waiting.communicate()
    assert said == b'delegate-receive: standard input has no end after 1 s\n'
