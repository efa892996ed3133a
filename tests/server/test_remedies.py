"""A remedy is pasted as it is printed; where files are no pusher is told."""

from __future__ import annotations

import re

import pytest
import verdict
from hgrc import targets
from repositories import Clone, Repository
from world import World

pytestmark = pytest.mark.once


def hints(push: list[bytes]) -> str:
    return b'\n'.join(line for line in push if line[:1] == b'(').decode()


@pytest.mark.parametrize('known', ['nothing', 'another'])
def test_the_line_that_pins_a_host_key_is_pasted(
    world: World, repository: Repository, clone: Clone, known: str
) -> None:
    name = f'[localhost]:{world.port}'
    line = f'{name} {world.key(world.pusher)}\n' if known == 'another' else ''
    path = world.server.write('hosts', line)
    section = targets(world)
    repository.hgrc(section + f'blog:knownhosts = {path}\n')
    clone.commit()
    said = clone.push().remote
    assert verdict.among(said)[-1].state == 'pending'
    assert str(world.server.home).encode() not in b'\n'.join(said)
    found = re.search(r'blog:hostkey = \S+ [\w+/=]+', hints(said))
    assert found
    repository.hgrc(f'{section}{found[0]}\nblog:knownhosts = {path}\n')
    clone.commit()
    assert verdict.last(clone.push()).state == 'deployed'


def test_a_file_is_named_with_its_path_to_an_administrator_alone(
    world: World, repository: Repository, clone: Clone
) -> None:
    key = world.server.write('keys/blog', 'nonsense', 0o600)
    repository.hgrc(targets(world) + f'blog:identity = {key}\n')
    clone.commit()
    said = clone.push().remote
    (end,) = verdict.among(said)
    assert end.detail == 'identity file blog is damaged, or no private key'
    assert 'ssh-keygen -y -f blog must' in hints(said)
    assert str(key.parent).encode() not in b'\n'.join(said)
    command = f'ssh-keygen -y -f {key} must take it'
    for words in (['delegate-log', '-v'], ['delegate-check']):
        assert command in repository.hg(*words, check=False).stdout.decode()
