# SPDX-License-Identifier: GPL-2.0-or-later
'''what others have written, as HTML and as text

The sanitizer has been over all output before it was kept. Here nothing relies
upon that.
'''

from __future__ import annotations

import html
import re
import time

from .. import sanitizer
from ..report import wording
from ..state import delegation

_SGR = re.compile('\x1b\\[([0-9;:]*)m')
# SGR code -> classes that it adds
_CLASSES = {
    '1': {'bold'},
    '4': {'underline'},
    **{str(30 + n): {f'c{n}'} for n in range(8)},
    **{str(90 + n): {f'c{n}', 'bright'} for n in range(8)},
}


def moment(seconds: float) -> str:
    '''as RFC 3339 has it'''
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(seconds))


def verdict(row: delegation.Delegation, runs: bool = False) -> str:
    '''the last line about ``row``, which ``runs`` if some process runs it

    As ``hg push`` says it, but a cancelled one has not failed: beside it stands
    its state.
    '''
    line, _hints = wording.verdict(row)
    if row.state == delegation.CANCELLED:
        line = wording.text(row.reason)
    text = line.decode('utf-8', 'replace')
    if runs and row.state == delegation.RUNNING:
        text = 'running'
    if row.merged_into and row.state == delegation.SUPERSEDED:
        text = f'superseded by delegation {row.merged_into}'
    return f'{row.target}: {text}'


def escaped(text: str) -> str:
    '''``text`` without what could steer a terminal or turn the line around'''
    text = html.escape(_harmless(text))
    return text.encode('ascii', 'xmlcharrefreplace').decode('ascii')


def _harmless(text: str) -> str:
    if text.isprintable():
        return text
    text = sanitizer.without_stray_joiners(text)
    known = sanitizer.JOINERS
    return ''.join(
        c if c.isprintable() or c in known else '\ufffd' for c in text
    )


def text_line(data: bytes) -> bytes:
    '''one line of output as UTF-8 text, without colours'''
    text = _SGR.sub('', data.decode('utf-8', 'replace')).expandtabs()
    return _harmless(text).encode('utf-8') + b'\n'


def line(data: bytes) -> str:
    '''one line of output, its colours as classes'''
    pieces = []
    classes: set[str] = set()
    parts = _SGR.split(data.decode('utf-8', 'replace').expandtabs())
    for number, part in enumerate(parts):
        if number % 2:
            classes = _after(classes, part)
        elif part and classes:
            names = ' '.join(sorted(classes))
            pieces.append(f'<span class="{names}">{escaped(part)}</span>')
        else:
            pieces.append(escaped(part))
    return ''.join(pieces) + '\n'


def _after(classes: set[str], codes: str) -> set[str]:
    '''the classes after the SGR sequence ``codes``; what is unknown, such as
    one of 256 colours, changes none'''
    words = codes.split(';')
    if not set(words).isdisjoint({'38', '48'}):
        return classes
    for code in words:
        if code in ('', '0'):
            classes = set()
        elif code in ('39', *_CLASSES) and code not in ('1', '4'):
            classes = {n for n in classes if n in ('bold', 'underline')}
        classes = classes | _CLASSES.get(code, set())
    return classes
