"""sanitizer.py: explicit cases first, then what must hold for any bytes"""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from hgext_delegate import sanitizer

pytestmark = pytest.mark.once


INVISIBLE = ('Cc', 'Cf', 'Zl', 'Zp')  # general categories of Unicode
ANY_LENGTH = settings(deadline=None, max_examples=400)


def relayed(*pieces: bytes, **options: Any) -> list[bytes]:
    stream = sanitizer.Sanitizer(**options)
    shown = b''.join(map(stream.feed, pieces)) + stream.close()
    return whole_lines(shown)


def whole_lines(shown: bytes) -> list[bytes]:
    *lines, after = shown.split(b'\n')
    assert not after
    return lines


def bytewise(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


def paused(*pieces: bytes, color: bool = True) -> list[list[bytes]]:
    """Feeds the pieces with a flush after each; the last item is close()'s."""
    stream = sanitizer.Sanitizer(color)
    shown = [stream.feed(piece) + stream.flush() for piece in pieces]
    return [whole_lines(some) for some in [*shown, stream.close()]]


def memory(stream: sanitizer.Sanitizer) -> int:
    values = vars(stream).values()
    return sum(len(v) for v in values if isinstance(v, (bytes, bytearray, str)))


def assert_safe(line: bytes) -> None:
    """Judges a line by Unicode's categories and by how SGR is read."""
    text = re.sub('\x1b\\[([0-9:;]+)m', '', line.decode('utf-8'))
    word = '[^\\W\\d_]|[^\0-\x7f]'
    text = re.sub(f'(?<={word})[\u200c\u200d](?={word})', '', text)
    for character in text.replace('\t', ''):
        assert unicodedata.category(character) not in INVISIBLE
        assert character not in '\u034f\u115f\u1160\u3164\uffa0'
    colors = re.findall(b'\x1b\\[([0-9:;]+)m', line)
    for color in colors:
        codes = re.sub(rb'[345]8;(5|2;\d+;\d+);\d+', b'1', color).split(b';')
        assert not {b'', b'5', b'6', b'8', b'38', b'48', b'58'} & {*codes}
    assert not colors or colors[-1] == b'0'


@pytest.mark.parametrize(
    ('data', 'lines'),
    [
        (b'', []), (b'\n', [b'']), (b'a\n\nb\n', [b'a', b'', b'b']),
        (b'no newline', [b'no newline']), (b'one\ntwo', [b'one', b'two']),
        (b'  in\tdented  \n', [b'  in\tdented  ']), (b'   \n', [b'   ']),
        (b'abc\r\n', [b'abc']), (b'abc\r\r\n', [b'abc']), (b'\r\n', [b'']),
        (b'   \r\n', [b'   ']), (b'10%\r20%\r30%\n', [b'30%']),
        (b'\r10%\r20%', [b'20%']), (b'10%\r100%\r', [b'100%']),
        (b'done\r   \r\n', [b'done']), (b'doing\r     \rdone\n', [b'done']),
        (b'doing\r\x1b[K\r\x1b[2K\n', [b'doing']), (b'\r', []), (b'\x1b[K', []),
    ],
)  # fmt: skip
def test_bytes_become_lines(data: bytes, lines: list[bytes]) -> None:
    assert relayed(data) == lines


def test_a_line_is_given_out_by_the_very_feed_that_completes_it() -> None:
    stream = sanitizer.Sanitizer()
    assert stream.feed(b'on') == b''
    assert stream.feed(b'e\ntwo\nth') == b'one\ntwo\n'
    assert stream.feed(b'ree\r') == b''
    assert stream.feed(b'\n') == b'three\n'


@pytest.mark.parametrize(
    ('pieces', 'shown'),
    [
        # a prompt; the newline after it makes no empty line
        ([b'Password: ', b'\n', b'ok\n'], [[b'Password: '], [], [b'ok'], []]),
        ([b'abc', b'\r', b'\n', b'\n'], [[b'abc'], [], [], [b''], []]),
        ([b'abc', b'  \n', b'd'], [[b'abc'], [], [b'd'], []]),
        # only the rest is shown, even if it looks the same
        ([b'.', b'.', b'.\n'], [[b'.'], [b'.'], [b'.'], []]),
        # progress: each state once, and a repaint of it is not news
        ([b'10%\r  ', b'20%\r', b'\n'], [[b'10%'], [b'  20%'], [], []]),
        ([b'10%\r', b'10%\r', b'10%\n'], [[b'10%'], [], [], []]),
        ([b'\r10%', b'\r10%', b'\r20%'], [[b'10%'], [], [b'20%'], []]),
        ([b'10%\r', b'  \r\n', b'\n'], [[b'10%'], [], [b''], []]),
        ([b' \r', b'\n'], [[], [b' '], []]),
        ([b'10%\rPassword: ', b'\n'], [[b'Password: '], [], []]),
        ([b'same\r', b'\nsame\n'], [[b'same'], [b'same'], []]),
        # never a part of a character or of an escape sequence
        ([b'a\xe2', b'\x82', b'\xac\n'], [[b'a'], [], [b'\xe2\x82\xac'], []]),
        ([b'a\x1b', b'[', b'2', b'Kb\n'], [[b'a'], [], [], [b'b'], []]),
        ([b'a\x1b]0;t', b'itle\x1b', b'\\b\n'], [[b'a'], [], [b'b'], []]),
        ([b'a\xc2', b'\x9b3', b'Jb\n'], [[b'a'], [], [b'b'], []]),
        # colour ends where the line is let go; alone it is nothing to see
        ([b'\x1b[31mab', b'c\n'], [[b'\x1b[31mab\x1b[0m'], [b'c'], []]),
        ([b'', b' \x1b[1m', b'x\n'], [[], [], [b' \x1b[1mx\x1b[0m'], []]),
        ([b' ' * 4097, b' '], [[b' ' * 4056 + b' [41 bytes cut]'], [], []]),
    ],
)
def test_a_pause_lets_go_what_is_new(
    pieces: list[bytes], shown: list[list[bytes]]
) -> None:
    assert paused(*pieces) == shown


@pytest.mark.parametrize(
    'sequence',
    [
        '\x1b[2J', '\x1b[1;1H', '\x1b[?1049h', '\x1b[6n', '\x1b[>c', '\x9b2J',
        '\x1b[ q', '\x1b[!p', '\x1b[>4;2m', '\x1b[?4m', '\x1b[3 m',
        '\x1b[' + '1;' * 32 + '1m', '\x1b[' + '9' * 5000 + 'n', '\x1b[1\x01m',
        '\x1b]0;title\x07', '\x1b]0;title\x1b\\', '\x1b]0;title\x9c',
        '\x1b]52;c;aGk=\x07', '\x1b]8;;http://x\x1b\\', '\x9d0;title\x07',
        '\x1bPq#0~\x1b\\', '\x90q\x9c', '\x1bXsos\x1b\\', '\x98sos\x9c',
        '\x1b^pm\x1b\\', '\x9epm\x07', '\x1b_Gf=32\x1b\\', '\x9fapc\x9c',
        '\x1b]0;' + 'x' * 5000 + '\x07', '\x1b]0;\xe9\u20ac\U0001f600\x07',
        '\x1b]0;a\x18', '\x1b]0;a\x1a', '\x1b[3\x18', '\x1b]0;a\x1b[2J',
        '\x1b(0', '\x1b)B', '\x1b#8', '\x1b%G', '\x1b  F', '\x1bc', '\x1b7',
        '\x1bM', '\x1b=', '\x1bNa', '\x1bOP', '\x8ea', '\x8fP',
        '\x1b\x07', *'\x00\x07\x08\x0b\x0c\x0e\x1b\x7f\x80\x84\x85\x9a\x9c',
    ],
)  # fmt: skip
def test_escape_sequences_and_controls_are_removed_whole(sequence: str) -> None:
    data = f'before{sequence}\u00e9 after\n'.encode()
    assert relayed(data) == ['before\u00e9 after'.encode()]
    assert relayed(*bytewise(data)) == relayed(data)


@pytest.mark.parametrize('start', [b'\x1b]0;', b'\x1bP', b'\xc2\x9d', b'\x1b['])
def test_a_sequence_without_end_swallows_its_line_only(start: bytes) -> None:
    assert relayed(b'a' + start + b'00\nb\n') == [b'a', b'b']
    assert relayed(start + b'00\r10%\n') == [b'10%']


def test_what_is_left_after_a_removal_makes_no_new_sequence() -> None:
    for inner in (b'\x1b', b'\x00', b'\x1b[K', b'\xe2\x80\x8b', b'\xff'):
        assert b'\x1b' not in relayed(b'\x1b' + inner + b'[2Jx')[0]
    assert relayed(b'\xc2\x1b[K\x9b2J') == [b'\\xc2\\x9b2J']
    assert relayed(b'\xe2\x1b[K\x82\xac') == [b'\\xe2\\x82\\xac']


@pytest.mark.parametrize(
    ('sequence', 'kept'),
    [
        ('31', '31'), ('1;4;97;107', '1;4;97;107'), ('', '0'), ('0', '0'),
        (';31', '0;31'), ('001;031', '1;31'), ('39;49', '39;49'), ('4:', None),
        ('38;5;8', '38;5;8'), ('48;2;8;8;8', '48;2;8;8;8'), ('58;5;', '58;5;0'),
        ('1;38;5;208;4', '1;38;5;208;4'), ('38:5:8', '38:5:8'), ('99;1', '1'),
        ('38:2::8:8:8', '38:2::8:8:8'), ('38:2:1:2:3', '38:2:1:2:3'),
        ('8;31', '31'), ('31;8', '31'), ('38;5;8;8', '38;5;8'), ('11;31', '31'),
        ('1;38;5', '1'), ('8', None), ('08', None), ('5;6', None), ('38', None),
        ('38;8', None), ('38;5;256;8', None), ('38;2;1;8', None), (':', None),
        ('38;5;2:3', None), ('8:1', None), ('38:5:8:8', None), ('4:8', None),
        ('10', None), ('12', None), ('38:9', None), ('108', None),
        ('9' * 60, None), ('4:3', '4:3'), ('1;' * 31 + '31', '1;' * 31 + '31'),
    ],
)  # fmt: skip
def test_colour_is_kept_not_conceal(sequence: str, kept: str | None) -> None:
    want = b'x'
    if kept is not None:
        want = f'\x1b[{kept}mx'.encode() + (b'' if kept == '0' else b'\x1b[0m')
    for introducer in ('\x1b[', '\x9b'):
        data = f'{introducer}{sequence}mx\n'.encode()
        assert relayed(data) == relayed(*bytewise(data)) == [want]
        assert relayed(data, color=False) == [b'x']


def test_colour_is_reset_at_the_end_of_each_line_and_not_carried_over() -> None:
    data = b'a\n\x1b[0m\x1b[1mbold\nplain\n\x1b[31mred\x1b[0m off\n\x1b[4mx'
    bold, last = b'\x1b[0m\x1b[1mbold\x1b[0m', b'\x1b[4mx\x1b[0m'
    red = b'\x1b[31mred\x1b[0m off'
    assert relayed(data) == [b'a', bold, b'plain', red, last]


@pytest.mark.parametrize(
    ('text', 'line'),
    [
        ('Köln €5 日本 \U0001f600', 'Köln €5 日本 \U0001f600'),
        ('e\u0301 \u2764\ufe0f', 'e\u0301 \u2764\ufe0f'), ('\x1b[3\x18m', 'm'),
        (b'K\xf6ln', r'K\xf6ln'), (b'\xff\xfe', r'\xff\xfe'),
        (b'\x9b31m', r'\x9b31m'), (b'\xc0\x9b2J', r'\xc0\x9b2J'),
        (b'\xe0\x80\x9b', r'\xe0\x80\x9b'), (b'\xed\xa0\x80', r'\xed\xa0\x80'),
        (b'\xf4\x90\x80\x80', r'\xf4\x90\x80\x80'), (b'\x1b\xff', r'\xff'),
        (b'\xf0\x9f\x98', r'\xf0\x9f\x98'), (b'\x1b[3\xff1m', r'\xff1m'),
        ('\x1b[\u06638m', '\u06638m'), ('user\u202egnp.exe', 'usergnp.exe'),
        ('a\u2066b\u2069c\u200ed\u061ce', 'abcde'), ('a\U000e0100b', 'ab'),
        ('pay\u200bpal \u200d\u200c\ufeff\xad.', 'paypal .'),
        # joiners: Persian, Hindi, emoji; one alone, and between nothing else
        ('\u0645\u06cc\u200c\u062e', '\u0645\u06cc\u200c\u062e'),
        ('\u0915\u094d\u200d\u0937', '\u0915\u094d\u200d\u0937'),
        ('\U0001f469\u200d\U0001f467', '\U0001f469\u200d\U0001f467'),
        ('\u2764\ufe0f\u200d\U0001f525', '\u2764\ufe0f\u200d\U0001f525'),
        ('\u0645\u200c\u200d\u062e', '\u0645\u062e'),
        ('\u0645\u200c\u200c\u200c\u062e', '\u0645\u062e'),
        ('\u200da \u200db\u200d c1\u200d2\u200c', 'a b c12'),
        ('\u0645\u200c\u202e\u062e', '\u0645\u200c\u062e'),
        ('\u0645\u200c\x1b[K\u062e', '\u0645\u200c\u062e'),
        ('\x1b[0m\u200d\u062e', '\x1b[0m\u062e'),
        ('a\r\u200d\u062e', '\u062e'),
    ],
)  # fmt: skip
def test_bad_text_is_shown_safely(text: str | bytes, line: str) -> None:
    data = text.encode() if isinstance(text, str) else text
    assert relayed(data + b'\n') == [line.encode()]
    assert relayed(*bytewise(data)) == [line.encode()]


def test_no_invisible_character_of_all_unicode_is_shown() -> None:
    every = map(chr, range(sys.maxunicode + 1))
    bad = {c for c in every if unicodedata.category(c) in INVISIBLE}
    assert len(bad) > 200
    for character in bad.union('\u034f\u115f\u1160\u3164\uffa0') - {*'\t\n\r'}:
        assert relayed(f'a\u00e9{character}'.encode()) == ['a\u00e9'.encode()]


def test_a_long_line_is_cut_and_says_how_much_is_missing() -> None:
    assert relayed(b'x' * 100 + b'\ny', width=100) == [b'x' * 100, b'y']
    for first in (b'', b'\nab\n'):
        lines = relayed(first + b'x' * 101 + b'\nb\n', width=100)
        assert lines[-2:] == [b'x' * 60 + b' [41 bytes cut]', b'b']
    # a euro sign is three bytes, and 60 are left for text: not inside one
    (line,) = relayed(('x' + '€' * 50).encode(), width=100)
    assert line.decode() == 'x' + '€' * 19 + ' [93 bytes cut]'


def test_a_cut_goes_through_no_colour_and_the_reset_has_room() -> None:
    lines = relayed(b'\x1b[31m' + b'x' * 200, width=100)
    assert lines == [b'\x1b[31m' + b'x' * 55 + b'\x1b[0m [145 bytes cut]']
    lines = relayed(b'x' * 57 + b'\x1b[1;31m' + b'x' * 99, width=100)
    assert lines == [b'x' * 57 + b' [106 bytes cut]']
    fits, over = b'\x1b[1m' + b'x' * 92, b'\x1b[1m' + b'x' * 93
    assert relayed(fits, width=100) == [fits + b'\x1b[0m']
    assert relayed(over, width=100)[0].endswith(b'x\x1b[0m [37 bytes cut]')


def test_a_width_too_small_for_the_mark_is_refused() -> None:
    with pytest.raises(ValueError, match='width below 64 bytes: 63'):
        sanitizer.Sanitizer(width=63)


@pytest.mark.parametrize('start', ['', '\x1b]', '\x1b[', '\x9b', '\x1b '])
@pytest.mark.parametrize('end', ['x', '%\r', '\udcff', '\x1b[1m', '\x1b[1m%\r'])
def test_a_line_without_end_takes_little_memory(start: str, end: str) -> None:
    stream = sanitizer.Sanitizer(width=100)
    for text in [start] + [end * 1000] * 50 + [start] + ['0', ' '] * 250:
        stream.feed(text.encode('utf-8', 'surrogateescape'))
        assert memory(stream) <= 3 * 100 + 80
    assert stream.feed(b'\nnext\n').endswith(b'\nnext\n')


PIECES = [
    b'\n', b'\r', b'\r\n', b'\t', b' ', b'a', b'10%\r', b'text', b'x' * 70,
    b'\x1b', b'\x1b[', b'\x1b[31m', b'\x1b[0m', b'\x1b[m', b'\x1b[8m', b'm',
    b'\x1b[38;5', b'38;2;8;8', b';8', b':', b'4:3m', b'?25', b'h', b'\x1b[2J',
    b'\x1b]0;', b'\x1bP', b'\x1b_', b'\x07', b'\x1b\\', b'\\', b'\x18',
    b'\x1bO', b'\x1b(', b'\xc2', b'\x9b', b'\xc2\x9b', b'\xc2\x9d', b'\xc2\x9c',
    b'\x90', b'\x00', b'\x7f', b'\xe2\x82\xac', b'\xe2', b'\x82', b'\xf0\x9f',
    b'\xed\xa0\x80', b'\xff', b'\xe2\x80\xae', b'\xcc\x81', b'1;' * 33,
    b'\xe2\x80\x8c', b'\xe2\x80\x8d', b'\xd9\x85', b'\xf0\x9f\x91\xa9',
]  # fmt: skip
PIECE = st.sampled_from(PIECES) | st.binary(max_size=4)
STREAMS = st.lists(PIECE, max_size=40).map(b''.join)
CUTS = st.lists(st.integers(min_value=0, max_value=400), max_size=20)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [*sorted(places), len(data)]
    return [data[a:b] for a, b in zip([0, *ends], ends)]


@ANY_LENGTH
@given(STREAMS, CUTS, st.booleans())
def test_lines_do_not_depend_on_how_the_input_was_cut(
    data: bytes, places: list[int], color: bool
) -> None:
    whole = relayed(data, color=color, width=64)
    assert relayed(*cut(data, places), color=color, width=64) == whole
    assert relayed(*bytewise(data), color=color, width=64) == whole


@ANY_LENGTH
@given(STREAMS, CUTS, st.booleans())
def test_only_safe_whole_lines_leave_whenever_flushed(
    data: bytes, places: list[int], color: bool
) -> None:
    stream = sanitizer.Sanitizer(color=color, width=64)
    lines = b''
    for piece in cut(data, places):
        lines += stream.feed(piece)
        assert memory(stream) <= 3 * 64 + 80
        held, let_go = stream.held, stream.flush()
        assert held == bool(let_go)
        assert not stream.held
        lines += let_go
    for line in whole_lines(lines + stream.close()):
        assert len(line) <= 64
        assert color or b'\x1b' not in line
        assert_safe(line)


@ANY_LENGTH
@given(STREAMS)
def test_what_was_relayed_once_is_relayed_again_unchanged(data: bytes) -> None:
    once = relayed(data, width=64)
    assert relayed(b''.join(line + b'\n' for line in once), width=64) == once


@ANY_LENGTH
@given(STREAMS, CUTS)
def test_pauses_lose_and_repeat_nothing(data: bytes, places: list[int]) -> None:
    data = data.replace(b'\r', b'')
    through = paused(*cut(data, places), color=False)
    shown = b''.join(map(b''.join, through))
    # a rest of spaces alone is not worth a line
    whole = b''.join(relayed(data, color=False))
    # nor is a joiner that a pause parts from its letters
    shown, whole = (
        re.sub(b'\xe2\x80[\x8c\x8d]', b'', b''.join(lines.split()))
        for lines in (shown, whole)
    )
    assert shown == whole


@ANY_LENGTH
@given(st.text('ab \r\n', max_size=30))
def test_the_newest_state_with_something_to_see_is_the_line(text: str) -> None:
    lines = [line.split('\r') for line in text.split('\n')]
    newest = [[state for state in line if state.strip()][-1:] for line in lines]
    got = [line.decode() for line in relayed(text.encode() + b'\n')]
    assert [[line] if line.strip() else [] for line in got] == newest
