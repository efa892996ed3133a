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

# Without a date, which would be another one each time.
HEADER = """\
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""


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


def documented(path: Path) -> list[str]:
    """The texts that 'hg help' shows of the file PATH; Mercurial looks up
    each paragraph."""
    text = path.read_text('utf-8')
    if path.suffix == '.txt':
        return text.split('\n\n')
    found = []
    tree = ast.parse(text)
    for node in (tree, *tree.body):
        command = getattr(node, 'decorator_list', node is tree)
        if isinstance(node, (ast.Module, ast.FunctionDef)) and command:
            found += (ast.get_docstring(node) or '').split('\n\n')
    return [paragraph for paragraph in found if paragraph.strip()]


def template(package: Path) -> str:
    """The text of the template, with the names of the files that say what."""
    catalog = Catalog(charset='utf-8')
    helps = [package / '__init__.py', *sorted(package.glob('help/*.txt'))]
    texts = [(path, documented(path)) for path in helps]
    for path in sorted(package.rglob('*.py')):
        said = sorted(translatable(path))
        texts.append((path, [text.decode('utf-8') for text in said]))
    for path, found in texts:
        # with no line number, which any edit would change
        place: Any = (str(path.relative_to(package.parent)), None)
        for text in found:
            catalog.add(text, locations=[place])
    out = io.BytesIO()
    pofile.write_po(out, catalog, omit_header=True, sort_output=True)
    return HEADER + out.getvalue().decode('utf-8')


if __name__ == '__main__':
    Path(sys.argv[1]).write_text(template(Path(sys.argv[2])), 'utf-8')
