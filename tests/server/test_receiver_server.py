"""hg delegate-receive and the server side, through a real sshd."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import verdict
from receivers import WAIT, Receiver
from repositories import Clone, Repository
from world import World


@pytest.fixture
def receiver(world: World, repository: Repository) -> Receiver:
    receiver = Receiver(world, repository)
    receiver.install()
    receiver.serve()
    return receiver


def kill_server(receiver: Receiver) -> None:
    server = [
        pid
        for pid in receiver.processes('serve --stdio')
        if Path(f'/proc/{pid}').stat().st_uid == receiver.world.server.uid
    ]
    for pid in server:
        os.kill(pid, signal.SIGKILL)


def abandoned(receiver: Receiver, clone: Clone, todo: str = WAIT) -> str:
    """Push, and kill the server once the script has begun; the node."""
    receiver.todo(todo)
    node = clone.commit()
    push = clone.start_push()
    push.wait_for(b'blog| begun')
    kill_server(receiver)
    push.finish(check=False)
    return node


def states(receiver: Receiver) -> list[tuple[str, int]]:
    """State and number of attempts of each delegation, oldest first."""
    said = receiver.repository.hg('delegate-log', '-Tjson').stdout
    return [
        (row['state'], row['attempt']) for row in reversed(json.loads(said))
    ]


def await_state(receiver: Receiver, state: str) -> None:
    while states(receiver)[-1][0] != state:
        time.sleep(0.05)


def test_a_push_is_deployed_with_live_output(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo(WAIT)
    node = clone.commit()
    push = clone.start_push()
    push.wait_for(b'blog| begun')
    receiver.account.write('go', '')
    done = push.finish()
    assert b'blog| done' in done.remote
    assert verdict.last(done) == verdict.deployed(node)
    assert receiver.all_runs() == [node]
    first, node = node, clone.commit()
    clone.push()
    assert receiver.environment()['HG_PREVIOUS'] == first
    assert receiver.environment()['HG_NODE'] == node


@pytest.mark.once
@pytest.mark.parametrize(
    ('todo', 'reason'),
    [
        ('exit 3', 'exit status 3'),
        ('kill -KILL $$', 'killed by signal KILL'),
        ('kill -SEGV $$', 'killed by signal SEGV'),
    ],
)
def test_the_end_of_a_script_is_told(
    receiver: Receiver, clone: Clone, todo: str, reason: str
) -> None:
    receiver.todo(todo)
    clone.commit()
    assert verdict.failed(reason) in verdict.among(clone.push().remote)


def test_cancelling_ends_the_script_on_the_far_side(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo('trap "" TERM\n' + WAIT)
    clone.commit()
    push = clone.start_push()
    push.wait_for(b'blog| begun')
    said = receiver.repository.hg('delegate-cancel', '1').stdout
    assert b'delegation 1 is cancelled' in said
    assert not receiver.processes(f'{receiver.account.home}/script')
    (end,) = verdict.among(push.finish().remote)
    assert end.state == 'failed' and end.detail.startswith('cancelled by ')
    assert [state for state, _ in states(receiver)] == ['cancelled']


def test_a_receiver_that_is_killed_midway_is_lost(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo(WAIT)
    clone.commit()
    push = clone.start_push()
    push.wait_for(b'blog| begun')
    for pid in receiver.supervisors():
        os.kill(pid, signal.SIGKILL)
    (end,) = verdict.among(push.finish().remote)
    assert (end.state, end.detail) == ('lost', 'the receiver was killed')
    assert [state for state, _ in states(receiver)] == ['lost']


@pytest.mark.once
@pytest.mark.parametrize('end', ['exit 0', 'exit 3'])
def test_a_receiver_that_dies_alone_is_asked_again(
    receiver: Receiver, clone: Clone, end: str
) -> None:
    receiver.todo(WAIT + end + '\n')
    node = clone.commit()
    push = clone.start_push()
    push.wait_for(b'blog| begun')
    for pid in receiver.followers():
        os.kill(pid, signal.SIGKILL)
    push.wait_for(b'the receiver has ended, and not what it runs')
    receiver.account.write('go', '')
    (verdict_,) = verdict.among(push.finish().remote)
    failed = verdict.failed('exit status 3')
    assert verdict_ == (verdict.deployed(node) if '0' in end else failed)
    assert receiver.all_runs() == [node]
    said = receiver.repository.ask('delegate-log', '1', '-T{output}').stdout
    assert said == b'begun\ndone\n'


def _settled(receiver: Receiver, node: str) -> None:
    """It has succeeded, and took as long as it ran: more than a second."""
    await_state(receiver, 'succeeded')
    said = receiver.repository.hg('delegate-log', '-Tjson').stdout
    (row,) = json.loads(said)
    assert 1.0 < row['seconds'] < 60.0
    assert receiver.all_runs() == [node]


def _finished(receiver: Receiver) -> None:
    time.sleep(1)
    receiver.account.write('go', '')
    while receiver.supervisors():
        time.sleep(0.05)


def test_whoever_looks_lets_the_receiver_be_asked(
    receiver: Receiver, clone: Clone
) -> None:
    node = abandoned(receiver, clone)
    _finished(receiver)
    said = receiver.repository.hg('delegate-log')
    assert b' pending ' in said.stdout and b'it may have run' in said.stdout
    asked = b'delegation 1 may have run: its receiver is asked about it now'
    assert asked in said.stderr
    _settled(receiver, node)


@pytest.mark.once
@pytest.mark.parametrize('way', ['another target', 'no target', 'nothing new'])
def test_any_push_lets_the_receiver_be_asked(
    receiver: Receiver, clone: Clone, way: str
) -> None:
    node = abandoned(receiver, clone)
    _finished(receiver)
    config = "blog:when = file('path:file')\n"
    if way == 'another target':
        url = f'ssh://nobody@localhost:{receiver.world.port}'
        config += f"other = {url}\nother:when = file('path:new')\n"
    receiver.serve(config)
    if way != 'nothing new':
        clone.commit(files={'new': 'text'})
    push = clone.push(check=False)
    if way == 'nothing new':
        # and its pusher hears the end of it
        assert b'blog| done' in push.remote
        assert verdict.among(push.remote) == [verdict.deployed(node)]
    else:
        asked = b'delegation 1 may have run: its receiver is asked about it now'
        assert any(asked in line for line in push.remote)
    if way != 'another target':
        _settled(receiver, node)
    else:
        while ('succeeded', 2) not in states(receiver):
            time.sleep(0.05)
    assert receiver.all_runs() == [node]


@pytest.mark.once
def test_a_push_that_brings_nothing_says_nothing_where_all_is_decided(
    receiver: Receiver, clone: Clone
) -> None:
    clone.commit()
    clone.push()
    assert clone.push(check=False).remote == []


@pytest.mark.once
def test_what_a_killed_server_has_left_running_can_be_cancelled(
    receiver: Receiver, clone: Clone
) -> None:
    abandoned(receiver, clone)
    said = receiver.repository.hg('delegate-cancel', '1').stdout
    assert b'delegation 1 is cancelled' in said and b'may go on' not in said
    assert not receiver.processes(f'{receiver.account.home}/script')
    assert states(receiver) == [('cancelled', 1)]


@pytest.mark.once
def test_what_had_succeeded_before_it_was_cancelled_has_succeeded(
    receiver: Receiver, clone: Clone
) -> None:
    abandoned(receiver, clone)
    receiver.account.write('go', '')
    while receiver.processes(f'{receiver.account.home}/script'):
        time.sleep(0.05)
    said = receiver.repository.hg('delegate-cancel', '1', check=False)
    assert b'blog: deployed ' in said.stderr
    assert states(receiver) == [('succeeded', 1)]


@pytest.mark.once
def test_what_cannot_be_cancelled_over_there_is_said(
    receiver: Receiver, clone: Clone
) -> None:
    abandoned(receiver, clone)
    receiver.serve(port=1)
    said = receiver.repository.hg('delegate-cancel', '1').stdout
    assert b'delegation 1 is cancelled' in said
    assert b'(the receiver has not ended it, it may go on: ' in said
    receiver.serve()
    said = receiver.repository.hg('delegate-cancel', '1').stdout
    assert b'delegation 1 is cancelled' in said and b'may go on' not in said
    assert not receiver.processes(f'{receiver.account.home}/script')
    again = receiver.repository.hg('delegate-cancel', '1', check=False)
    assert again.stderr.startswith(b'abort: delegation 1 is not running\n')


@pytest.mark.once
def test_what_is_given_up_on_is_ended_on_the_far_side(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.serve('blog:idle-timeout = 1\n')
    receiver.todo(WAIT)
    clone.commit()
    said = clone.push().remote
    assert verdict.failed('no output for 1 s') in verdict.among(said)
    assert not any(b'may go on' in line for line in said)
    assert not receiver.processes(f'{receiver.account.home}/script')
    assert states(receiver) == [('failed', 1)]


@pytest.mark.once
def test_what_is_cancelled_while_it_is_taken_up_again_is_ended_there(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo(WAIT)
    with proxy(receiver.world.port) as way:
        # as long as hg delegate-cancel may take to begin
        receiver.serve('blog:connect-timeout = 4\n', port=way.port)
        clone.commit()
        push = clone.start_push()
        push.wait_for(b'blog| begun')
        way.silent = True
        way.cut()
        push.wait_for(b'trying again in 1 s')
        await_state(receiver, 'running')
        said = receiver.repository.hg('delegate-cancel', '1').stdout
        push.finish()
        assert b'(the receiver has not ended it, it may go on: ' in said
        way.silent = False
        again = receiver.repository.hg('delegate-cancel', '1').stdout
        assert b'delegation 1 is cancelled' in again
        assert b'may go on' not in again
    assert not receiver.processes(f'{receiver.account.home}/script')


@pytest.mark.once
def test_what_goes_along_is_cancelled_there_as_well(
    receiver: Receiver, clone: Clone
) -> None:
    abandoned(receiver, clone)
    clone.commit()
    push = clone.start_push()
    push.wait_for(b'waiting for another delegation in this clone')
    said = receiver.repository.hg('delegate-cancel', '2').stdout
    assert b'delegation 2 is cancelled' in said
    push.finish()
    assert [state for state, _ in states(receiver)] == [
        'superseded',
        'cancelled',
    ]
    assert not receiver.processes(f'{receiver.account.home}/script')
    assert len(receiver.all_runs()) == 1


@pytest.mark.once
def test_what_had_not_begun_needs_no_receiver_to_be_cancelled(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.serve('blog:retries = 0\n', port=1)
    clone.commit()
    clone.push()
    said = receiver.repository.hg('delegate-cancel', '1').stdout
    assert b'delegation 1 is cancelled' in said and b'may go on' not in said


@pytest.mark.once
def test_what_had_begun_is_cancelled_after_an_attempt_that_had_not(
    receiver: Receiver, clone: Clone
) -> None:
    abandoned(receiver, clone)
    receiver.serve('blog:retries = 0\n', port=1)
    receiver.repository.hg('delegate', '--pending', check=False)
    assert states(receiver) == [('pending', 2)]
    receiver.serve()
    said = receiver.repository.hg('delegate-cancel', '1').stdout
    assert b'delegation 1 is cancelled' in said
    assert not receiver.processes(f'{receiver.account.home}/script')


def test_a_server_killed_midway_hears_the_outcome_of_the_only_run(
    receiver: Receiver, clone: Clone
) -> None:
    node = abandoned(receiver, clone, WAIT + 'exit 3\n')
    receiver.account.write('go', '')
    again = receiver.repository.hg('delegate', '--pending', check=False)
    assert b'blog| begun' in again.stdout and b'blog| done' in again.stdout
    assert verdict.failed('exit status 3') in verdict.among(again.stderr)
    assert receiver.all_runs() == [node]
    assert states(receiver) == [('failed', 2)]


def test_a_connection_that_is_cut_is_taken_up_again(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo(WAIT)
    with proxy(receiver.world.port) as way:
        receiver.serve(port=way.port)
        node = clone.commit()
        push = clone.start_push()
        push.wait_for(b'blog| begun')
        way.cut()
        push.wait_for(b'trying again in 1 s')
        receiver.account.write('go', '')
        done = push.finish()
    assert verdict.last(done).state == 'deployed'
    assert receiver.all_runs() == [node]
    assert states(receiver) == [('succeeded', 2)]


@pytest.mark.once
def test_sshd_that_is_killed_stops_nothing(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo(WAIT)
    receiver.serve('blog:retries = 0\n')
    node = clone.commit()
    push = clone.start_push()
    push.wait_for(b'blog| begun')
    (follower,) = receiver.followers()
    stat = Path(f'/proc/{follower}/stat').read_text()
    os.kill(int(stat.rpartition(')')[2].split()[1]), signal.SIGKILL)
    done = push.finish()
    assert [end.state for end in verdict.among(done.remote)] == ['pending']
    receiver.account.write('go', '')
    again = receiver.repository.hg('delegate', '--pending')
    assert b'blog| done' in again.stdout
    assert verdict.deployed(node) in verdict.among(again.stdout)
    assert receiver.all_runs() == [node]


@pytest.mark.once
def test_the_time_limit_of_the_receiver_is_told(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.install(timeout='1s')
    receiver.todo(WAIT)
    clone.commit()
    said = clone.push().remote
    assert b'blog| delegate-receive: not finished after 1 s' in said
    assert verdict.failed('exit status 124') in verdict.among(said)


class Way:
    """A port of this host that leads to another; once it is SILENT, it takes
    connections and goes nowhere with them."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port = self._listener.getsockname()[1]
        self.silent = False
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *args: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=args))
        self._threads[-1].start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._ends.append(near)
                if self.silent:
                    continue
                far = socket.create_connection(('127.0.0.1', self._to))
                self._ends.append(far)
                self._start(self._copy, near, far)
                self._start(self._copy, far, near)

    def cut(self) -> None:
        """End all connections that there are now."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._ends):
            end.close()


@contextlib.contextmanager
def proxy(port: int) -> Iterator[Way]:
    with contextlib.closing(Way(port)) as way:
        yield way
