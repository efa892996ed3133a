"""No push is lost, and an old one never overtakes a new one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import verdict
from by_hand import cron
from delegations import log, states
from hgrc import targets, unreachable
from repositories import Clone, Repository
from sources import CHECKOUT
from world import World

UNITS = CHECKOUT / 'contrib' / 'systemd'


def test_what_cannot_be_delegated_waits_for_the_next_push(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(unreachable(world, 'retries = 0'))
    first = clone.commit()
    push = clone.push()
    assert push.returncode == 0
    said = [line for line in push.remote if line.startswith(b'delegate: ')]
    refusal = 'connection refused by localhost port 1'
    assert [*map(verdict.read, said)] == [verdict.pending(refusal)]
    after = push.remote[push.remote.index(said[0]) + 1 :]
    assert any(b'hg delegate --pending' in line for line in after)
    assert states(repository) == ['pending']

    repository.hgrc(targets(world))
    second = clone.commit()
    clone.push()
    (deploy,) = world.deploys()
    assert deploy.context['node'] == second
    pushes = deploy.context['pushes']
    assert [push['node_last'] for push in pushes] == [first, second]
    assert states(repository) == ['superseded', 'succeeded']


def test_what_cannot_be_delegated_is_tried_again_by_hand(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(unreachable(world, 'retries = 0'))
    node = clone.commit()
    clone.push()
    assert repository.hg('delegate', '--pending', check=False).returncode == 1
    assert states(repository) == ['pending']
    repository.hgrc(targets(world))
    said = repository.hg('delegate', '--pending').stdout
    assert verdict.deployed(node) in verdict.among(said)
    (deploy,) = world.deploys()
    assert deploy.context['attempt'] == 3
    assert states(repository) == ['succeeded']
    assert repository.hg('delegate', '--pending').stdout == b''
    assert len(world.deploys()) == 1


@pytest.mark.once
def test_what_cannot_help_is_not_tried_again_at_once(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.deploy.authorize(world.key(world.pusher), 'true')
    ready.commit()
    said = ready.push().remote
    (end,) = verdict.among(said)
    assert end.state == 'pending' and ' refused the key as ' in end.detail
    assert not [line for line in said if b'trying again' in line]
    assert log(repository)[0]['attempt'] == 1


@pytest.mark.once
def test_it_is_tried_again_while_the_pusher_waits(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(unreachable(world, 'retries = 2'))
    clone.commit()
    push = clone.push()
    marks = (b'delegate: ', b'(trying ')
    *said, last = [x for x in push.remote if x.startswith(marks)]
    refused = b'connection refused by localhost port 1'
    assert said == [
        b'delegate: blog: %s' % refused,
        b'(trying again in 1 s)',
        b'delegate: blog: %s' % refused,
        b'(trying again in 2 s)',
    ]
    assert verdict.read(last) == verdict.pending(refused.decode())
    assert log(repository)[0]['attempt'] == 3


@pytest.mark.once
def test_a_waiting_push_says_so_and_sees_its_outcome(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.forced_command('. ./record\necho begun\n. ./hold\necho done\n')
    other = world.clone(repository)
    ready.commit(files={'a': '1'})
    first = ready.start_push('--config', 'ui.username=one')
    first.wait_for(b'blog| begun')
    other.commit(files={'b': '1'})
    second = other.start_push('-f')
    second.wait_for(b'waiting for delegation 1 of ')
    third_clone = world.clone(repository)
    newest = third_clone.commit(files={'c': '1'})
    third = third_clone.start_push('-f')
    third.wait_for(b'waiting for delegation 1 of ')
    world.deploy.write('go', '')
    ends = [push.finish() for push in (first, second, third)]
    for push in ends:
        assert verdict.last(push).state == 'deployed', push.remote
    for push in ends[1:]:
        assert b'blog| begun' in push.remote
        assert b'blog| done' in push.remote
        assert verdict.last(push) == verdict.deployed(newest)
    runs = world.deploys()
    assert [run.context['node'] for run in runs][-1] == newest
    assert len(runs) == 2
    assert len(runs[1].context['pushes']) == 2
    assert runs[1].started > (runs[0].ended or 0)


@pytest.mark.once
def test_what_waits_goes_along_with_what_is_asked_for_by_hand(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(unreachable(world, 'retries = 0'))
    first = clone.commit()
    clone.push()
    clone.commit()
    clone.push()
    repository.hgrc(targets(world))
    repository.hg('delegate', 'blog', '-r', first)
    repository.hg('delegate', '--pending')
    (deploy,) = world.deploys()
    assert deploy.context['node'] == first
    assert len(deploy.context['pushes']) == 2
    assert states(repository) == ['superseded', 'superseded', 'succeeded']


@pytest.mark.once
def test_what_was_asked_for_by_hand_and_waits_is_overtaken_by_a_push(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(unreachable(world, 'retries = 0'))
    first = clone.commit()
    clone.push()
    for _ in range(2):
        repository.hg('delegate', 'blog', '-r', first, check=False)
    newest = clone.commit()
    clone.push()
    repository.hgrc(targets(world))
    repository.hg('delegate', '--pending')
    repository.hg('delegate', '--pending')
    (deploy,) = world.deploys()
    assert deploy.context['node'] == newest
    assert states(repository) == ['superseded'] * 3 + ['succeeded']


@pytest.mark.once
def test_what_waits_does_not_go_back_behind_what_has_come_since(
    world: World, repository: Repository, pushed: Clone
) -> None:
    """By hand before the push, and the push was delegated all the same: a
    target of the same name was elsewhere meanwhile."""
    first = pushed.tip()
    pushed.commit()
    record = (
        'import os, sys\n'
        'from hgext_delegate.state import journal\n'
        'journal.open(sys.argv[1]).record("blog", sys.argv[2], None)\n'
    )
    path = repository.path / '.hg' / 'delegate' / 'journal'
    world.server.run([world.python, '-c', record, str(path), first])
    push = pushed.push()
    assert verdict.last(push).state == 'deployed'
    assert states(repository) == ['succeeded', 'superseded', 'succeeded']
    assert repository.hg('delegate', '--pending').stdout == b''


@pytest.mark.once
def test_divergent_heads_are_deployed_in_push_order(
    world: World, repository: Repository, ready: Clone
) -> None:
    other = world.clone(repository)
    first = ready.commit(files={'a': '1'})
    ready.push()
    second = other.commit(files={'b': '1'})
    other.push('-f')
    assert [d.context['node'] for d in world.deploys()] == [first, second]
    assert states(repository) == ['succeeded', 'succeeded']


@pytest.mark.once
def test_only_by_hand_it_goes_back(
    world: World, repository: Repository, pushed: Clone
) -> None:
    first = pushed.tip()
    second = pushed.commit()
    pushed.push()
    said = repository.hg('delegate', 'blog', '-r', first).stdout.decode()
    assert f'going back from {second[:12]} to {first[:12]}' in said
    runs = world.deploys()
    assert [run.context['node'] for run in runs] == [first, second, first]
    assert runs[2].context['previous'] == second
    third = pushed.commit()
    pushed.push()
    assert world.deploys()[3].context['previous'] == first
    assert world.deploys()[3].context['node'] == third


@pytest.mark.once
def test_a_push_says_that_its_target_was_rolled_back(
    world: World, repository: Repository, pushed: Clone
) -> None:
    nodes = [pushed.tip(), pushed.commit(), pushed.commit()]
    pushed.push()

    def recalled() -> list[str]:
        pushed.commit()
        mark = ' had gone back from '
        lines = [line.decode() for line in pushed.push().remote]
        return [line for line in lines if mark in line]

    assert recalled() == []
    top = pushed.tip()
    # further back, there once more, and forward again, but not all the way
    for node in (nodes[0], nodes[0], nodes[1]):
        repository.hg('delegate', 'blog', '-r', node)
    (line,) = recalled()
    assert line == (
        f'delegate: blog: {world.server.name} had gone back from {top[:12]} '
        f'to {nodes[1][:12]} since the last push'
    )
    assert recalled() == []
    # back and all the way forward
    for node in (nodes[0], pushed.tip()):
        repository.hg('delegate', 'blog', '-r', node)
    assert recalled() == []


@pytest.mark.once
def test_the_next_push_recalls_a_failure(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.forced_command('. ./record\nexit 3\n')
    ready.commit()
    ready.push()
    world.forced_command()
    ready.commit()
    push = ready.push()
    recalled = [x for x in push.remote if b'the last delegation, 1 of' in x]
    assert len(recalled) == 1
    assert b'exit status 3' in recalled[0]
    ready.commit()
    assert not [x for x in ready.push().remote if b'last delegation' in x]


@pytest.mark.parametrize('how', ['ssh', 'http', 'path'])
def test_a_pusher_who_is_killed_stops_nothing(
    world: World, repository: Repository, ready: Clone, how: str
) -> None:
    world.forced_command(
        '. ./record\necho begun\n'
        '. ./hold\n'
        'for i in $(seq 2000); do echo "line $i"; done\n'
    )
    node = ready.commit()
    with world.hgweb([repository]) as url:
        if how == 'path':
            pulled = world.server.home / 'pulled'
            url = str(repository.path)
            world.server.run([*world.hg, 'init', str(pulled)])
            bundle = world.pusher.home / 'bundle.hg'
            ready.hg('bundle', '--all', str(bundle))
            world.server.run(
                [*world.hg, '-R', str(pulled), 'unbundle', str(bundle)]
            )
            process = world.server.popen(
                [*world.hg, '-R', str(pulled), 'push', url]
            )
        else:
            args = [f'{url}/{repository.path.name}'] if how == 'http' else []
            push = ready.start_push(*args)
            process = push.process
        while not world.deploys():
            time.sleep(0.02)
        assert log(repository)[0]['state'] == 'running'
        process.kill()
        process.wait()
        if how != 'path':
            push.kill()
        world.deploy.write('go', '')
        while log(repository)[0]['state'] == 'running':
            time.sleep(0.05)
    (row,) = log(repository)
    assert (row['state'], row['node']) == ('succeeded', node)
    said = repository.hg('delegate-log', '1').stdout
    assert b'\nline 2000\n' in said
    assert len(world.deploys()) == 1


def test_without_wait_the_push_returns_at_once(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, more='blog:wait = no\n'))
    world.forced_command('. ./record\n. ./hold\necho done\n')
    node = clone.commit()
    push = clone.push()
    assert verdict.last(push) == verdict.handed_over(1)
    while not world.deploys():
        time.sleep(0.02)
    assert states(repository) == ['running']
    world.deploy.write('go', '')
    while states(repository) == ['running']:
        time.sleep(0.05)
    (row,) = log(repository)
    assert (row['state'], row['node']) == ('succeeded', node)
    assert repository.hg('delegate-log', '1').stdout.endswith(b'\ndone\n')


def test_a_connection_that_breaks_is_lost_and_not_run_again(
    world: World, repository: Repository, ready: Clone
) -> None:
    # the session's own sshd process is the parent's parent of the script
    world.forced_command('. ./record\necho $PPID >ppid\necho begun\n. ./hold\n')
    ready.commit()
    push = ready.start_push()
    push.wait_for(b'blog| begun')
    pid = world.deploy.read('ppid').strip()
    with open(f'/proc/{pid}/status') as status:
        parents = [line for line in status if line.startswith('PPid:')]
    os.kill(int(parents[0].split()[1]), 9)
    done = push.finish()
    assert [end.state for end in verdict.among(done.remote)] == ['lost']
    world.deploy.write('go', '')
    assert states(repository) == ['lost']
    repository.hg('delegate', '--pending')
    assert len(world.deploys()) == 1


@pytest.mark.once
def test_a_pusher_who_stops_holds_nobody_up_and_misses_nothing(
    world: World, repository: Repository, ready: Clone
) -> None:
    # far more than the pipes and sockets between the two can take
    lines = 60000
    world.forced_command(
        '. ./record\necho begun\n. ./hold\n'
        f'seq -f "line %g of the output, which is long enough" {lines}\n'
    )
    ready.commit()
    push = ready.start_push()
    push.wait_for(b'blog| begun')
    push.kill(signal.SIGSTOP)
    world.deploy.write('go', '')
    while states(repository) == ['running']:
        time.sleep(0.05)
    assert states(repository) == ['succeeded']
    push.kill(signal.SIGCONT)
    done = push.finish()
    # hg's client cuts what it reads from ssh anywhere: the text is what counts
    text = b''.join(done.remote)
    shown = re.findall(rb'blog\| line (\d+) of the output, which is long', text)
    assert [int(number) for number in shown] == list(range(1, lines + 1))
    assert verdict.last(done).state == 'deployed'


def test_the_cron_script_delegates_in_every_repository(world: World) -> None:
    nodes = set()
    repos = world.server.mkdir('repos')
    for name in ('a', 'b'):
        repository = world.repository(name, unreachable(world, 'retries = 0'))
        pusher = world.clone(repository)
        nodes.add(pusher.commit())
        pusher.push()
        repository.hgrc(targets(world))
    world.server.mkdir('repos/deep')
    moved = repos / 'deep' / 'with space'
    (repos / 'b').rename(moved)
    link = world.server.home / 'link'
    link.symlink_to(repos)
    said = cron(world, link).stdout.decode()
    assert f'{link}/deep/with space:\n' in said
    assert {deploy.context['node'] for deploy in world.deploys()} == nodes
    assert cron(world, repos).stdout == b''
    assert len(world.deploys()) == 2


@pytest.mark.once
def test_the_cron_script_passes_over_what_it_may_not_read(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(unreachable(world, 'retries = 0'))
    clone.commit()
    clone.push()
    repository.hgrc(targets(world))
    barred = world.server.mkdir('repos/barred')
    barred.chmod(0)
    done = cron(world, world.server.home / 'repos', check=False)
    barred.chmod(0o755)
    assert len(world.deploys()) == 1
    # who is root may read everything
    assert done.returncode == (b'Permission denied' in done.stderr)


@pytest.mark.once
def test_the_systemd_units_are_valid(tmp_path: Path) -> None:
    analyze = shutil.which('systemd-analyze')
    if not analyze:
        # Nothing to try them with; then at least each names its program.
        for unit in UNITS.glob('*.service'):
            assert 'ExecStart=/' in unit.read_text()
        return
    for unit in UNITS.iterdir():
        text = unit.read_text()
        text = text.replace('/usr/local/bin/delegate-pending', '/bin/true')
        text = text.replace('/usr/bin/hg', '/bin/true')
        text = text.replace('/usr/bin/gunicorn', '/bin/true')
        (tmp_path / unit.name).write_text(text)
    units = sorted(str(unit) for unit in tmp_path.iterdir())
    verified = subprocess.run(
        [analyze, 'verify', '--man=no', *units], capture_output=True
    )
    assert verified.returncode == 0, verified.stderr
    assert str(tmp_path).encode() not in verified.stderr
