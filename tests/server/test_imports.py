"""Imports run one way, and a command that does not push pays for none."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from repositories import Clone, Repository
from test_deploy import targets
from world import CHECKOUT, World

PACKAGE = CHECKOUT / 'hgext_delegate'

# From the top down: a folder may import what stands below it, and itself as
# long as that makes no circle. Those on one line do not know each other.
FOLDERS = [
    ['__init__'],
    ['commands'],
    ['extension'],
    ['delivery'],
    ['report'],
    ['receiver'],
    ['state'],
    ['config', 'push'],
    ['ssh'],
    ['errors', 'imports', 'metadata', 'protocol', 'sanitizer'],
]
# What is dear to load, or is to be found in one place.
ONLY = {
    'paramiko': {'ssh.library'},
    'cryptography': {'ssh.library'},
    'sqlite3': {'state.sqlite_file', 'commands.dry_run'},
}
PURE = {'errors', 'metadata', 'protocol', 'sanitizer', 'receiver.strictjson'}

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


def modules() -> list[str]:
    """The names of our modules, such as ssh.session."""
    paths = (path.relative_to(PACKAGE) for path in PACKAGE.rglob('*.py'))
    return sorted('.'.join(path.with_suffix('').parts) for path in paths)


def path_of(name: str) -> Path:
    return PACKAGE.joinpath(*name.split('.')).with_suffix('.py')


def tree(name: str) -> ast.Module:
    return ast.parse(path_of(name).read_text('utf-8'))


def ours(name: str) -> set[str]:
    """Our modules that NAME imports, wherever in it."""
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = name.split('.')[: -node.level]
            folder = [*above, *filter(None, [node.module])]
            found |= {'.'.join([*folder, each.name]) for each in node.names}
    return found


def foreign(name: str) -> Iterator[str]:
    """The modules of others that NAME imports."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)


def folder(name: str) -> str:
    return name.partition('.')[0]


def below(name: str) -> set[str]:
    """The folders that the folder NAME may import."""
    (number,) = (n for n, line in enumerate(FOLDERS) if name in line)
    return {name, *(each for line in FOLDERS[number + 1 :] for each in line)}


def test_imports_lead_downwards() -> None:
    upwards = [
        f'{name} imports {other}'
        for name in modules()
        for other in ours(name)
        if folder(other) not in below(folder(name))
    ]
    assert not upwards


def test_each_folder_has_its_rule() -> None:
    known = [name for line in FOLDERS for name in line]
    assert sorted(known) == sorted({folder(name) for name in modules()})


def test_imports_make_no_circle() -> None:
    left = {name: ours(name) for name in modules()}
    while left:
        # who imports nothing that is left
        done = [name for name, used in left.items() if not used & set(left)]
        assert done, f'a circle: {left}'
        for name in done:
            del left[name]


def test_nothing_is_imported_that_is_not_there() -> None:
    for name in modules():
        assert ours(name) <= set(modules())


@pytest.mark.parametrize('package', ONLY)
def test_what_is_dear_is_imported_in_one_place(package: str) -> None:
    users = {
        name
        for name in modules()
        if package in {module.partition('.')[0] for module in foreign(name)}
    }
    assert users == ONLY[package]


def test_what_is_pure_knows_no_mercurial() -> None:
    for name in PURE:
        assert not [m for m in foreign(name) if m.startswith('mercurial')]
        assert not {'os', 'subprocess', 'threading'} & set(foreign(name))


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
        *('', '.imports', '.metadata', '.extension'),
        *('.extension.early_login', '.extension.hooks'),
        '.extension.translations',
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
    clone.push()
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
    clone.push()
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
