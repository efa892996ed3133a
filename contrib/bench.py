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
import json
import os
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'tests'))

import world as worldmod
from repositories import Clone
from world import World

DEPLOY = 'cat >/dev/null\necho deployed\n'
WARMUP = 2
SIZES = (1, 1000, 100_000)
RECORDS = 10_000
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
journal.close()
"""


@dataclass(frozen=True)
class Cost:
    """What one push took."""

    seconds: float  # from the pusher's side, all in all
    cpu: float  # seconds, of the server's process and all that it waited for
    memory: float  # MB, the largest of these processes at its largest
    hook: float  # seconds in our hooks


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
        self.login = f'{world.deploy.name}@localhost'
        self.hgrc = (
            '[extensions]\nhgext_delegate =\n'
            f'[delegate]\nblog = ssh://{self.login}:{world.port}\n'
        )

    def compare(self, rounds: int) -> None:
        """Push one changeset at a time to the three in turn."""
        ssh = [*self.world.ssh(self.world.server), '-p', str(self.world.port)]
        line = f'changegroup.autopush = {shlex.join([*ssh, self.login])}\n'
        hgrcs = ['', f'[hooks]\n{line}', self.hgrc]
        expected = [b'', b'deployed', b'delegate: blog: deployed']
        clones = [
            self.world.clone(self.world.repository(hgrc=hgrc, enable=False))
            for hgrc in hgrcs
        ]
        costs: list[list[Cost]] = [[], [], []]
        for number in range(WARMUP + rounds):
            for turn in range(3):
                kind = (number + turn) % 3
                clones[kind].commit()
                costs[kind].append(self.push(clones[kind], expected[kind]))
        compared([some[WARMUP:] for some in costs])

    def grow(self, rounds: int) -> None:
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
            'clock.py', CLOCK.format(log=str(self.hooks))
        )
        hgrc = f'{self.hgrc}keep = {RECORDS}\n[extensions]\nclock = {clock}\n'
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
                costs[kind].append(self.push(source, expect, made.url))
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

    def push(self, clone: Clone, expect: bytes, *args: str) -> Cost:
        """Push, and see that EXPECT is said."""
        self.hooks.write_text('')
        self.used.unlink(missing_ok=True)
        began = time.perf_counter()
        push = clone.start_push(*args).finish(timeout=600)
        seconds = time.perf_counter() - began
        if expect not in b'\n'.join(push.remote):
            raise RuntimeError(f'no {expect!r} in {push.remote}')
        # hg may not wait for the end of its ssh.
        while not self.used.exists() or not self.used.read_text():
            time.sleep(0.01)
        cpu, memory = json.loads(self.used.read_text())
        hook = sum(map(float, self.hooks.read_text().split()))
        return Cost(seconds, cpu, memory / 1024, hook)


def compared(costs: list[list[Cost]]) -> None:
    print('                   push     added  (quartiles)      of shell hook'
          '    CPU  memory')  # fmt: skip
    plain = [cost.seconds for cost in costs[0]]
    shell = median(c.seconds - p for c, p in zip(costs[1], plain))
    for name, some in zip(('no hook', 'shell hook', 'hgext_delegate'), costs):
        seconds = median(cost.seconds for cost in some)
        cpu = median(cost.cpu for cost in some)
        memory = median(cost.memory for cost in some)
        text = ''
        if some is not costs[0]:
            added = [c.seconds - p for c, p in zip(some, plain)]
            low, middle, high = statistics.quantiles(added, n=4)
            spread = f'({low:.2f} to {high:.2f} s)'
            text = f'{middle:6.2f} s  {spread}{middle / shell:13.2f}'
        print(
            f'{name:15}{seconds:6.2f} s  {text:41}{cpu:5.2f} s{memory:5.0f} MB'
        )


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        '--rounds', type=int, default=15, help='15 if not given'
    )
    parser.add_argument('--growth', action='store_true')
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error('at least 2 rounds are needed')
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    versions()
    world = World()
    try:
        bench = Bench(world)
        run = bench.grow if options.growth else bench.compare
        run(options.rounds)
    finally:
        world.close()


def versions() -> None:
    ssh = subprocess.run(['ssh', '-V'], stderr=subprocess.PIPE, check=True)
    print(
        f'Mercurial {metadata.version("mercurial")}, '
        f'paramiko {metadata.version("paramiko")}, '
        f'Python {platform.python_version()}, '
        f'{ssh.stderr.decode().split(",")[0]}, {os.cpu_count()} cores',
        flush=True,
    )


if __name__ == '__main__':
    main()
