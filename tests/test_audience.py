"""What is written to a pusher at once is whole lines."""

from __future__ import annotations

import select

from hgext_delegate import audience


class Ui:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def status(self, text: bytes) -> None:
        self.written.append(text)

    def flush(self) -> None:
        pass


def test_a_flood_is_written_in_pieces_that_a_pipe_takes_whole() -> None:
    lines = [b'x' * (number * 37 % 3000) for number in range(500)]
    lines.insert(250, b'y' * 5000)
    ui = Ui()
    audience.Voice(ui).relay(b'blog', lines)
    assert b''.join(ui.written) == b''.join(b'blog| %s\n' % x for x in lines)
    assert all(piece.endswith(b'\n') for piece in ui.written)
    sizes = sorted(map(len, ui.written))
    assert sizes[-1] > select.PIPE_BUF >= sizes[-2]
    assert len(sizes) < len(lines)


def test_nothing_is_written_for_nothing() -> None:
    ui = Ui()
    audience.Voice(ui).relay(b'blog', [])
    assert not ui.written
