"""What a push that is delegated costs, next to the classic shell hook.

    bench.py [--rounds N] [--growth]

Pushes one changeset at a time over a real sshd to three repositories in turn:
without a hook, with 'changegroup.autopush = ssh DEPLOY', with this extension.
--growth instead measures the hook's own work, without paramiko and without a
connection, as pushes and the journal get larger.

Accounts and servers are those of the tests (tests/world.py), and so are the
interpreter, Mercurial and paramiko. Seconds say little about another machine;
the ratios of one run say more. 'quartiles' are the middle half of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'tests'))

import world as worldmod
from repositories import Clone, Repository
from world import World

DEPLOY = 'cat >/dev/null\necho deployed\n'
WARMUP = 2
# Runs the server's hg and notes what it used, with all that it waited for.
MEASURE = """\
import json, os, sys
log, *command = sys.argv[1:]
child = os.spawnv(os.P_NOWAIT, command[0], command)
status, used = os.wait4(child, 0)[1:]
with open(log, 'w') as out:
    json.dump([used.ru_utime + used.ru_stime, used.ru_maxrss], out)
sys.exit(status >> 8)
"""
# An extension of the server's: the time that our hooks take, with a session
# that is over at once. Our own modules are imported in that time, as in life.
CLOCK = """\
import contextlib, sys, time, types
from hgext_delegate import hooks

def timed(function):
    def measure(*args, **kwargs):
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            with open({log!r}, 'a') as out:
                out.write('%f\\n' % (time.perf_counter() - began))
    return measure

hooks.note = timed(hooks.note)
hooks.deliver = timed(hooks.deliver)

class Session:
    def execute(self, command, stdin, receive, tick, **limits):
        receive(1, b'deployed\\n')
        return types.SimpleNamespace(status=0, signal=None)

@contextlib.contextmanager
def open_session(*args, **kwargs):
    yield Session()

class SessionError(Exception):
    pass

fake = types.ModuleType('hgext_delegate.session')
fake.open = open_session
fake.SessionError = fake.Expired = SessionError
sys.modules[fake.__name__] = sys.modules['hgext_delegate'].session = fake
"""
# 100,000 commits in a moment.
GROW = """\
import sys
from mercurial import dispatch, hg, metadata, phases, ui
path, count = sys.argv[1].encode(), int(sys.argv[2])
repo = hg.repository(ui.ui.load(), path, create=True)
with repo.lock(), repo.transaction(b'grow') as transaction:
    null = node = repo.changelog.node(-1)
    for number in range(count):
        text, files = b'%d' % number, metadata.ChangingFiles()
        node = repo.changelog.add(
            null, files, text, transaction, node, null, b'bench', (number, 0)
        )
    phases.registernew(repo, transaction, phases.draft, [0])
"""
RECORD = """\
import sys
from hgext_delegate import journal
journal = journal.open(sys.argv[1])
for number in range(int(sys.argv[2])):
    made = journal.record('blog', '0' * 40, 'bench', 'old%d' % number)
    journal.claim(journal.get(made), None)
    journal.end(made, 'succeeded', seconds=1.0)
"""


@dataclass(frozen=True)
class Cost:
    """What one push took."""

    seconds: float  # from the pusher's side, all in all
    cpu: float  # seconds, of the server's process and all that it waited for
    memory: float  # MB, the largest of these processes at its largest
    hook: float = 0.0  # seconds


class Bench:
    def __init__(self, world: World) -> None:
        self.world = world
        self.used = world.server.home / 'used'
        self.hooks = world.server.write('hooks', '')
        measure = world.server.write('measure.py', MEASURE)
        hg = [world.python, '-I', '-S', str(measure), str(self.used), *world.hg]
        serve = worldmod.SERVE.format(hg=shlex.join(hg))
        world.server.write('serve', serve, 0o755)
        world.forced_command(DEPLOY)
        clock = CLOCK.format(log=str(self.hooks))
        self.clock = world.server.write('clock.py', clock)
        self.login = f'{world.deploy.name}@localhost'

    def compare(self, rounds: int) -> None:
        """Push in turn to the three repositories, and print the table."""
        port = str(self.world.port)
        ssh = [*self.world.ssh(self.world.server), '-p', port, self.login]
        kinds = {
            'no hook': ('', b''),
            'shell hook': (
                f'[hooks]\nchangegroup.autopush = {shlex.join(ssh)}\n',
                b'\ndeployed',
            ),
            'hgext_delegate': (self.hgrc(), b'delegate: blog: deployed'),
        }
        clones = {kind: self.clone(hgrc) for kind, (hgrc, _) in kinds.items()}
        costs: dict[str, list[Cost]] = {kind: [] for kind in kinds}
        for number in range(WARMUP + rounds):
            for kind in rotated(list(kinds), number):
                clones[kind].commit()
                costs[kind].append(self.push(clones[kind], kinds[kind][1]))
        compared({kind: costs[kind][WARMUP:] for kind in kinds}, rounds)

    def grow(self, rounds: int) -> None:
        """Push more at once, and to a larger journal; print the table."""
        sizes = {1: rounds, 1000: rounds, 100_000: max(3, rounds // 5)}
        print(f'{"":34}push without hook   in our hooks   share')
        for size, times in sizes.items():
            source = self.source(size)
            plain, hooked = [], []
            for _ in range(times):
                plain.append(self.push_all(source, self.repository('')))
                hooked.append(self.push_all(source, self.repository(CLOCKED)))
            grown(f'{size:,} changesets', plain, hooked)
        ...
