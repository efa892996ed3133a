"""Over plain ssh the key that logged in names the pusher, if sshd tells it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pushes
import pytest
import servers
from delegations import log
from hgrc import targets
from repositories import Clone, Repository
from world import World

pytestmark = pytest.mark.once


@pytest.fixture(name='exposing')
def an_sshd_that_tells(world: World) -> Iterator[servers.Sshd]:
    folder = world.base / 'exposing'
    sshd = servers.Sshd(folder, world.accounts, more='ExposeAuthInfo yes\n')
    yield sshd
    sshd.stop()
    shutil.rmtree(folder)


def push_through(
    world: World, sshd: servers.Sshd, repository: Repository, clone: Clone
) -> Any:
    """Who has pushed, as the log says."""
    key = ' '.join(sshd.host_keys[0].split()[:2])
    known = world.pusher.home / '.ssh' / 'known_hosts'
    text = world.pusher.read(known)
    if str(sshd.port) not in text:
        world.pusher.write(known, f'{text}[localhost]:{sshd.port} {key}\n')
    url = repository.url.replace(f':{world.port}/', f':{sshd.port}/')
    clone.commit()
    clone.push(url)
    return log(repository)[0]['pusher']


def test_the_comment_of_its_line_or_its_fingerprint(
    world: World, repository: Repository, ready: Clone, exposing: servers.Sshd
) -> None:
    path = world.server.home / '.ssh' / 'authorized_keys'
    line = world.server.read(path)
    public = world.key(world.pusher)
    options, _key, _comment = line.partition(' '.join(public.split()[:2]))
    bare = f'{options}{" ".join(public.split()[:2])}'
    for comment, name in (
        (' alice of team "a b" <a@b>', 'alice of team "a b" <a@b>'),
        (' zoë', 'zoë'),
        ('', None),
    ):
        world.server.write(path, f'# {bare} nobody\n{bare}{comment}\n')
        found = push_through(world, exposing, repository, ready)
        if name is None:
            shown = world.server.run(
                ['ssh-keygen', '-lf', '-'], input=public.encode()
            ).stdout.decode()
            name = shown.split()[1]
            assert name.startswith('SHA256:')
        assert found == name
    # sshd passes over a line whose from= does not allow the client
    rest = bare[len(options) :]
    joined = f',{options}' if options else ' '
    for first, name in (
        (f'from="10.0.0.1" {rest} not me', 'Bob'),
        (f'From="!127.0.0.0/8,!::1,*" {rest} not me', 'Bob'),
        (f'from="127.0.0.0/8,::1"{joined}{rest} near', 'near'),
        (f'from="!no.example.org,*"{joined}{rest} near', 'near'),
        (f'environment="A=\\"from=",from="10.*" {rest} not me', 'Bob'),
        (f'cert-authority {rest} not me', 'Bob'),
    ):
        world.server.write(path, f'{first}\n{bare} Bob\n')
        assert push_through(world, exposing, repository, ready) == name
    # what the administrator names counts first
    repository.hgrc(targets(world, more='user-variables = HGUSER\n'))
    command = f'{options}'.replace('command="', 'command="HGUSER=bob ')
    if command != options:
        rest = bare[len(options) :]
        world.server.write(path, f'{command}{rest} alice\n')
        assert push_through(world, exposing, repository, ready) == 'bob'


def test_what_a_client_says_is_not_believed(
    world: World, repository: Repository, ready: Clone
) -> None:
    forged = world.server.write(
        'forged', f'publickey {world.key(world.deploy)}\n', 0o600
    )
    pushes.serve(world, f'SSH_USER_AUTH={forged}')
    ready.commit()
    ready.push()
    assert log(repository)[0]['pusher'] is None
