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
from collections.abc import Iterator

import faults
import loopback
import pytest

from hgext_delegate.ssh import session

OUTPUT = b''.join(b'line %d of the deploy\n' % number for number in range(5))
OBJECT = b'{"protocol": 1, "id": "0123456789abcdef"}\n'
SCRIPT = 'for i in 0 1 2 3 4; do echo line $i of the deploy; done; cat >&2'
# with something that it leaves running, which has its output open
LEFT = f'sleep 8 & {SCRIPT}'
Outcome = tuple[str, bytes]


@pytest.fixture(scope='module')
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loopback.Sshd]:
    server = loopback.Sshd(tmp_path_factory.mktemp('sshd'))
    yield server
    server.close()


def force(sshd: loopback.Sshd, script: str) -> None:
    key = loopback.public(sshd.identity)
    sshd.authorize(f'restrict,command="{script}" {key}')


def deploy(
    sshd: loopback.Sshd, proxy: faults.Proxy, patience: float = 1
) -> Outcome:
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


def attempt(sshd: loopback.Sshd, case: faults.Case, patience: float) -> str:
    outcome, heard = deploy(sshd, faults.Proxy(sshd.port, *case), patience)
    if outcome == 'succeeded':
        assert heard == OUTPUT + OBJECT, case
    return outcome


@pytest.mark.parametrize(('script', 'patience'), [(SCRIPT, 1), (LEFT, 4)])
def test_no_fault_at_any_byte_makes_a_success_or_text_of_its_own(
    sshd: loopback.Sshd, script: str, patience: float
) -> None:
    force(sshd, script)
    clean = faults.Proxy(sshd.port)
    assert deploy(sshd, clean, patience) == ('succeeded', OUTPUT + OBJECT)
    outcomes: faults.Outcomes = collections.Counter()
    wanted = faults.cases(clean.passed)
    if script == LEFT:
        # each takes three seconds
        wanted = wanted[::4]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for case, outcome in zip(
            wanted, pool.map(lambda case: attempt(sshd, case, patience), wanted)
        ):
            outcomes[case[0], case[1], outcome] += 1
    assert sum(outcomes.values()) == len(wanted)
    faults.show(outcomes, ('pending', 'lost', 'failed', 'succeeded'))
