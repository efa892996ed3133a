"""^C cancels hg delegate; a terminal that is closed does not."""

from __future__ import annotations

import signal

import pytest
from by_hand import start
from delegations import log, states
from hgrc import KILLED, targets
from repositories import Clone, Repository
from world import HELD, World


def test_interrupted_it_is_cancelled(
    world: World, repository: Repository, pushed: Clone
) -> None:
    world.forced_command(HELD)
    runs = start(repository, 'delegate')
    runs.wait_for(b'blog| begun')
    waits = start(repository, 'delegate')
    waits.wait_for(b'waiting for delegation 2')
    for process, number in ((waits, 3), (runs, 2)):
        process.kill(signal.SIGINT)
        done = process.finish(check=False)
        assert done.returncode == 255
        assert b'interrupted!' in done.stderr
        told = b'delegate: blog: delegation %d is cancelled\n' % number
        assert told in done.stdout
        row = next(row for row in log(repository) if row['id'] == number)
        assert row['state'] == 'cancelled'
        assert row['reason'] == f'cancelled by {world.server.name}'
    world.deploy.write('go', '')
    assert states(repository) == ['succeeded', 'cancelled', 'cancelled']
    assert len(world.deploys()) == 2


@pytest.mark.once
@pytest.mark.parametrize('number', [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_is_closed_stops_nothing(
    world: World, repository: Repository, pushed: Clone, number: int
) -> None:
    world.forced_command(HELD)
    runs = start(repository, 'delegate')
    runs.wait_for(b'blog| begun')
    runs.kill(number)
    assert states(repository) == ['succeeded', 'running']
    world.deploy.write('go', '')
    runs.finish(check=False)
    assert states(repository) == ['succeeded', 'succeeded']
    said = repository.hg('delegate-log', '2', '-T{output}').stdout
    assert said == b'begun\ndone\n'


@pytest.mark.once
def test_interrupted_it_leaves_what_is_pending(
    world: World, repository: Repository, pushed: Clone
) -> None:
    world.forced_command(HELD)
    runs = start(repository, 'delegate')
    runs.wait_for(b'blog| begun')
    repository.hgrc(targets(world) + KILLED)
    pushed.commit()
    pushed.push(check=False)
    repository.hgrc(targets(world))
    repository.hg('recover', check=False)
    waits = start(repository, 'delegate', '--pending')
    waits.wait_for(b'waiting for delegation 2')
    waits.kill(signal.SIGINT)
    assert b'interrupted!' in waits.finish(check=False).stderr
    world.deploy.write('go', '')
    runs.finish()
    assert states(repository) == ['succeeded', 'succeeded', 'pending']
    repository.hg('delegate', '--pending')
    assert states(repository) == ['succeeded'] * 3
