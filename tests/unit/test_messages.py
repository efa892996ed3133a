"""Each message that a push can print is explained in the manual, and fits a
line of a terminal."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain

import pytest
from sources import PACKAGE, modules, tree

pytestmark = pytest.mark.once


TEXT = PACKAGE / 'help' / 'messages.txt'
# Whose translated messages reach a pusher: mistakes, and what became of it.
SPEAKERS = [
    'config.parsers',
    'config.policy',
    'config.targets',
    'delivery.dispatcher',
    'delivery.launcher',
    'extension.push_hooks',
    'report.config_errors',
    'report.follower',
    'report.progress',
    'report.refusals',
    'report.wording',
]
# Whose first argument is a reason, and whose second is a remedy.
ERRORS = {
    'SessionError',
    'ConfigurationError',
    'Expired',
    'JournalError',
    'LockError',
    'trouble',
}
# Folders whose modules no push comes to.
OTHERS = ('receiver.', 'commands.setup.')


def texts(node: ast.expr | None) -> Iterator[str]:
    """The texts that the expression NODE can be, with a NUL for each value in
    them; nothing where that is decided elsewhere."""
    if isinstance(node, ast.Constant) and node.value:
        text = node.value
        text = text.decode('utf-8') if isinstance(text, bytes) else str(text)
        yield re.sub(r'%(\.\d)?[sdfr]', '\0', text)
    elif isinstance(node, ast.JoinedStr):
        yield ''.join(
            str(part.value) if isinstance(part, ast.Constant) else '\0'
            for part in node.values
        )
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        yield from texts(node.left)
    elif isinstance(node, ast.IfExp):
        yield from chain(texts(node.body), texts(node.orelse))


def patterns(node: ast.expr | None) -> Iterator[str]:
    """What the texts that NODE can be look like."""
    for text in texts(node):
        # the target's name, or what every line of ours begins with
        text = re.sub(r'^(\0|delegate): |^\(|\)$', '', text.strip())
        yield re.escape(text).replace('\0', '.{0,80}?')


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    """The calls in the module NAME, with the last word of what is called."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func).rpartition('.')[2]
            yield function.lstrip('_') or '_', node


def translated() -> Iterator[str]:
    """Problems and remedies: what stands in _()."""
    for name in modules():
        for function, node in calls(name):
            if name in SPEAKERS and function == '_':
                yield from patterns(node.args[0])
            elif pushed(name) and function in ('say', 'warn'):
                yield from voiced(node)


def pushed(name: str) -> bool:
    """Whether a push may come to the module NAME."""
    return not name.startswith(OTHERS)


def voiced(call: ast.Call) -> Iterator[str]:
    """What stands in _() in the arguments of CALL."""
    for node in ast.walk(call):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == '_':
            yield from patterns(node.args[0])


def reasons() -> Iterator[str]:
    """Why a session or the journal failed."""
    for name in filter(pushed, modules()):
        for function, node in calls(name):
            if function in ERRORS:
                number = 1 if function == 'trouble' else 0
                yield from patterns(node.args[number])
    for part in ast.walk(tree('ssh.diagnosis')):
        if isinstance(part, ast.Return) and isinstance(part.value, ast.Tuple):
            for text in part.value.elts:
                yield from patterns(text)


def spoken() -> Iterator[str]:
    """What anybody may read: what stands in _(), reasons and remedies."""
    for name in modules():
        for function, node in calls(name):
            if function in ERRORS or function == '_' or 'Error' in function:
                for argument in node.args:
                    yield from texts(argument)
    for part in ast.walk(tree('ssh.diagnosis')):
        if isinstance(part, ast.Tuple):
            for element in part.elts:
                yield from texts(element)


def plain() -> str:
    """The text on one line, without marks and quotes, in lower case."""
    words = TEXT.read_text('utf-8').replace('``', '').replace("'", '')
    return ' '.join(words.split()).lower()


def explained(pattern: str, text: str) -> bool:
    sought = pattern.lower().replace("'", '').replace('\\ ', ' ')
    return bool(re.search(rf'(?<![\w-]){sought.strip()}', text))


def test_each_message_is_explained() -> None:
    text = plain()
    found = {*translated(), *reasons()}
    assert len(found) > 80
    assert [p for p in sorted(found) if not explained(p, text)] == []


def test_each_message_fits_a_line_of_a_terminal() -> None:
    # 'remote: (' and ')' stand around it; of two host keys one line is long
    lines = {
        line.replace('\0', 'blog')
        for text in spoken()
        for line in text.splitlines()
        if not text.startswith('it shows ')
    }
    assert len(lines) > 300
    assert [line for line in sorted(lines) if len(line) > 70] == []
