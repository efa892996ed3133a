"""What went wrong, in words."""

from __future__ import annotations

from mercurial import dispatch  # noqa: F401 - 7.2 needs it first

from hgext_delegate.report import wording


def test_what_cannot_be_imported_is_named_without_its_place() -> None:
    error = ImportError('no x in cffi (/srv/venv/cffi.so)', name='cffi')
    line, _remedy = wording.of_import(error)
    assert line == b'cannot log in anywhere: cffi cannot be imported'


def test_a_joiner_stays_between_letters_and_goes_elsewhere() -> None:
    for word in ('\u0645\u06cc\u200c\u062e', '\U0001f469\u200d\U0001f467'):
        assert wording.text(word) == word.encode()
    assert wording.text('a\u200d \u202eb') == b'a ?b'
