"""The source of the package, to be looked at."""

from __future__ import annotations

import ast
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = CHECKOUT / 'hgext_delegate'


def modules() -> list[str]:
    """The names of our modules, such as ssh.session."""
    paths = (path.relative_to(PACKAGE) for path in PACKAGE.rglob('*.py'))
    return sorted('.'.join(path.with_suffix('').parts) for path in paths)


def path_of(name: str) -> Path:
    return PACKAGE.joinpath(*name.split('.')).with_suffix('.py')


def tree(name: str) -> ast.Module:
    return ast.parse(path_of(name).read_text('utf-8'))
