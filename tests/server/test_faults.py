"""Faults at every byte of a session with a real sshd.

A proxy between the two cuts, resets, flips or stalls the stream at one byte of
a small deploy, in one of the directions. Never is a deploy taken for succeeded
that was not heard to its end, never is text shown that was not sent, and every
session ends. 'make test' tries a sample; 'make test-faults' (HGD_FAULTS=all)
tries every byte and prints the table of docs/reliability.rst.
"""

from __future__ import annotations

import collections
import concurrent.futures
import os
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator

import loopback
import pytest

from hgext_delegate.ssh import session

SAMPLE = os.environ.get('HGD_FAULTS', '100')
FAULTS = ('cut', 'reset', 'flip', 'stall')
UP, DOWN = 0, 1  # from us to sshd, and back
OUTPUT = b''.join(b'line %d of the deploy\n' % number for number in range(5))
OBJECT = b'{"protocol": 1, "id": "0123456789abcdef"}\n'
SCRIPT = 'for i in 0 1 2 3 4; do echo line $i of the deploy; done; cat >&2'
# with something that it leaves running, which has its output open
LEFT = f'sleep 8 & {SCRIPT}'
Outcome = tuple[str, bytes]


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


@pytest.fixture(scope='module')
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loopback.Sshd]:
    server = loopback.Sshd(tmp_path_factory.mktemp('sshd'))
    yield server
    server.close()


def force(sshd: loopback.Sshd, script: str) -> None:
    key = loopback.public(sshd.identity)
    sshd.authorize(f'restrict,command="{script}" {key}')


def deploy(sshd: loopback.Sshd, proxy: Proxy, patience: float = 1) -> Outcome:
    """One deploy through PROXY: what became of it, and what was shown."""
    heard = {1: b'', 2: b''}

    def receive(stream: int, data: bytes) -> None:
        heard[stream] += data

    try:
        with session.open(
            '127.0.0.1',
            port=proxy.port,
            user=os.environ.get('USER') or 'root',
            identity=str(sshd.identity),
            hostkeys=[sshd.hostkey()],
            connect_timeout=2,
            config_path='none',
        ) as opened:
            end = opened.execute(
                'hg-delegate 1 blog ' + '0' * 40,
                OBJECT[:20],
                receive,
                lambda: None,
                idle_timeout=patience,
                timeout=4 + patience,
                # in two parts, as a gate gets the object and a bundle
                more=OBJECT[20:],
            )
        outcome = 'succeeded' if end.status == 0 else 'failed'
    except session.Expired:
        outcome = 'failed'
    except session.SessionError as error:
        outcome = 'lost' if error.started else 'pending'
    finally:
        proxy.close()
    assert OUTPUT.startswith(heard[1])
    assert OBJECT.startswith(heard[2])
    return outcome, heard[1] + heard[2]


def attempt(
    sshd: loopback.Sshd, case: tuple[str, int, int], patience: float
) -> str:
    outcome, heard = deploy(sshd, Proxy(sshd.port, *case), patience)
    if outcome == 'succeeded':
        assert heard == OUTPUT + OBJECT, case
    return outcome


def cases(lengths: list[int]) -> list[tuple[str, int, int]]:
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


@pytest.mark.parametrize(('script', 'patience'), [(SCRIPT, 1), (LEFT, 4)])
def test_no_fault_at_any_byte_makes_a_success_or_text_of_its_own(
    sshd: loopback.Sshd, script: str, patience: float
) -> None:
    force(sshd, script)
    clean = Proxy(sshd.port)
    assert deploy(sshd, clean, patience) == ('succeeded', OUTPUT + OBJECT)
    outcomes: collections.Counter[tuple[str, int, str]] = collections.Counter()
    wanted = cases(clean.passed)
    if script == LEFT:
        # each takes three seconds
        wanted = wanted[::4]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for case, outcome in zip(
            wanted, pool.map(lambda case: attempt(sshd, case, patience), wanted)
        ):
            outcomes[case[0], case[1], outcome] += 1
    assert sum(outcomes.values()) == len(wanted)
    show(outcomes)


def show(outcomes: collections.Counter[tuple[str, int, str]]) -> None:
    states = ('pending', 'lost', 'failed', 'succeeded')
    print('fault  direction  ' + '  '.join(f'{s:>9}' for s in states))
    for fault in FAULTS:
        for way, name in ((UP, 'to sshd'), (DOWN, 'from sshd')):
            counts = [outcomes[fault, way, state] for state in states]
            row = '  '.join(f'{count:9}' for count in counts)
            print(f'{fault:5}  {name:9}  {row}')
