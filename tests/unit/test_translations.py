"""All that is said can be translated, and translators have it."""

from __future__ import annotations

import ast
import re

import messages
import pytest
from sources import CHECKOUT, PACKAGE, modules, path_of, tree

pytestmark = pytest.mark.once


# Whose first arguments a user reads.
SPOKEN = {'status', 'warn', 'say', 'note', 'Abort', 'InputError', 'StateError'}


def spoken(name: str) -> list[ast.expr]:
    """What the module NAME gives to somebody to read, as it stands there."""
    found: list[ast.expr] = []
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func).rpartition('.')[2]
            hints = [k.value for k in node.keywords if k.arg == 'hint']
            found += hints
            if function in SPOKEN:
                found += node.args
    return found


def test_what_is_said_can_be_translated() -> None:
    for name in modules():
        for node in spoken(name):
            literals = {
                part.value
                for part in ast.walk(node)
                if isinstance(part, ast.Constant)
                and isinstance(part.value, bytes)
                # names and punctuation are the same in any language
                and re.search(rb'[a-z]{2} [a-z]', part.value)
            }
            assert literals <= messages.translatable(path_of(name)), name


def test_the_template_for_translators_is_up_to_date() -> None:
    made = messages.template(PACKAGE)
    committed = CHECKOUT / 'i18n' / 'hgext_delegate.pot'
    assert committed.read_text('utf-8') == made, "'make pot' writes it anew"
