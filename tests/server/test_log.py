"""hg delegate-log: what was delegated, what became of it, what it printed."""

from __future__ import annotations

import os

import pytest
import verdict
from by_hand import refused, start
from delegations import log, states
from hgrc import KILLED, targets, unreachable
from repositories import Clone, Repository
from snapshot import contents
from waiting import until
from world import HELD, World


def test_targets_and_limits_choose(
    world: World, repository: Repository, clone: Clone
) -> None:
    clone.commit()
    clone.deliver()
    repository.hgrc(targets(world, 'a', 'b'))
    repository.hg('delegate', 'a')
    repository.hg('delegate', 'b')
    repository.hg('delegate', 'a')
    repository.hgrc(targets(world, 'b', 'c'))

    def listed(*args: str) -> list[int]:
        return [row['id'] for row in log(repository, *args)]

    assert listed() == [3, 2, 1]
    assert listed('-t', 'a') == [3, 1]
    assert listed('-l', '1') == [3]
    assert listed('-t', 'b', '-l', '9' * 30) == [2]
    assert listed('-t', 'c') == []
    said = refused(repository, 'delegate-log', '-t', 'nosuch')
    assert "abort: there is no target 'nosuch'\n" in said
    for limit in ('0', '-1', 'x'):
        said = refused(repository, 'delegate-log', '-l', limit)
        assert 'abort: limit must be' in said


@pytest.mark.once
def test_one_that_is_not_there_is_refused(
    world: World, repository: Repository, pushed: Clone
) -> None:
    for id in ('2', '0', 'x', '', '-1', '9' * 19, '9' * 5000):
        for args in (['delegate-log', '--'], ['delegate-cancel', '--']):
            said = refused(repository, *args, id)
            assert f"abort: there is no delegation '{id}'\n" in said
    said = refused(repository, 'delegate-log', '--follow')
    assert 'abort: no delegation is running\n' in said


def test_one_is_shown_with_what_it_printed(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.forced_command('. ./record\necho out\necho err >&2\nexit 3\n')
    ready.commit()
    ready.push()
    said = repository.hg('delegate-log', '-v').stdout.decode()
    assert "('hg delegate-log 1' on the server shows more)" in said
    said = repository.hg('delegate-log', '1', '-v').stdout.decode()
    assert "('hg delegate blog' on the server runs it again)" in said
    assert 'shows more' not in said
    said = repository.hg('delegate-log', '1').stdout.decode()
    first, *printed = said.splitlines()
    assert first.startswith('    1  blog        failed  ')
    assert first.endswith('  exit status 3')
    assert sorted(printed) == ['err', 'out']
    said = repository.hg('delegate-log', '1', '-T{output}').stdout.decode()
    assert said.splitlines() == printed


@pytest.mark.parametrize('status', [0, 3])
def test_a_running_one_is_followed_to_its_end(
    world: World, repository: Repository, ready: Clone, status: int
) -> None:
    world.forced_command(HELD + f'exit {status}\n')
    node = ready.commit()
    push = ready.start_push()
    push.wait_for(b'blog| begun')
    follower = start(repository, 'delegate-log', '--follow', '1')
    follower.wait_for(b'blog| begun')
    assert states(repository) == ['running']
    world.deploy.write('go', '')
    follower.wait_for(b'blog| done')
    end = follower.finish(check=False)
    assert end.returncode == (1 if status else 0)
    assert verdict.read(end.lines[2][1]) == (
        verdict.failed('exit status 3') if status else verdict.deployed(node)
    )
    push.finish()
    again = repository.hg('delegate-log', '1', '-f', check=False)
    assert again.returncode == end.returncode
    assert (again.stdout + again.stderr).splitlines()[:3] == [
        line for _time, line in end.lines[:3]
    ]


@pytest.mark.once
def test_without_an_id_what_runs_is_followed(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.forced_command(HELD)
    node = ready.commit()
    push = ready.start_push()
    push.wait_for(b'blog| begun')
    other = refused(repository, 'delegate-log', '--follow', '-t', 'other')
    assert 'no delegation is running' in other
    follower = start(repository, 'delegate-log', '--follow')
    follower.wait_for(b'blog| begun')
    world.deploy.write('go', '')
    end = follower.finish()
    assert verdict.read(end.lines[2][1]) == verdict.deployed(node)
    push.finish()


@pytest.mark.once
def test_a_heading_and_its_columns_are_as_wide_as_the_names(
    world: World, repository: Repository, clone: Clone
) -> None:
    clone.commit()
    clone.deliver()
    long = 'documentation-for-everybody'
    repository.hgrc(targets(world, 'a', long))
    repository.hg('delegate', 'a', long)
    said = repository.hg('delegate-log').stdout.decode()
    heading, *rows = said.splitlines()
    names = ['id', 'target', 'state', 'changeset', 'pusher', 'time']
    assert heading.split() == names
    for row in rows:
        words = row.split()
        for name, word in list(zip(names, words))[1:]:
            assert row.index(f' {word}') == heading.index(f' {name}')
    # with -q and in templates there is none
    for options in (['-q'], ['-T{id} {target}\n']):
        said = repository.hg('delegate-log', *options).stdout.decode()
        assert len(said.splitlines()) == 2


@pytest.mark.once
def test_what_waits_for_nobody_is_not_followed_for_ever(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(unreachable(world, 'retries = 0'))
    clone.commit()
    clone.push()
    done = repository.hg('delegate-log', '--follow', '1', check=False)
    assert done.returncode == 1
    refusal = 'connection refused by localhost port 1'
    assert verdict.pending(refusal) in verdict.among(done.stderr)


@pytest.mark.once
def test_one_that_waits_for_its_turn_is_followed(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.forced_command(HELD)
    ready.commit()
    push = ready.start_push()
    push.wait_for(b'blog| begun')
    second = start(repository, 'delegate')
    second.wait_for(b'waiting for delegation 1')
    follower = start(repository, 'delegate-log', '--follow', '2')
    # longer than somebody may need to take up a delegation
    follower.wait_for(
        b'waiting for delegation 1 of an unknown pusher to blog, 10'
    )
    world.deploy.write('go', '')
    lines = [line for _time, line in follower.finish().lines]
    assert lines[2:4] == [b'blog| begun', b'blog| done']
    assert verdict.read(lines[4]).state == 'deployed'
    push.finish()
    second.finish()


def test_a_push_that_no_hook_has_seen_is_listed(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, 'a', 'b') + KILLED)
    node = clone.commit()
    clone.push(check=False)
    rows = log(repository)
    assert [(row['id'], row['target'], row['state']) for row in rows] == [
        (None, 'a', 'pending'),
        (None, 'b', 'pending'),
    ]
    assert rows[0]['node'] == node and rows[0]['date'][0] > 1e9
    said = repository.hg('delegate-log', '-t', 'b').stdout.decode()
    _heading, row = said.splitlines()
    assert row.startswith(f'    -  b           pending     {node[:12]}  ')
    assert len(log(repository, '-l', '1')) == 1
    repository.hgrc(targets(world, 'a', 'b'))
    repository.hg('delegate', '--pending')
    assert [row['state'] for row in log(repository)] == ['succeeded'] * 2


@pytest.mark.once
def test_what_was_superseded_says_by_which(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(unreachable(world, 'retries = 0'))
    clone.commit()
    clone.push()
    repository.hgrc(targets(world))
    clone.commit()
    clone.push()
    said = repository.ask('delegate-log').stdout.decode().splitlines()[1:]
    assert said[0].split()[2] == 'succeeded'
    assert said[1].split()[2] == 'superseded'
    assert '  by 2' in said[1]
    assert log(repository)[1]['taken'] == 2
    assert repository.ask('delegate-log', '1').returncode == 0


@pytest.mark.once
def test_the_oldest_are_forgotten_with_what_they_printed(
    world: World, repository: Repository, clone: Clone
) -> None:
    clone.commit()
    clone.deliver()
    repository.hgrc(targets(world, 'a', 'b', more='keep = 3\n'))
    world.forced_command('. ./record\necho printed\n')
    repository.hg('delegate', 'b')
    for _ in range(5):
        repository.hg('delegate', 'a')
    rows = log(repository)
    assert [(row['id'], row['target']) for row in rows] == [
        *((6, 'a'), (5, 'a'), (4, 'a'), (1, 'b'))
    ]
    logs = repository.path / '.hg' / 'delegate' / 'log'
    assert {path.name for path in logs.iterdir()} == {
        row['protocolid'] for row in rows
    }
    refused(repository, 'delegate-log', '2')


@pytest.mark.once
def test_what_is_too_much_is_counted(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, more='blog:output-limit = 100\n'))
    world.forced_command(
        '. ./record\nfor i in $(seq 1000 1999); do echo "line $i"; done\n'
    )
    clone.commit()
    push = clone.push()
    begin = [f'line {i}' for i in range(1000, 1005)]
    end = [f'line {i}' for i in range(1995, 2000)]
    shown = [*begin, '[990 lines, 9900 bytes left out]', *end]
    said = repository.ask('delegate-log', '1', '-T{output}').stdout.decode()
    assert said.splitlines() == shown
    told = [line[6:].decode() for line in push.remote if line[:5] == b'blog|']
    assert told == shown
    assert verdict.last(push).state == 'deployed'


@pytest.mark.once
def test_a_flood_is_ended(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, more='blog:output-limit = 1000\n'))
    line = 'y' * 400
    world.forced_command(f'. ./record\necho first\nexec yes {line}\n')
    clone.commit()
    push = clone.push()
    flood = verdict.failed('more than 200 MB of output')
    assert flood in verdict.among(push.remote)
    assert b'(let it print less, or set output-limit higher)' in push.remote
    output = repository.ask('delegate-log', '1', '-T{output}').stdout
    lines = output.decode().splitlines()
    assert lines[0] == 'first' and {*lines[-1]} == {'y'}
    assert any('lines' in line and 'left out' in line for line in lines)
    # SIGPIPE has ended it
    until(lambda: not any('yes' in line for line in world.living().values()))


@pytest.mark.once
def test_a_lock_that_cannot_be_looked_at_is_no_reason_to_end(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(unreachable(world, 'retries = 0'))
    clone.commit()
    clone.push()
    lock = repository.path / '.hg' / 'delegate' / 'blog.lock'
    lock.unlink()
    lock.symlink_to('elsewhere')
    said = repository.hg('delegate-log', '1', '--follow', check=False)
    assert said.returncode == 1
    refusal = 'connection refused by localhost port 1'
    assert verdict.pending(refusal) in verdict.among(said.stderr)
    assert b'Traceback' not in said.stderr


def test_who_may_not_read_what_is_recorded_is_told_just_that(
    world: World, repository: Repository, pushed: Clone
) -> None:
    command = [
        *(*world.hg, '-R', str(repository.path)),
        *('--config', f'extensions.hgext_delegate={world.extension}'),
        *('--config', f'trusted.users={world.server.name}'),
        'delegate-log',
    ]
    for more in ([], ['1'], ['--follow', '1'], ['-Tjson']):
        said = world.pusher.run([*command, *more], check=False)
        assert said.returncode == 1
        assert said.stdout == b''
        assert said.stderr.decode() == (
            'delegate: what is recorded cannot be read: Permission denied\n'
            f'(run it as {world.server.name}, who may)\n'
        )


def let_read(world: World, repository: Repository) -> None:
    """As an administrator: chgrp -R, chmod 2750 and 0640."""
    folder = repository.path / '.hg' / 'delegate'
    for path in [folder, *folder.rglob('*')]:
        os.chown(path, -1, world.pusher.gid)
        path.chmod(0o2750 if path.is_dir() else 0o640)


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give files away')
@pytest.mark.parametrize('while_it_runs', [True, False])
def test_who_may_read_and_not_write_reads_all_of_it(
    world: World, repository: Repository, pushed: Clone, while_it_runs: bool
) -> None:
    let_read(world, repository)
    world.forced_command(HELD)
    node = pushed.commit()
    push = pushed.start_push()
    push.wait_for(b'blog| ')
    command = [
        *(*world.hg, '-R', str(repository.path)),
        *('--config', f'extensions.hgext_delegate={world.extension}'),
        *('delegate-log', '-T', '{state} {node}\n'),
    ]
    if not while_it_runs:
        world.deploy.write('go', '')
        push.finish()
    said = world.pusher.run(command)
    first, second = said.stdout.decode().splitlines()
    assert first == ('running ' if while_it_runs else 'succeeded ') + node
    assert second.startswith('succeeded ')
    assert b'what else waits cannot be read: Permission denied' in said.stderr
    world.deploy.write('go', '')
    if while_it_runs:
        push.finish()


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give files away')
def test_who_may_only_read_changes_nothing(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world))
    clone.commit()
    clone.push()
    let_read(world, repository)
    before = contents(repository.path)
    command = [
        *(*world.hg, '-R', str(repository.path)),
        *('--config', f'extensions.hgext_delegate={world.extension}'),
        *('delegate-log', '1', '-T', '{state} {output}'),
    ]
    said = world.pusher.run(command)
    assert said.stdout == b'succeeded deployed\n'
    assert contents(repository.path) == before
