"""What a pusher of a gate sees who reads nothing, or sits behind a proxy."""

from __future__ import annotations

import delegations
import pytest
import verdict
import webservers
from hgrc import targets
from repositories import Clone, Repository
from waiting import until
from world import World

# 'todo' says what it does
CHECK = """\
read -r object
cat >/dev/null
exec </dev/null
echo looking
. ./todo
"""


def lay(world: World, repository: Repository, todo: str, more: str) -> None:
    world.forced_command(CHECK)
    world.deploy.write('todo', todo)
    more = f'checks:gate = yes\n{more}'
    repository.hgrc(targets(world, 'checks', more=more))


def nodes(repository: Repository) -> list[str]:
    return repository.ask('log', '-T', '{node}\n').stdout.decode().split()


@pytest.mark.once
def test_a_pusher_who_reads_nothing_holds_the_lock_no_longer_than_a_limit(
    world: World, repository: Repository, clone: Clone
) -> None:
    limits = 'checks:timeout = 3\nchecks:connect-timeout = 9\n'
    flood = 'yes a line of many | head -c 8000000\nexec sleep 99\n'
    lay(world, repository, flood, limits)
    clone.commit()
    other = world.clone(repository)
    node = other.commit(files={'other': 'x\n'})
    push = clone.start_push()
    push.wait_for(b'checks| looking')  # and reads no more, as after ^S
    log = repository.path / '.hg' / 'delegate' / 'log'
    until(lambda: any(f.stat().st_size > 5e6 for f in log.iterdir()))
    world.deploy.write('todo', '')
    # it waits for the lock, and gets it while the first still reads nothing
    other.push()
    assert nodes(repository) == [node]
    refused = push.finish(check=False)
    assert refused.returncode == 255
    assert b'rollback completed' in refused.remote
    assert nodes(repository) == [node]
    first, second = reversed(delegations.log(repository))
    assert (first['state'], second['state']) == ('refused', 'passed')
    assert first['reason'] == 'not finished after 3 s'
    world.end_processes()  # the sleep


@pytest.mark.once
def test_behind_a_proxy_without_patience_the_verdict_counts_all_the_same(
    world: World, repository: Repository, clone: Clone
) -> None:
    impatient = 'proxy_read_timeout 3s;'
    with webservers.nginx(world, repository, impatient) as url:
        lay(world, repository, 'sleep 5; exit 1', '')
        clone.commit()
        push = clone.push(url, check=False)
        assert push.returncode == 255
        assert b'HTTP Error 504' in push.stderr
        until(lambda: delegations.states(repository) == ['refused'])
        assert nodes(repository) == []
        world.deploy.write('todo', 'sleep 5')
        push = clone.push(url, check=False)
        assert push.returncode == 255
        assert b'HTTP Error 504' in push.stderr
        until(lambda: nodes(repository) == [clone.tip()])
        # who pushes again is told that it is there
        assert b'no changes found' in clone.push(url, check=False).stdout
        # the limit to set: the gate ends before the proxy does
        lay(world, repository, 'sleep 5', 'checks:timeout = 1\n')
        clone.commit()
        push = clone.push(url, check=False)
        assert push.returncode == 255
        reason = verdict.refused('not finished after 1 s')
        assert reason in verdict.among(push.remote)
