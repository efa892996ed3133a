"""A repository that a group shares: two accounts push, one journal is kept."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import verdict
from accounts import PATH, ROOT, Account
from delegations import outcomes
from hgrc import targets
from repositories import Repository, RunningPush
from world import BEGUN, World

pytestmark = pytest.mark.once


# Whose server process it is that pushes, without an sshd in between.
NO_SSH = '#!/bin/sh\nshift\nexec sh -c "$*"\n'


class Member:
    """An account of the group that shares a repository, on the server."""

    def __init__(self, world: World, account: Account) -> None:
        self.account = account
        self._ssh = account.write('no-ssh', NO_SSH, 0o755)
        hg = f'#!/bin/sh\nexec {shlex.join(world.hg)} "$@"\n'
        self._hg = account.write('hg', hg, 0o755)
        self._identity: dict[str, Any] = {}
        if ROOT:
            self._identity = {
                'user': account.uid,
                'group': account.gid,
                'extra_groups': [world.server.gid],
            }
        trust = f'[trusted]\nusers = {world.server.name}\n'
        account.write('.hgrc', trust + '[ui]\nusername = somebody\n')

    def push(self, clone: Path, repository: Repository) -> RunningPush:
        command = [str(self._hg), '-R', str(clone), 'push', '-f']
        command += ['--config', f'ui.ssh={self._ssh}']
        command += ['--config', f'ui.remotecmd={self._hg}']
        url = f'ssh://nowhere/{repository.path}'
        return RunningPush(self._popen([*command, url]))

    def hg(self, *args: str) -> bytes:
        process = self._popen([str(self._hg), *args])
        out, err = process.communicate()
        assert process.returncode == 0, err
        return out

    def _popen(self, command: list[str]) -> subprocess.Popen[bytes]:
        account = self.account
        return subprocess.Popen(
            command,
            env={
                'HOME': str(account.home),
                'PATH': PATH,
                # both sides, so it says nothing of what the pusher sees when
                'PYTHONUNBUFFERED': '1',
            },
            cwd=account.home,
            umask=0o022,  # that group and others may not write
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **self._identity,
        )


@pytest.fixture
def members(world: World) -> list[Member]:
    """Two of them, who can both log in to the deploy account."""
    world.forced_command(BEGUN)
    key = world.server.read('.ssh/id_ed25519')
    world.pusher.write('.ssh/id_ed25519', key, 0o600)
    return [Member(world, world.server), Member(world, world.pusher)]


@pytest.fixture
def common(world: World) -> Repository:
    """A repository that the group may write."""
    repository = world.repository(hgrc=targets(world))
    for folder, folders, files in os.walk(repository.path):
        os.chmod(folder, 0o2775)
        for name in files:
            os.chmod(Path(folder, name), 0o664)
        assert folders is not None
    # else nobody's targets are read from it
    (repository.path / '.hg' / 'hgrc').chmod(0o644)
    return repository


def modes(repository: Repository) -> dict[str, int]:
    """The permissions of all that is ours."""
    hg = repository.path / '.hg'
    files = [hg / 'delegate', *(hg / 'delegate').rglob('*')]
    files += (hg / 'store').glob('delegate*')
    found = {}
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            found[str(path.relative_to(hg))] = path.stat().st_mode
    return found


def check_modes(found: dict[str, int]) -> None:
    for name, mode in found.items():
        wanted = 0o2770 if stat.S_ISDIR(mode) else 0o660
        if name == 'store/delegate-deployed':
            wanted = 0o664  # for whoever may read the repository
        assert stat.S_IMODE(mode) == wanted, name


def test_a_group_shares_a_repository(
    world: World, common: Repository, members: list[Member]
) -> None:
    nodes = []
    for number, member in enumerate([*members, *reversed(members)]):
        clone = member.account.home / f'clone{number}'
        member.hg('clone', '-q', str(common.path), str(clone))
        member.account.write(clone / f'file{number}', 'text')
        member.hg('-R', str(clone), 'commit', '-A', '-m', 'a change')
        push = member.push(clone, common)
        push.wait_for(b'blog| begun')
        # while it runs, the journal has its companions
        found = modes(common)
        assert {'delegate/journal-wal', 'delegate/journal-shm'} <= set(found)
        check_modes(found)
        if number == 2:
            # what a process that was killed leaves to another account
            push.kill()
            push.finish(check=False)
        world.deploy.write('go', '')
        if number != 2:
            assert verdict.last(push.finish()).state == 'deployed'
        check_modes(modes(common))
        while any(run.ended is None for run in world.deploys()):
            time.sleep(0.02)
        (world.deploy.home / 'go').unlink()
        tip = member.hg('-R', str(clone), 'log', '-r', 'tip', '-T', '{node}')
        nodes.append(tip.decode())
    assert [run.context['node'] for run in world.deploys()] == nodes
    assert [state for state, _ in outcomes(common)] == [
        'succeeded',
        'succeeded',
        'lost',
        'succeeded',
    ]
    assert {run.context['previous'] for run in world.deploys()[1:]} == set(
        nodes[:2]
    )
