"""hg delegate-cancel: what runs or waits is ended, on both sides."""

from __future__ import annotations

import json
import os
import time

import pytest
import verdict
from by_hand import refused, start
from delegations import log, states
from hgrc import targets, unreachable
from repositories import Clone, Repository, RunningPush
from world import HELD, World

# What our receiver does of protocol 1: it runs the deploy in a process group
# of its own, and ends the whole group when it is asked to cancel its id.
RECEIVER = r"""
set -- $SSH_ORIGINAL_COMMAND
object=$(cat)
id=$(printf %s "$object" | sed 's/.*"id": *"\([0-9a-f]*\)".*/\1/')
if [ "$4" = cancel ]; then
    printf '%s\n' "$SSH_ORIGINAL_COMMAND" "$object" >cancelled
    {end}
    exit
fi
printf %s "$object" | ( . ./record; sleep 0 )
setsid sh -c '
    echo $$ >'"group-$id"'
    echo begun
    sleep 1000 & sleep 1000 & wait
' &
wait $!
"""
END = 'kill -s TERM -- "-$(cat "group-$id")"'


def begun(world: World, clone: Clone, script: str = HELD) -> RunningPush:
    """A push whose deploy runs SCRIPT and has begun."""
    world.forced_command(script)
    clone.commit()
    push = clone.start_push()
    push.wait_for(b'blog| begun')
    return push


def cancelled(repository: Repository, number: int) -> str:
    """Cancel delegation NUMBER; what that says."""
    return repository.hg('delegate-cancel', str(number)).stdout.decode()


def test_a_plain_script_loses_its_connection(
    world: World, repository: Repository, ready: Clone
) -> None:
    push = begun(world, ready)
    assert cancelled(repository, 1) == (
        'delegate: blog: delegation 1 is cancelled\n'
        '(the remote command may go on until its next output)\n'
    )
    told = push.finish().remote
    cancelled_by = f'cancelled by {world.server.name}'
    assert verdict.failed(cancelled_by) in verdict.among(told)
    assert not [line for line in told if b'deployed' in line]
    (row,) = log(repository)
    assert row['state'] == 'cancelled' and row['stopper'] == world.server.name
    assert row['reason'] == f'cancelled by {world.server.name}'
    assert row['status'] is None
    # it goes on until its next output indeed
    (deploy,) = world.deploys()
    assert deploy.ended is None
    world.deploy.write('go', '')
    assert repository.hg('delegate-log', '1', '-T{output}').stdout == b'begun\n'


@pytest.mark.once
def test_one_that_waits_for_its_turn_never_begins(
    world: World, repository: Repository, ready: Clone
) -> None:
    other = world.clone(repository)
    other.commit()
    first = begun(world, ready)
    second = other.start_push('--force')
    second.wait_for(b'waiting for delegation 1')
    assert cancelled(repository, 2) == (
        'delegate: blog: delegation 2 is cancelled\n'
    )
    told = second.finish().remote
    cancelled_by = f'cancelled by {world.server.name}'
    assert verdict.failed(cancelled_by) in verdict.among(told)
    world.deploy.write('go', '')
    first.finish()
    assert states(repository) == ['succeeded', 'cancelled']
    assert repository.hg('delegate', '--pending').stdout == b''
    assert len(world.deploys()) == 1


@pytest.mark.once
def test_one_that_could_not_begin_is_not_tried_again(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(unreachable(world, 'retries = 0'))
    clone.commit()
    clone.push()
    assert 'delegation 1 is cancelled' in cancelled(repository, 1)
    repository.hgrc(targets(world))
    repository.hg('delegate', '--pending')
    assert states(repository) == ['cancelled']
    assert not world.deploys()


@pytest.mark.once
def test_one_that_has_ended_is_left_alone(
    world: World, repository: Repository, pushed: Clone
) -> None:
    said = refused(repository, 'delegate-cancel', '1')
    assert said == (
        'abort: delegation 1 is not running\n(it ended: succeeded)\n'
    )
    (row,) = log(repository)
    assert row['state'] == 'succeeded' and row['stopper'] is None


@pytest.mark.once
def test_one_whose_process_was_killed_is_lost(
    world: World, repository: Repository, pushed: Clone
) -> None:
    world.forced_command(HELD)
    runs = start(repository, 'delegate')
    runs.wait_for(b'blog| begun')
    runs.kill()
    runs.finish(check=False)
    # nor does it matter that the target is gone
    repository.hgrc('')
    said = refused(repository, 'delegate-cancel', '2')
    assert said == 'abort: delegation 2 is not running\n(it ended: lost)\n'
    assert log(repository)[0]['stopper'] is None
    world.deploy.write('go', '')


@pytest.mark.once
def test_one_that_goes_along_with_another_is_not_cancelled_alone(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(unreachable(world, 'retries = 0'))
    clone.commit()
    clone.push()
    repository.hgrc(targets(world))
    push = begun(world, clone)
    said = refused(repository, 'delegate-cancel', '1')
    assert said == (
        'abort: delegation 1 goes along with delegation 2\n'
        "('hg delegate-cancel 2' cancels both)\n"
    )
    world.deploy.write('go', '')
    assert verdict.last(push.finish()).state == 'deployed'
    assert states(repository) == ['superseded', 'succeeded']


def group(world: World, leader: int) -> list[int]:
    """The living processes of the process group LEADER."""
    return [pid for pid in world.living() if _group(pid) == leader]


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def receiver(world: World, end: str = END) -> str:
    return RECEIVER.replace('{end}', end)


def test_our_receiver_ends_the_whole_process_group(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, more='blog:receiver = yes\n'))
    push = begun(world, clone, receiver(world))
    (row,) = log(repository)
    id = row['protocolid']
    leader = int(world.deploy.read(f'group-{id}'))
    assert len(group(world, leader)) == 3
    assert cancelled(repository, 1) == (
        'delegate: blog: delegation 1 is cancelled\n'
    )
    for _ in range(500):  # TERM takes its time
        if not group(world, leader):
            break
        time.sleep(0.02)
    assert not group(world, leader)
    request, object = world.deploy.read('cancelled').splitlines()
    assert request == 'hg-delegate 1 blog cancel'
    assert json.loads(object) == {'protocol': 1, 'id': id}
    told = push.finish().remote
    cancelled_by = f'cancelled by {world.server.name}'
    assert verdict.failed(cancelled_by) in verdict.among(told)
    assert states(repository) == ['cancelled']
    assert len(world.deploys()) == 1


@pytest.mark.once
def test_a_receiver_that_ignores_it_loses_its_connection(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, more='blog:receiver = yes\n'))
    push = begun(world, clone, receiver(world, end='true'))
    said = cancelled(repository, 1)
    assert said.startswith('delegate: blog: delegation 1 is cancelled\n')
    assert world.deploy.read('cancelled').startswith('hg-delegate 1 blog')
    told = push.finish().remote
    cancelled_by = f'cancelled by {world.server.name}'
    assert verdict.failed(cancelled_by) in verdict.among(told)
    leader = int(world.deploy.read(f'group-{log(repository)[0]["protocolid"]}'))
    assert len(group(world, leader)) == 3
    os.killpg(leader, 9)
