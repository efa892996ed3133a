"""The world of the end-to-end tests keeps its promises."""

from __future__ import annotations

import os
import pwd
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import accounts
import processes
import pytest
from repositories import Clone
from sources import CHECKOUT
from world import World

LIBRARY = CHECKOUT / 'tests' / 'lib'
MAKE_A_WORLD = """
import sys, time, world
made = world.World()
made.server.popen(['sleep', '600'])
print(made.base, flush=True)
time.sleep(600)
"""


def login(world: World, address: str = 'localhost') -> list[str]:
    """The server account's ssh to the deploy account."""
    user = f'{world.deploy.name}@{address}'
    return [*world.ssh(world.server), '-p', str(world.port), user]


def hook(world: World) -> str:
    """The classic line of an hgrc."""
    return f'[hooks]\nchangegroup.autopush = {shlex.join(login(world))} now\n'


def test_a_push_runs_the_deploy_accounts_forced_command(world: World) -> None:
    repository = world.repository(enable=False, hgrc=hook(world))
    clone = world.clone(repository)
    node = clone.commit(message='first', files={'page': 'text'})

    push = clone.push()

    assert b'deployed' in push.remote
    (deploy,) = world.deploys()
    assert deploy.command == 'now'
    assert deploy.status == 0
    assert deploy.environment['HOME'] == str(world.deploy.home)
    assert deploy.environment['USER'] == world.deploy.name
    said = repository.hg('log', '-r', 'tip', '-T', '{node} {desc}').stdout
    assert said.decode() == f'{node} first'


def test_sshd_answers_at_every_loopback_address(world: World) -> None:
    for address in world.sshd.addresses:
        world.server.run([*login(world, address), address], input=b'{"a": 1}')

    commands = [deploy.command for deploy in world.deploys()]
    assert commands == world.sshd.addresses
    assert [deploy.context for deploy in world.deploys()] == [
        {'a': 1} for _ in commands
    ]


def test_a_running_deploy_is_seen_before_it_ends(world: World) -> None:
    world.forced_command('. ./record\necho begun\n. ./hold\nexit 3\n')
    clone = world.clone(world.repository(enable=False, hgrc=hook(world)))
    clone.commit()

    push = clone.start_push()
    push.wait_for(b'begun')
    (deploy,) = world.deploys()
    assert deploy.ended is None
    world.deploy.write('go', '')
    push.finish()

    (deploy,) = world.deploys()
    assert deploy.ended is not None and deploy.ended > deploy.started
    assert deploy.status == 3


def test_the_servers_environment_is_sshds_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PYTHONUNBUFFERED', '1')
    monkeypatch.setenv('HGPLAIN', '1')
    dump = world.server.home / 'dump'
    hgrc = f'[hooks]\nchangegroup = cat /proc/$PPID/environ > {dump}\n'
    clone = world.clone(world.repository(enable=False, hgrc=hgrc))
    clone.commit()
    clone.push()

    lines = world.server.read(dump).rstrip('\0').split('\0')
    seen = dict(line.split('=', 1) for line in lines)
    callers = ('HG', 'LANG', 'LC_', 'PYTEST', 'PYTHON')
    assert not [name for name in seen if name.startswith(callers)]
    assert seen['HOME'] == str(world.server.home)


def test_an_account_may_not_read_anothers_key(world: World) -> None:
    key = world.server.home / '.ssh' / 'id_ed25519'
    seen = world.deploy.run(['cat', str(key)], check=False)
    # Without root all of them are one account, and nothing can be shown.
    assert (seen.returncode == 0) == (world.deploy.uid == world.server.uid)


def test_hgweb_takes_a_push(world: World, clone: Clone) -> None:
    repository = world.repository('web', enable=False)
    clone.commit()
    with world.hgweb([repository], 'web.name=x') as url:
        clone.push(f'{url}/web')
        with urllib.request.urlopen(f'{url}/web/raw-rev/tip') as page:
            assert b'a change' in page.read()


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_the_next_run_removes_what_a_killed_one_left(
    number: signal.Signals,
) -> None:
    run = subprocess.Popen(
        [sys.executable, '-c', MAKE_A_WORLD],
        env={'PYTHONPATH': str(LIBRARY), 'PATH': os.environ['PATH']},
        stdout=subprocess.PIPE,
    )
    assert run.stdout
    with run.stdout:
        base = Path(run.stdout.readline().decode().strip())
    assert base.parent == accounts.PARENT
    made = [user for user in pwd.getpwall() if str(base) in user.pw_dir]
    uids = {user.pw_uid for user in made}
    running = processes.living(base, uids)
    assert running
    run.send_signal(number)
    run.wait()

    accounts.sweep()

    assert not base.exists()
    # By number: another run may have made accounts of the same uids.
    assert not running.keys() & processes.living(base, uids).keys()
    left = [user for user in pwd.getpwall() if user in made]
    assert not left


def test_a_run_that_lives_is_left_alone(world: World) -> None:
    accounts.sweep()
    assert world.server.run(['id', '-un']).stdout.decode().strip() in (
        world.server.name
    )
    assert world.base.exists()
