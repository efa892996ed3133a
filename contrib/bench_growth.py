"""The work of our hooks as pushes and the journal get larger.

Without paramiko and without a connection.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench_push import Bench, Cost, median
from repositories import Clone

SIZES = (1, 1000, 100_000)
RECORDS = 10_000
# An extension of the server's: the time that our hooks take, with a session
# that is over at once. Our own modules are imported in that time, as in life.
CLOCK = """\
import sys, time, types
from hgext_delegate.extension import hooks

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

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def is_ready(self):
        return True

    prepare = cancel = close = lambda self, *args: None

def open_session(*args, **kwargs):
    return Session()

class SessionError(Exception):
    pass

fake = types.ModuleType('hgext_delegate.ssh.session')
fake.open = open_session
fake.SessionError = fake.Expired = fake.ConfigurationError = SessionError
import hgext_delegate.ssh
sys.modules[fake.__name__] = hgext_delegate.ssh.session = fake
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
from hgext_delegate.state import journal
journal = journal.open(sys.argv[1])
for number in range(int(sys.argv[2])):
    made = journal.record('blog', '0' * 40, 'bench', 'old%d' % number)
    journal.claim(journal.get(made), None)
    journal.end(made, 'succeeded', seconds=1.0)
journal.close()
"""


class Growth:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.world = bench.world

    def run(self, rounds: int) -> None:
        """Push more at once, and to a repository with a large journal."""
        print(f'{"":30}push without hook  our hooks   share')
        for size in SIZES:
            # The largest takes a minute.
            times = rounds if size < SIZES[-1] else max(3, rounds // 5)
            label = f'{size:,} changesets' if size > 1 else '1 changeset'
            self.measure(label, self.source(size), times)
        script = self.world.server.write('record.py', RECORD)
        journal = self.world.server.mkdir('delegate/log').parent / 'journal'
        command = [self.world.python, str(script), str(journal), str(RECORDS)]
        self.world.server.run(command)
        label = f'1 changeset, {RECORDS:,} records'
        self.measure(label, self.source(1), rounds, journal.parent)

    def measure(
        self,
        label: str,
        source: Clone,
        rounds: int,
        journal: Path | None = None,
    ) -> None:
        clock = self.world.server.write(
            'clock.py', CLOCK.format(log=str(self.bench.hooks))
        )
        hgrc = f'{self.bench.hgrc}keep = {RECORDS}\n'
        hgrc += f'[extensions]\nclock = {clock}\n'
        costs: list[list[Cost]] = [[], []]
        for _ in range(1 + rounds):
            for kind in (0, 1):
                made = self.world.repository(
                    hgrc=hgrc if kind else '', enable=False
                )
                if kind and journal:
                    to = made.path / '.hg' / 'delegate'
                    self.world.server.copy(journal, to)
                expect = b'delegate: blog: deployed' if kind else b''
                costs[kind].append(self.bench.push(source, expect, made.url))
                shutil.rmtree(made.path)
        plain = median(cost.seconds for cost in costs[0][1:])
        hook = median(cost.hook for cost in costs[1][1:])
        print(
            f'{label:30}{plain:15.2f} s{hook:9.3f} s{hook / plain:8.1%}',
            flush=True,
        )

    def source(self, size: int) -> Clone:
        """A repository of the pusher's with SIZE changesets."""
        pusher = self.world.pusher
        script = pusher.write('grow.py', GROW)
        path = pusher.home / f'source{size}'
        command = [self.world.python, str(script), str(path), str(size)]
        if not path.exists():
            pusher.run(command, timeout=600)
        return Clone(pusher, path, self.world.hg)
