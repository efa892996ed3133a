# Sphinx builds the manual and the man page from this folder: 'make docs'.

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import hgext_delegate  # noqa: E402  found by the line above

project = 'hg-delegate'
author = 'the hg-delegate developers'
copyright = '2026, the hg-delegate developers'
release = version = hgext_delegate.__version__.decode('ascii')
html_theme = 'alabaster'
# next and previous also where the sidebar is out of sight
html_theme_options = {'page_width': '1100px', 'show_relbars': True}
templates_path = ['_templates']
html_static_path = ['_static']
html_css_files = ['narrow.css']
highlight_language = 'text'
exclude_patterns = ['_build']
nitpicky = True
# or -r/--rev becomes what nobody can paste
smartquotes = False
# the same page whenever it is made
today = '2026'
man_pages = [
    ('reference', 'hg-delegate', 'push to deploy, with Mercurial', author, 1)
]


def command_rst(name: str, entry: tuple) -> Iterator[str]:
    """What 'hg help NAME' says, as lines of a page."""
    function, flags, synopsis = entry[:3]
    yield from (f'hg {name}', '~' * (len(name) + 3), '', '::', '')
    yield from (f'  hg {name} {synopsis.decode()}', '')
    yield inspect.getdoc(function) or ''
    for short, long, _default, text, *label in flags:
        words = [f'``--{long.decode()}``', *(word.decode() for word in label)]
        first = f'``-{short.decode()}``, ' if short else ''
        yield from ('', first + ' '.join(words), f'  {text.decode()}')
    yield ''


def fill_in(app, name: str, source: list[str]) -> None:
    """Put what the extension says of itself where a page asks for it."""
    lines = []
    for key, entry in hgext_delegate.cmdtable.items():
        if not key.startswith(b'debug'):  # which hg help leaves out as well
            lines += command_rst(key.decode(), entry)
    _first, _, manual = (inspect.getdoc(hgext_delegate) or '').partition('\n')
    source[0] = source[0].replace('.. hg-commands', '\n'.join(lines))
    source[0] = source[0].replace('.. hg-manual', manual)


def hg_role(role, rawtext, text, lineno, inliner, options=None, content=()):
    """Mercurial's ':hg:`help x`'."""
    return [nodes.literal(rawtext, f'hg {text}')], []


def setup(app) -> None:
    app.add_role('hg', hg_role)
    app.connect('source-read', fill_in)
