"""Many receivers at once, through an sshd that drops logins when many come."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Iterator

import pytest
import servers
import verdict
from receivers import Receiver
from repositories import Repository
from world import World

pytestmark = pytest.mark.once

# sshd's default: from ten that have not logged in yet, three of ten are dropped
STARTUPS = '10:30:100'


@contextlib.contextmanager
def strict(world: World) -> Iterator[servers.Sshd]:
    folder = world.base / 'strict'
    sshd = servers.Sshd(folder, world.accounts, STARTUPS)
    try:
        yield sshd
    finally:
        sshd.stop()
        shutil.rmtree(folder)


def configure(
    world: World, repository: Repository, sshd: servers.Sshd, count: int
) -> list[str]:
    """Let REPOSITORY delegate to COUNT receivers, each with a clone of its
    own; their names."""
    receiver = Receiver(world, repository)
    receiver.account.write(
        'script', '#!/bin/sh\necho "$HG_NODE" >node\n', 0o755
    )
    command = receiver.command(clone='CLONE')
    line = shlex.join(command).replace('CLONE', '"$HOME/clone-$3"')
    world.forced_command(f'set -- $SSH_ORIGINAL_COMMAND\nexec {line}\n')
    names = [f't{number}' for number in range(count)]
    url = f'ssh://{world.deploy.name}@localhost:{sshd.port}'
    key = ' '.join(sshd.host_keys[0].split()[:2])
    repository.hgrc(
        '[delegate]\n'
        + ''.join(f'{name} = {url}\n' for name in names)
        + f'*:receiver = yes\n*:hostkey = {key}\n'
    )
    return names


def test_many_targets_on_one_host_are_all_delivered(
    world: World, repository: Repository
) -> None:
    with strict(world) as sshd:
        names = configure(world, repository, sshd, 32)
        clone = world.clone(repository)
        for _ in range(2):
            node = clone.commit()
            push = clone.start_push().finish(timeout=300)
            wanted = {verdict.deployed(node, name) for name in names}
            said = verdict.among(push.remote)
            assert set(said) == wanted, push.remote
            assert len(said) == len(names)
    for name in names:
        assert world.deploy.read(f'clone-{name}/node').strip() == node


def test_many_pushes_to_one_receiver_are_all_delivered(
    world: World, repository: Repository
) -> None:
    count = 50
    with strict(world) as sshd:
        (name,) = configure(world, repository, sshd, 1)
        first = world.clone(repository)
        first.hg('debugbuilddag', f'+1:base{"<base+1" * count}')
        said = first.hg('log', '-r', '1:', '-T', '{node}\n').stdout.decode()
        nodes = said.split()
        first.push('-r', '0')
        pushes = []
        for node in nodes:
            path = first.path.with_name(f'at-{node[:12]}')
            first.owner.copy(first.path, path)
            clone = type(first)(first.owner, path, first.program)
            pushes.append(clone.start_push('-f', '-r', node))
        ends = [push.finish(timeout=500) for push in pushes]
    for push in ends:
        last = verdict.last(push)
        assert last.state in ('deployed', 'superseded'), push.remote
    pending = repository.hg('delegate-log', '-T', '{state}\n', '-l', '100')
    assert set(pending.stdout.split()) == {b'succeeded', b'superseded'}
    newest = repository.hg('log', '-r', 'tip', '-T', '{node}').stdout.decode()
    assert world.deploy.read(f'clone-{name}/node').strip() == newest
