"""A command server does what an hg of its own does, and leaves nothing."""

from __future__ import annotations

import os
import signal

import accounts
import commandserver
import pytest
from repositories import Clone, Repository
from world import World


def asked(clone: Clone, *args: str) -> tuple[int, bytes, bytes]:
    command = ['-R', str(clone.path), *args]
    done = commandserver.run(clone.owner, clone.program, command, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    'args',
    [
        ['log', '-T', '{node} {desc} {author} {phase}\n'],
        ['status', '--cwd', 'folder'],
        ['log', '-r', 'nosuch'],
        ['nosuch'],
        ['config', 'ui.username'],
        ['bookmark'],
    ],
    ids=lambda args: args[0],
)
def test_it_does_what_a_process_does(
    world: World, clone: Clone, args: list[str]
) -> None:
    clone.commit(message='grün', files={'folder/one': '1'})
    world.pusher.write(clone.path / 'folder' / 'two', '2')
    cwd = [str(clone.path / arg) if arg == 'folder' else arg for arg in args]
    command = [*clone.program, '-R', str(clone.path), *cwd]
    done = world.pusher.run(command, check=False)
    for _ in range(2):
        said = asked(clone, *cwd)
        assert said == (done.returncode, done.stdout, done.stderr)


def test_a_failure_is_an_error_unless_it_is_expected(clone: Clone) -> None:
    with pytest.raises(accounts.Failed, match='unknown revision'):
        clone.hg('log', '-r', 'nosuch')
    assert clone.hg('log', '-r', 'nosuch', check=False).returncode == 255


@pytest.mark.once
def test_it_knows_the_hgrc_of_the_moment(world: World, clone: Clone) -> None:
    user = ('config', 'ui.username')
    assert asked(clone, *user)[1].startswith(b'pusher ')
    hgrc = world.pusher.home / '.hgrc'
    hgrc.write_text(hgrc.read_text('utf-8').replace('= pusher', '= alice'))
    assert asked(clone, *user)[1].startswith(b'alice ')


def test_what_a_command_sets_is_gone_with_it(clone: Clone) -> None:
    user = ('config', 'ui.username')
    assert asked(clone, *user, '--config', 'ui.username=bob')[1] == b'bob\n'
    assert asked(clone, *user)[1].startswith(b'pusher ')


def test_it_is_no_process_that_a_test_has_left(
    world: World, repository: Repository, clone: Clone
) -> None:
    clone.commit()
    repository.ask('log')
    servers = commandserver.pids()
    assert len(servers) >= 2 and not world.living()
    for pid in servers:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    clone.commit()
    repository.ask('log')
    gone = {pid for pid in servers if pid not in commandserver.pids()}
    assert len(gone) >= 2


@pytest.mark.once
def test_an_extension_is_never_loaded_into_it(
    world: World, clone: Clone
) -> None:
    text = 'import os, sys\nsys.stderr.write(str(os.getpid()))\n'
    path = world.pusher.write('pid.py', text)
    said = clone.hg('id', '--config', f'extensions.pid={path}').stderr
    assert int(said) not in commandserver.pids()
    with open(clone.path / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(f'[extensions]\npid = {path}\n')
    assert int(clone.hg('id').stderr) not in commandserver.pids()
