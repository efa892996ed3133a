"""The tests are where they belong, and the documents find them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources import CHECKOUT

pytestmark = pytest.mark.once

TESTS = CHECKOUT / 'tests'


def imported(path: Path) -> Iterator[str]:
    """The modules that the file PATH imports."""
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def test_what_tests_share_is_in_the_library() -> None:
    files = list(TESTS.rglob('*.py'))
    assert len(files) > 90
    for path in files:
        assert not [m for m in imported(path) if m.startswith('test_')], path


def test_unit_tests_know_no_mercurial_and_no_accounts() -> None:
    for path in TESTS.joinpath('unit').glob('*.py'):
        roots = {name.partition('.')[0] for name in imported(path)}
        assert not roots & {'mercurial', 'repositories', 'world'}, path


def test_each_test_file_that_the_documents_name_is_there() -> None:
    there = {path.name for path in TESTS.rglob('test_*.py')}
    named = set()
    for path in [*CHECKOUT.glob('*.rst'), *CHECKOUT.glob('docs/*.rst')]:
        named |= set(re.findall(r'test_\w+\.py', path.read_text('utf-8')))
    assert len(named) > 10 and named <= there


def test_no_file_and_no_function_is_too_long() -> None:
    package = CHECKOUT / 'hgext_delegate'
    assert len(list(package.glob('*.py'))) <= 6
    for path in package.rglob('*.py'):
        text = path.read_text('utf-8')
        if path.parent != package or path.name != '__init__.py':
            assert text.count('\n') <= 320, path
        for node in ast.walk(ast.parse(text)):
            # the docstring of a command is its manual
            if isinstance(node, ast.FunctionDef) and node.end_lineno:
                first = node.body[ast.get_docstring(node) is not None :][:1]
                length = node.end_lineno - (first or [node])[0].lineno + 1
                assert length <= 45, (path, node.name)
