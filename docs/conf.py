# Sphinx builds the manual from this folder: 'make docs'.

from pathlib import Path

HERE = Path(__file__).resolve().parent
_metadata: dict = {}
exec(
    (HERE.parent / 'hgext_delegate' / 'metadata.py').read_text('utf-8'),
    _metadata,
)

project = 'hg-delegate'
author = 'the hg-delegate developers'
copyright = '2026, the hg-delegate developers'
release = version = _metadata['__version__'].decode('ascii')
html_theme = 'alabaster'
exclude_patterns = ['_build']
nitpicky = True
