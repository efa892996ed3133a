# SPDX-License-Identifier: GPL-2.0-or-later
'''bytes from a deploy script in, safe whole lines out

What the script prints reaches the pusher's terminal, so this file is a
security boundary: nothing leaves but text, tabs and SGR colour, one whole
line at a time, in bounded memory, however the input was cut. No I/O, no clock.

A line ends at LF. A CR ends one *state* of the line, as progress meters use
it; only the newest state with something to see counts, so CR LF needs no rule
of its own. Escape sequences follow ECMA-48, but end at CR or LF at the latest:
a terminal reads on until ST, and one broken title sequence could hide all that
follows. For the same reason colour is not carried over to the next line (nor
to the rest of a line of which a part was shown): every line stands alone.
'''

from __future__ import annotations

import codecs
import functools
import re
import unicodedata

RESET = b'\x1b[0m'
# room for the mark of a cut line: reset, 33 bytes of words and a 64-bit count
_MARK_ROOM = 40
# Leaves as it is what needs nothing: the fastest way to look for the rest.
_PLAIN = bytes(
    byte if 0x20 <= byte < 0x7F or byte in b'\t\n\r' else byte ^ 1
    for byte in range(256)
)

# ECMA-48 5.4. Terminals obey a control inside a control sequence and read on,
# so controls belong to the sequence here; those that break it off do not
_CSI_BODY = r'[\x00-\x09\x0b\x0c\x0e-\x17\x19\x1c-\x3f\x7f]*'
# up to BEL, CAN, SUB or ESC, and C1 with its ST; the terminator is removed as
# a control or an escape sequence of its own
_STRING_BODY = r'[^\x07\n\r\x18\x1a\x1b\x80-\x9f]*'
_MAX_SGR = 64

# begins with one character class, which halves the time of re.sub
_CONTROL = re.compile(
    r'[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f](?:'
    rf'(?:(?<=\x9b)|(?<=\x1b)\[)(?:([0-9:;]{{0,{_MAX_SGR}}})m|{_CSI_BODY}[@-~]?)'
    rf'|(?:(?<=[\x90\x98\x9d-\x9f])|(?<=\x1b)[]PX^_]){_STRING_BODY}'
    r'|(?:(?<=[\x8e\x8f])|(?<=\x1b)[NO])[ -~]?'
    r'|(?<=\x1b)[ -/]*[0-~]?)?'
)
_INTRODUCERS = '\x1b\x8e\x8f\x90\x98\x9b\x9d\x9e\x9f'
_UNFINISHED = re.compile(
    rf'(?:\x1b\[|\x9b){_CSI_BODY}'
    rf'|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f]){_STRING_BODY}'
    r'|\x1b[NO]|[\x8e\x8f]|\x1b[ -/]*'
)

# Cf of Unicode 16, the line and paragraph separators and whatever else is
# Default_Ignorable, but not U+FE00-FE0F, which only choose a glyph. A list,
# since unicodedata is as old as its Python and a terminal may be newer
_INVISIBLE = re.compile(
    '[\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160'
    '\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164'
    '\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f'
    '\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+'
)
_BAD_BYTES = re.compile('[\udc80-\udcff]+')
# they spell Persian words and join emoji; the m of a colour is no letter
JOINERS = '\u200c\u200d'
_COLOR = re.compile('\x1b[^m]*m')
_JOINERS = re.compile(f'(\x1b[^m]*m)?([{JOINERS}]+)')

# 5, 6 (blink) and 8 (conceal) are out. So are the fonts, 10 to 20: on a Linux
# console 11 and 12 change how all later bytes are read, and 0 does not undo it
_SGR_CODES = frozenset(
    [0, 1, 2, 3, 4, 7, 9, 21, 22, 23, 24, 27, 29, 39, 49, 53, 55, 59]
    + [base + color for base in (30, 40, 90, 100) for color in range(8)]
)
_SGR_SUBPARAMETERS = re.compile(
    r'4:[0-5]|[345]8:(?:5:\d{1,3}|2:(?:\d*:)?\d{1,3}:\d{1,3}:\d{1,3})'
)
_SGR_CUT_SHORT = re.compile(rb'\x1b[^m]*\Z')
_SGR = re.compile(rb'\x1b[^m]*m')


class Sanitizer:
    '''cuts one stream into lines that are safe to print

    ``color`` keeps SGR (ECMA-48 8.3.117), without what hides text. ``width``
    is the longest line in bytes, SGR and the mark of a cut included; at least
    64, or ValueError. It is for one stream, and holds one line at most.
    '''

    def __init__(self, color: bool = True, width: int = 4096) -> None:
        if width < 64:
            raise ValueError(f'line width below 64 bytes: {width}')
        self._color = color
        self._width = width
        self._decoder = codecs.getincrementaldecoder('utf-8')('surrogateescape')
        self._sequence = ''  # an escape sequence that has not ended yet
        self._tail = ' '  # the last character given out, and joiners after it
        self._state = bytearray()  # the first `width` bytes since the last CR
        self._state_size = 0
        self._newest: bytes | None = None  # newest ended state, if not shown
        self._shown: bytes | None = None  # what flush() showed of this line
        self._continues = False  # the state's beginning has been shown

    def feed(self, data: bytes) -> bytes:
        '''the lines that ``data`` completes, each with its LF'''
        return self._cut(self._clean(data))

    def flush(self) -> bytes:
        '''what the pusher should see now that the script pauses

        That is the unfinished line, or if it has nothing to see the newest
        progress state: none or one line. Only what comes after it is shown
        later. A piece of a character or of an escape sequence stays.
        '''
        line = self._showable()
        if not line:
            return b''
        if _visible(self._present()):
            self._start_state()
            self._continues = True
            self._tail = ' '
        self._newest = None
        self._shown = line
        return line + b'\n'

    def close(self) -> bytes:
        '''the last line if it had no newline: none or one'''
        line = self._cut(self._clean(b'', final=True)) + self._end_line()
        return b'' if line == b'\n' else line

    @property
    def held(self) -> bool:
        '''whether flush() would show something'''
        return bool(self._showable())

    def _clean(self, data: bytes, final: bool = False) -> bytes:
        '''safe UTF-8 in which only CR and LF still mean something'''
        waiting = self._sequence or self._decoder.getstate()[0]
        if not (waiting or self._tail[1:]) and data.translate(_PLAIN) == data:
            self._tail = data[-1:].decode('ascii') or self._tail
            return data
        text = self._sequence + self._decoder.decode(data, final)
        self._sequence = _unfinished(text)
        # this removes the unfinished one as well, which then comes again whole
        text = _CONTROL.sub(
            (lambda sgr: _safe_sgr(sgr[1])) if self._color else '', text
        )
        if not text.isascii():
            text = _INVISIBLE.sub('', text)
            text = _BAD_BYTES.sub(_spelled, text)
        return self._joined(text).encode('utf-8')

    def _joined(self, text: str) -> str:
        '''``text`` without stray joiners; two at its end wait for more'''
        text = self._tail + text
        body = text.rstrip(JOINERS)
        color = _COLOR.fullmatch(body, max(body.rfind('\x1b'), 0))
        self._tail = (' ' if color else body[-1]) + text[len(body) :][:2]
        return without_stray_joiners(body)[1:]

    def _cut(self, clean: bytes) -> bytes:
        first, newline, rest = clean.partition(b'\n')
        self._extend(first)
        if not newline:
            return b''
        lines, end = self._end_line(), rest.rfind(b'\n') + 1
        if _is_plain(rest[:end], self._width):
            lines += rest[:end]
            rest = rest[end:]
        *others, rest = rest.split(b'\n')
        for line in others:
            self._extend(line)
            lines += self._end_line()
        self._extend(rest)
        return lines

    def _extend(self, part: bytes) -> None:
        *ended, rest = part.split(b'\r')
        for state in ended:
            self._append(state)
            self._end_state()
        self._append(rest)

    def _append(self, part: bytes) -> None:
        self._state += part[: self._width - len(self._state)]
        self._state_size += len(part)

    def _start_state(self) -> None:
        self._state.clear()
        self._state_size = 0
        self._continues = False

    def _end_state(self) -> None:
        state = self._present()
        if _visible(state):
            seen = state == self._shown and not self._continues
            self._newest = None if seen else state
        elif self._newest is None and self._shown is None:
            self._newest = state
        self._start_state()

    def _end_line(self) -> bytes:
        self._end_state()
        line = self._newest
        self._newest = self._shown = None
        return b'' if line is None else line + b'\n'

    def _showable(self) -> bytes:
        state = self._present()
        if not _visible(state):
            state = self._newest or b''
            return state if _visible(state) else b''
        seen = state == self._shown and not self._continues
        return b'' if seen else state

    def _present(self) -> bytes:
        return self._finished(bytes(self._state), self._state_size)

    def _finished(self, line: bytes, size: int) -> bytes:
        '''``line`` with colour reset, cut if it is longer than the width'''
        reset = _needed_reset(line)
        if size + len(reset) <= self._width:
            return line + reset
        line = line[: self._width - _MARK_ROOM]
        line = line.decode('utf-8', 'ignore').rstrip(JOINERS).encode('utf-8')
        line = _SGR_CUT_SHORT.sub(b'', line)
        mark = b' [%d bytes cut]' % (size - len(line))
        return line + _needed_reset(line) + mark


def _is_plain(lines: bytes, width: int) -> bool:
    '''whether whole ``lines`` can stay: most can, and are not split'''
    if b'\r' in lines or b'\x1b' in lines:
        return False
    start = 0
    while start < len(lines):
        start = lines.rfind(b'\n', start, start + width + 1) + 1
        if not start:
            return False
    return True


def without_stray_joiners(text: str) -> str:
    '''``text`` with only those joiners that are between letters or emoji'''

    def kept(match: re.Match[str]) -> str:
        start, end = match.span()
        sides = text[max(start - 1, 0) : start], text[end : end + 1]
        joins = end - start == 1 and all(map(_is_joined, sides))
        return match[0] if joins else match[1] or ''

    return _JOINERS.sub(kept, text)


def _is_joined(character: str) -> bool:
    '''whether it is a letter, a mark on one, or an emoji'''
    if character.isascii():
        return character.isalpha()
    # emoji newer than this Python have no category yet
    is_emoji = '\U0001f000' <= character <= '\U0001faff'
    return is_emoji or unicodedata.category(character)[0] in 'LMS'


def _unfinished(text: str) -> str:
    '''the escape sequence at the end that more text may belong to, or \'\''''
    start = max(map(text.rfind, _INTRODUCERS))
    if start < 0 or not _UNFINISHED.fullmatch(text, start):
        return ''
    if len(text) - start <= _MAX_SGR + 2:
        return text[start:]
    return text[start : start + 2] + ' '  # a shorter one, which is no SGR


@functools.lru_cache(maxsize=256)
def _safe_sgr(parameters: str | None) -> str:
    if parameters is None:
        return ''
    codes = parameters.split(';')
    kept = []
    while codes:
        code = codes.pop(0)
        if ':' in code:
            kept += [code] if _SGR_SUBPARAMETERS.fullmatch(code) else []
        elif code in ('38', '48', '58'):
            color = _extended_color(codes)
            # terminals disagree on where a damaged one ends, and may take an 8
            # in it for conceal: what follows is dropped with it
            if not color:
                break
            kept += [code, *color]
            del codes[: len(color)]
        elif int(code or 0) in _SGR_CODES:
            kept.append(str(int(code or 0)))
    return f'\x1b[{";".join(kept)}m' if kept else ''


def _extended_color(codes: list[str]) -> list[str]:
    '''the 5;n or 2;r;g;b (ITU-T T.416 13.1.8) that codes begin with, or []'''
    length = {'5': 2, '2': 4}.get(codes[0], 0) if codes else 0
    color = codes[:length]
    if len(color) < length or ':' in ''.join(color):
        return []
    values = [int(value or 0) for value in color]
    if max(values, default=0) > 255:
        return []
    return [str(value) for value in values]


def _needed_reset(line: bytes) -> bytes:
    last = line.rfind(b'\x1b')
    return b'' if last < 0 or line.startswith(RESET, last) else RESET


def _visible(line: bytes) -> bool:
    return bool(_SGR.sub(b'', line).strip())


def _spelled(bad: re.Match[str]) -> str:
    return ''.join(f'\\x{ord(each) - 0xDC00:02x}' for each in bad[0])
