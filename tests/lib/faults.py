"""A proxy that breaks a connection at one byte, and every byte of a session.

It cuts, resets, flips or stalls the stream in one of the directions. HGD_FAULTS
says how many cases a test tries: a number, or all.
"""

from __future__ import annotations

import collections
import os
import random
import select
import socket
import struct
import threading
from collections.abc import Sequence

SAMPLE = os.environ.get('HGD_FAULTS', '100')
FAULTS = ('cut', 'reset', 'flip', 'stall')
UP, DOWN = 0, 1  # from us to sshd, and back
Case = tuple[str, int, int]  # the fault, the direction, the byte
Outcomes = collections.Counter[tuple[str, int, str]]


class Proxy:
    """Passes one connection on to PORT, with FAULT at byte AT of a direction.

    `passed` counts the bytes of each direction.
    """

    def __init__(self, port: int, fault: str = '', way: int = UP, at: int = -1):
        self._fault, self._way, self._at = fault, way, at
        self._there = ('127.0.0.1', port)
        self.passed = [0, 0]
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port: int = self._listener.getsockname()[1]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def _serve(self) -> None:
        with self._listener:
            ready, _, _ = select.select([self._listener], [], [], 10)
            if not ready:
                return
            ours, _peer = self._listener.accept()
        with ours, socket.create_connection(self._there) as theirs:
            self._pump((ours, theirs))

    def _pump(self, ends: tuple[socket.socket, socket.socket]) -> None:
        while not self._end.is_set():
            ready, _, _ = select.select(ends, [], [], 0.05)
            for source in ready:
                way = ends.index(source)
                try:
                    data = source.recv(65536)
                    if not data or not self._pass(data, way, ends):
                        return
                except OSError:
                    return

    def _pass(
        self, data: bytes, way: int, ends: tuple[socket.socket, socket.socket]
    ) -> bool:
        """Hand DATA on; False when the connection is over."""
        offset = self._at - self.passed[way]
        self.passed[way] += len(data)
        other = ends[1 - way]
        if way != self._way or not 0 <= offset < len(data):
            other.sendall(data)
            return True
        if self._fault == 'flip':
            flipped = data[offset] ^ (1 << self._at % 8)
            other.sendall(data[:offset] + bytes([flipped]) + data[offset + 1 :])
            return True
        other.sendall(data[:offset])
        if self._fault == 'stall':
            self._end.wait(30)
        if self._fault == 'reset':
            for end in ends:
                linger = struct.pack('ii', 1, 0)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return False


def cases(lengths: list[int]) -> list[Case]:
    every = [
        (fault, way, at)
        for fault in FAULTS
        for way in (UP, DOWN)
        for at in range(lengths[way])
    ]
    if SAMPLE == 'all':
        return every
    chosen = random.Random(int(os.environ['HGD_SEED']))
    return chosen.sample(every, int(SAMPLE))


def show(outcomes: Outcomes, states: Sequence[str]) -> None:
    print('fault  direction  ' + '  '.join(f'{s:>9}' for s in states))
    for fault in FAULTS:
        for way, name in ((UP, 'to sshd'), (DOWN, 'from sshd')):
            counts = [outcomes[fault, way, state] for state in states]
            row = '  '.join(f'{count:9}' for count in counts)
            print(f'{fault:5}  {name:9}  {row}')
