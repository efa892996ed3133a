# configtext.py - the text of an ssh_config, as its reader takes it
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''the text of an ssh_config, with what it includes, as its reader takes it

The reader, which is paramiko's, knows no Include and no comment behind a
value, lets a Match that it does not understand match always, and takes quotes
for part of some values. What ssh would read otherwise is rewritten here, or
refused: it says where a delegation goes.
'''

from __future__ import annotations

import glob
import itertools
import os
import re
import shlex
from collections.abc import Iterator

from . import errors, identity

# As deep as ssh follows them.
_DEPTH = 16

_LINE = re.compile(r'(\w+)(?:\s*=\s*|\s+)(.*)')
_WORD = re.compile(
    r"""\s*((?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\["'\\ ]|[^\s"'])+)\s*"""
)
# The rest of the line is a command, with a # and quotes of its own.
_COMMANDS = ('proxycommand', 'localcommand', 'remotecommand')
_LISTS = ('userknownhostsfile', 'globalknownhostsfile')
_CRITERIA = ('host', 'originalhost', 'user', 'localuser', 'exec')
_ALONE = ('all', 'canonical')


def read(path: str) -> str:
    '''the text of the file ``path``, '' where there is none

    It can name programs to run, so one that others may write is refused, as
    ssh refuses it. Raises SessionError.
    '''
    return '\n'.join(_lines(path, _DEPTH))


def trouble(
    path: str, words: str, remedy: str = '', detail: str = ''
) -> errors.SessionError:
    '''what is wrong with the file ``path``'''
    path = os.path.abspath(os.path.expanduser(path))
    return errors.ConfigurationError(
        f'ssh config file {os.path.basename(path)} {words}',
        remedy,
        detail=f'{path} {detail}'.strip(),
    )


def _lines(path: str, depth: int) -> Iterator[str]:
    everywhere = True
    # LF alone ends a line, whatever Python knows besides
    for line in _content(path).split('\n'):
        match = _LINE.fullmatch(line.strip())
        if not match or line.strip().startswith('#'):
            yield line
            continue
        keyword, value = match[1].lower(), match[2]
        if keyword in _COMMANDS:
            # The reader takes one pair of quotes off. Without, older releases
            # forget that there was a none.
            yield f'{keyword} "{value}"'
            continue
        try:
            words = _words(value)
            if keyword == 'match':
                words = _match(words)
            if keyword in ('host', 'match') and '[' in value:
                # which ssh takes as it stands, and the reader as a pattern
                raise ValueError('has a [ in a pattern')
        except ValueError as error:
            raise trouble(path, str(error), detail=line) from None
        if keyword != 'include':
            if keyword in ('host', 'match'):
                every = (['host', '*'], ['match', 'all'])
                everywhere = [keyword, *words] in every
            yield _line(keyword, words)
        elif not everywhere:
            raise trouble(
                path,
                'has an Include below a Host or Match',
                'move it to the top of the file',
            )
        else:
            yield from _included(path, words, depth)


def _included(path: str, words: list[str], depth: int) -> Iterator[str]:
    if not depth:
        raise trouble(path, 'includes files that include files, without end')
    for word in words:
        pattern = os.path.expanduser(word)
        for name in sorted(glob.glob(os.path.join(_folder(), pattern))):
            if not os.path.isdir(name):
                yield from _lines(name, depth - 1)
                # what follows is for all hosts again
                yield 'host *'


def _folder() -> str:
    # ssh_config(5): to what a relative path belongs, wherever it stands
    return os.path.expanduser('~/.ssh')


def _content(path: str) -> str:
    try:
        status, content = identity.read_file(os.path.expanduser(path))
    except (FileNotFoundError, NotADirectoryError):
        return ''
    except OSError as error:
        words = f'cannot be read: {error.strerror}'
        raise trouble(path, words) from None
    if status.st_uid not in (0, os.getuid()) or status.st_mode & 0o022:
        raise trouble(
            path,
            'may be written by others',
            'let the account that runs hg own it, and chmod go-w',
        )
    return content.decode('utf-8', 'surrogateescape')


def _words(value: str) -> list[str]:
    '''the words of ``value`` up to a comment, without their quotes'''
    words = []
    place = 0
    while place < len(value) and value[place] != '#':
        match = _WORD.match(value, place)
        if not match:
            raise ValueError('has a quote without an end')
        words.append(_unquoted(match[1]))
        place = match.end()
    return words


def _unquoted(word: str) -> str:
    found, quote, escaped = '', '', False
    for char, following in zip(word, word[1:] + '\0'):
        if escaped:
            found, escaped = found + char, False
        elif char == '\\' and following in ('"\'\\' if quote else '"\'\\ '):
            escaped = True
        elif char in ('"', "'") and quote in ('', char):
            quote = '' if quote else char
        else:
            found += char
    return found


def _match(words: list[str]) -> list[str]:
    '''the criteria of a Match, which the reader wants in lower case'''
    found = []
    left = iter(words)
    for word in left:
        criterion = word.lower()
        kind = criterion.removeprefix('!')
        if kind not in (*_CRITERIA, *_ALONE) or criterion == '!all':
            raise ValueError(f'has a Match that is not understood: {word}')
        found.append(criterion)
        if kind in _CRITERIA:
            found += itertools.islice(left, 1)
    return found


def _line(keyword: str, words: list[str]) -> str:
    if keyword in (*_LISTS, 'host', 'match'):
        return f'{keyword} {" ".join(map(shlex.quote, words))}'
    value = ' '.join(words)
    return f'{keyword} "{value}"' if len(words) == 1 else f'{keyword} {value}'
