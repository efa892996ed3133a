"""A push, and what it costs: what all of the benchmarks measure with."""

from __future__ import annotations

import json
import shlex
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import world as worldmod
from repositories import Clone
from world import World

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
        self.login = f'{world.deploy.name}@localhost'
        self.url = f'ssh://{self.login}:{world.port}'
        self.hgrc = (
            f'[extensions]\nhgext_delegate =\n[delegate]\nblog = {self.url}\n'
        )
        ssh = [*world.ssh(world.server), '-p', str(world.port), self.login]
        # The classic way, which this extension takes the place of.
        self.shell = f'[hooks]\nchangegroup.autopush = {shlex.join(ssh)}\n'

    def clone(self, hgrc: str) -> Clone:
        """The pusher's clone of a new repository with HGRC."""
        made = self.world.repository(hgrc=hgrc, enable=False)
        return self.world.clone(made)

    def push(self, clone: Clone, expect: bytes, *args: str) -> Cost:
        """Push, and see that EXPECT is said."""
        self.hooks.write_text('')
        self.used.unlink(missing_ok=True)
        began = time.perf_counter()
        push = clone.start_push(*args).finish(timeout=600)
        seconds = time.perf_counter() - began
        if expect not in b'\n'.join(push.remote):
            raise RuntimeError(f'no {expect!r} in {push.remote}')
        return self.cost(seconds)

    def watch(self, clone: Clone, hear: Callable[[bytes, float], None]) -> Cost:
        """Push, and let each line be heard with the CLOCK_MONOTONIC at which
        it came; as on a terminal, the pusher's own output is not buffered."""
        self.hooks.write_text('')
        self.used.unlink(missing_ok=True)
        began = time.monotonic()
        process = clone.owner.popen(
            [*clone.program, '-R', str(clone.path), 'push'],
            cwd=clone.path,
            env={'PYTHONUNBUFFERED': '1'},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout
        for line in process.stdout:
            hear(line, time.monotonic())
        if process.wait():
            raise RuntimeError(f'push ended with {process.returncode}')
        return self.cost(time.monotonic() - began)

    def cost(self, seconds: float) -> Cost:
        """What the server noted of the push that has just ended."""
        # hg may not wait for the end of its ssh.
        while not self.used.exists() or not self.used.read_text():
            time.sleep(0.01)
        cpu, memory = json.loads(self.used.read_text())
        hook = sum(map(float, self.hooks.read_text().split()))
        return Cost(seconds, cpu, memory / 1024, hook)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)
