"""What the security page promises names the tests that hold it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from sources import CHECKOUT

pytestmark = pytest.mark.once

PAGE = CHECKOUT / 'docs' / 'security.rst'
# each row of a list-table, and its cells
ROW = re.compile(r'^   \* - .*?(?=^   \* - |^\S|\Z)', re.MULTILINE | re.DOTALL)
CELL = re.compile(r'^   [* ] - ', re.MULTILINE)
TEST = re.compile(r'``(test_\w+)(?:\.py)?``')


def rows() -> Iterator[tuple[str, str]]:
    """What each row is about, and its last cell."""
    for row in ROW.findall(PAGE.read_text('utf-8')):
        _before, *cells = CELL.split(row)
        if cells[0].strip() != 'who':
            yield ' '.join(' '.join(cells[:2]).split()), cells[-1]


def known_tests() -> set[str]:
    """The files of tests, and the functions in them."""
    found = set()
    for path in (CHECKOUT / 'tests').glob('*/test_*.py'):
        found.add(path.stem)
        for node in ast.parse(path.read_text('utf-8')).body:
            if isinstance(node, ast.FunctionDef):
                found.add(node.name)
    return found


def test_each_row_names_tests_that_are_there() -> None:
    known, seen = known_tests(), list(rows())
    # the table of who wants what, and the places where accounts meet
    assert len(seen) > 45
    wrong = {
        row: [name for name in TEST.findall(cell) if name not in known]
        for row, cell in seen
    }
    assert not {row: names for row, names in wrong.items() if names}
    assert not [row for row, cell in seen if not TEST.search(cell)]
