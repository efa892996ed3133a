# SPDX-License-Identifier: GPL-2.0-or-later
'''what a revset of a repository's hgrc may ask for

It is judged by its words, after aliases and ``##``: nothing is evaluated.
'''

from __future__ import annotations

import re
from collections.abc import Iterator

from mercurial import error, revset, revsetlang
from mercurial.i18n import _

# The kinds of patterns that read a file of the host, wherever they stand. A
# ``set:`` has a language of its own, in which one can be spelled otherwise.
_READS = re.compile(rb'(?:listfile0?|include|set):')


# What goes through the history once, or looks at a name.
_CHEAP = frozenset(
    b'all ancestors bookmark branch closed descendants draft head heads'
    b' merge none present public tag'.split()
)
_FEW = 20


def reads_files(ui, when: bytes) -> bool:
    '''whether a pattern in the revset ``when`` may read a file'''
    return any(_READS.search(text) for _kind, text in _words(ui, when))


def forbidden(ui, when: bytes) -> tuple[bytes, bytes] | None:
    '''what a host that has a policy refuses in the revset ``when``, and what
    to do; None if nothing

    Of predicates those are allowed that Mercurial lets everybody use in a
    search of hgweb: no other repository is asked, no file read, no program run.
    '''
    for kind, text in _words(ui, when):
        # one that does not exist is told when it is evaluated
        is_known = text in revset.symbols
        if kind == 'func' and is_known and text not in revset.safesymbols:
            line = _(b"'%s()' is not for a repository's hgrc") % text
            return line, _(b'use predicates that are cheap and read no file')
        if _READS.search(text):
            line = _(b'a pattern that reads files is not for it')
            return line, _(b'write the paths into the revset: path:docs')
    return None


def is_cheap(ui, when: bytes) -> bool:
    '''whether ``when`` cannot take long, however large the repository is

    Each predicate goes through the history once, and no pattern is matched.
    '''
    words = list(_words(ui, when))
    return len(words) <= _FEW and all(
        text in _CHEAP if kind == 'func' else b':' not in text
        for kind, text in words
    )


def _words(ui, when: bytes) -> Iterator[tuple[str, bytes]]:
    '''the names of functions, and all strings and symbols, in ``when``

    Nothing where it cannot be parsed: then it cannot be evaluated either.
    '''
    try:
        tree = revsetlang.parse(when)
        aliases = ui.configitems(b'revsetalias')
        tree = revsetlang.foldconcat(revsetlang.expandaliases(tree, aliases))
    except (error.Error, RecursionError, ValueError):
        return
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, tuple):
            continue
        kind, *parts = node
        # another one, such as (a)(b), cannot be evaluated
        if kind == b'func' and parts[0][0] == b'symbol':
            yield 'func', parts[0][1]
            parts = parts[1:]
        for part in parts:
            if isinstance(part, bytes):
                yield 'text', part
            else:
                waiting.append(part)
