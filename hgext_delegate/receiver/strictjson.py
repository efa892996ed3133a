# strictjson.py - one JSON object, read strictly
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''one JSON object, read strictly, from a side that may send anything

Pure. What is wrong is a ValueError whose text may be shown to anybody.
'''

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

# In bytes and in brackets; an object of protocol 1 has less than half of both.
MAX_BYTES = 2 * 1024 * 1024
MAX_DEPTH = 16

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKET = re.compile(rb'[][{}]')

# whether a value will do, and what it is to be, in words
Rule = tuple[Callable[[Any], bool], str]


def load(data: bytes) -> dict[str, Any]:
    '''the object that is all of ``data``. Raises ValueError'''
    if len(data) > MAX_BYTES:
        raise ValueError('the object has more than %d bytes' % MAX_BYTES)
    # json has no limit but the interpreter's stack
    if _depth(data) > MAX_DEPTH:
        raise ValueError('the object is nested too deeply')
    try:
        content = json.loads(
            data.decode('utf-8'),
            object_pairs_hook=_once,
            parse_int=_number,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError:
        raise ValueError('the object is not UTF-8') from None
    except json.JSONDecodeError as exc:
        # its own text has nothing of the input
        raise ValueError('the object is not JSON: %s' % exc) from None
    if not isinstance(content, dict):
        raise ValueError('standard input is not a JSON object')
    return content


def check(
    content: Mapping[str, Any], where: str, rules: Mapping[str, Rule]
) -> None:
    '''raise ValueError unless ``content`` has all that ``rules`` name

    What they do not name may be there: a newer server says more.
    '''
    for name, (holds, wanted) in rules.items():
        if name not in content:
            raise ValueError('%s has no %s' % (where, name))
        if not holds(content[name]):
            raise ValueError('%s of %s is not %s' % (name, where, wanted))


def is_a(*types: type) -> Callable[[Any], bool]:
    # bool is an int in Python, and no number in JSON
    return lambda v: isinstance(v, types) and not isinstance(v, bool)


def matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, str) and pattern.match(v) is not None


def _depth(data: bytes) -> int:
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b'', data)):
        depth += 1 if bracket in b'[{' else -1
        deepest = max(deepest, depth)
    return deepest


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        # two readers would mean two different values
        raise ValueError('the object has a key twice')
    return content


def _number(text: str) -> int:
    # Python <= 3.10 takes minutes for a number of a million digits.
    if len(text) > 20:
        raise ValueError('the object has a number of %d digits' % len(text))
    return int(text)


def _no_constant(text: str) -> None:
    raise ValueError('the object is not JSON: it has %s' % text)
