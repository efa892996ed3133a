"""Imports run one way, from the top folder down."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from sources import modules, tree

pytestmark = pytest.mark.once


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
    ['imports', 'protocol', 'sanitizer'],
    ['errors', 'jsontext'],
]
# What is dear to load, or is to be found in one place.
ONLY = {
    'paramiko': {'ssh.library'},
    'cryptography': {'ssh.library'},
    'sqlite3': {'state.sqlite_file'},
}
PURE = {'errors', 'jsontext', 'protocol', 'sanitizer'}


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
