"""A command that does not push pays for nothing."""

from __future__ import annotations

import pytest
from hgrc import targets
from repositories import Clone, Repository
from world import World

# Says at its end which modules were really loaded; a promise of Mercurial's
# lazy import is none.
SPY = """\
import atexit, os, sys, threading

def tell():
    loaded = [
        name for name, module in list(sys.modules.items())
        if object.__getattribute__(module, '__class__').__name__
        != '_LazyModule'
    ]
    loaded += ['threads'] * (threading.active_count() - 1)
    with open(os.path.expanduser('~/loaded'), 'w') as out:
        out.write(chr(10).join(loaded))

atexit.register(tell)
"""


def loaded(world: World) -> set[str]:
    """What the last process with the spy had loaded."""
    return set(world.server.read('loaded').split())


def cheap(world: World, repository: Repository) -> None:
    names = loaded(world)
    assert 'mercurial.dispatch' in names
    for name in ('paramiko', 'cryptography', 'sqlite3', 'threads'):
        assert name not in names
    own = [name.partition('_delegate')[2] for name in names if 'hgext_' in name]
    light = {
        *('', '.imports', '.extension'),
        *('.extension.early_login', '.extension.hooks'),
        *('.extension.names', '.extension.translations'),
        '.extension.push_channel',
        *('.state', '.state.deployed'),
    }
    assert set(own) <= light
    assert not (repository.path / '.hg' / 'delegate').exists()
    assert not (repository.path / '.hg' / 'store/delegate-outbox').exists()


@pytest.mark.parametrize(
    'args',
    [
        ['id'],
        ['log'],
        ['status'],
        ['version', '-v'],
        ['phase', '--force', '--draft', '0'],
        ['commit', '-A', '-m', 'x', '-u', 'me'],
    ],
    ids=lambda args: args[0],
)
def test_a_command_that_does_not_push_pays_nothing(
    world: World, repository: Repository, clone: Clone, args: list[str]
) -> None:
    clone.commit()
    clone.deliver()
    spy = world.server.write('spy.py', SPY)
    repository.hgrc(targets(world))
    world.server.write(repository.path / 'new', 'text')
    repository.hg(
        *('--config', f'extensions.spy={spy}'),
        *('--cwd', str(repository.path), *args),
    )
    cheap(world, repository)


def test_who_pulls_pays_nothing(
    world: World, repository: Repository, clone: Clone
) -> None:
    clone.commit()
    clone.deliver()
    spy = world.server.write('spy.py', SPY)
    repository.hgrc(targets(world) + f'[extensions]\nspy = {spy}\n')
    assert world.clone(repository).hg('id', '-n').stdout == b'0\n'
    cheap(world, repository)


def test_the_spy_sees_what_a_push_pays(
    world: World, repository: Repository, clone: Clone
) -> None:
    spy = world.server.write('spy.py', SPY)
    repository.hgrc(targets(world) + f'[extensions]\nspy = {spy}\n')
    clone.commit()
    clone.push()
    assert {'paramiko', 'sqlite3'} <= loaded(world)
