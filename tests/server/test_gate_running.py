"""A gate that is asked is seen, followed and cancelled as any delegation is."""

from __future__ import annotations

import os
import signal

import delegations
import pytest
from hgrc import targets
from repositories import Clone, Repository, RunningPush
from waiting import until
from world import World

CHECK = """\
read -r object
cat >/dev/null
exec </dev/null
. ./record
echo looking
until [ -e go ]; do sleep 0.02; [ ! -e talk ] || echo on; done
echo looked
"""


def row(repository: Repository) -> dict:
    return delegations.log(repository)[0]


def follow(repository: Repository) -> RunningPush:
    """hg delegate-log --follow, which has shown the first line."""
    command = [*repository.program, '-R', str(repository.path)]
    process = repository.owner.popen(
        [*command, 'delegate-log', '--follow'],
        env={'PYTHONUNBUFFERED': '1'},
        stdout=-1,
        stderr=-1,
    )
    following = RunningPush(process)
    following.wait_for(b'checks| looking')
    return following


@pytest.mark.once
def test_a_gate_that_is_asked_is_seen_followed_and_cancelled(
    world: World, repository: Repository, clone: Clone
) -> None:
    world.forced_command(CHECK)
    repository.hgrc(targets(world, 'checks', more='checks:gate = yes\n'))
    clone.commit()

    def begin() -> RunningPush:
        push = clone.start_push()
        push.wait_for(b'checks| looking')
        return push

    push = begin()
    following = follow(repository)
    assert (row(repository)['state'], row(repository)['id']) == ('running', 1)
    world.deploy.write('talk', '')
    said = repository.hg('delegate-cancel', '1').stdout
    assert said == (
        b'delegate: checks: delegation 1 is cancelled\n'
        b'(the remote command may go on until its next output)\n'
    )
    by = b'delegate: checks: cancelled by %s' % world.server.name.encode()
    refused = push.finish(check=False)
    assert refused.returncode == 255 and by in refused.remote
    followed = following.finish(check=False)
    assert followed.returncode == 1 and by in followed.stderr
    assert row(repository)['state'] == 'cancelled'
    assert row(repository)['stopper'] == world.server.name
    until(lambda: not world.living())
    (world.deploy.home / 'talk').unlink()
    # the server is killed while it asks: whoever comes next knows
    push = begin()
    for pid, command in world.living().items():
        if 'serve --stdio' in command and 'sh -c' not in command:
            os.kill(pid, signal.SIGKILL)
    push.finish(check=False)
    repository.hg('recover')
    lost = row(repository)
    assert (lost['id'], lost['state']) == (2, 'lost')
    shown = repository.ask('delegate-log', '-v', '2').stdout
    assert b'nobody knows' not in shown and b'hg delegate checks' not in shown
    assert repository.ask('delegate', '--pending').returncode == 0
    world.end_processes()
    # and the next is followed to its good end
    push = begin()
    following = follow(repository)
    world.deploy.write('go', '')
    assert not push.finish().returncode
    followed = following.finish()
    assert b'delegate: checks: passed in' in followed.stdout
    states = ['cancelled', 'lost', 'passed']
    assert delegations.states(repository) == states
    assert not repository.ask('log', '-T', '{deployed}').stdout
