"""What of the extension can be translated: i18n/hgext_delegate.pot.

messages.py FILE PACKAGE    write FILE anew
"""

from __future__ import annotations

import ast
import io
import sys
from pathlib import Path
from typing import Any

from babel.messages import Catalog, pofile


def translatable(path: Path) -> set[bytes]:
    """The texts in _() in the source file PATH."""
    return {
        argument.value
        for node in ast.walk(ast.parse(path.read_text('utf-8')))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == '_'
        for argument in node.args
        if isinstance(argument, ast.Constant)
        and isinstance(argument.value, bytes)
    }


def template(package: Path) -> str:
    """The text of the template, with the names of the files that say what."""
    catalog = Catalog(charset='utf-8')
    for path in sorted(package.rglob('*.py')):
        for text in sorted(translatable(path)):
            # with no line number, which any edit would change
            place: Any = (str(path.relative_to(package.parent)), None)
            catalog.add(text.decode('utf-8'), locations=[place])
    out = io.BytesIO()
    pofile.write_po(out, catalog, omit_header=True, sort_output=True)
    return out.getvalue().decode('utf-8')


if __name__ == '__main__':
    Path(sys.argv[1]).write_text(template(Path(sys.argv[2])), 'utf-8')
