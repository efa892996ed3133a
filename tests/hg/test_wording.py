"""What went wrong, in words."""

from __future__ import annotations

from mercurial import dispatch  # noqa: F401 - 7.2 needs it first

from hgext_delegate.report import wording


def test_what_cannot_be_imported_is_named_without_its_place() -> None:
    error = ImportError('no x in cffi (/srv/venv/cffi.so)', name='cffi')
    line, _remedy = wording.of_import(error)
    assert line == b'cannot log in anywhere: cffi cannot be imported'
