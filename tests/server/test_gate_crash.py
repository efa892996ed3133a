"""Kill -9 of whatever takes part while a gate is asked, at any moment.

No push comes in that the gate has not passed, and nothing is left locked or
half done; but what the server's own process leaves behind if it is killed, hg
recover mends. HGD_CRASHES says how often each of them is killed; with 'make
test-crash' it is 300 times.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hgrc import targets
from receivers import Receiver
from repositories import Clone, Repository
from waiting import until
from world import World

SEED = int(os.environ['HGD_SEED'])
CRASHES = min(300, int(os.environ.get('HGD_CRASHES') or 2))
# It refuses every third, and keeps what it has let pass.
CHECK = """\
echo looking
sleep 0.1
echo $4 >>asked
[ $(($(wc -l <asked) % 3)) = 0 ] && exit 1
echo $4 >>passed
"""
SCRIPT = f"""\
read -r object
cat >/dev/null
exec </dev/null
set -- $SSH_ORIGINAL_COMMAND
{CHECK}"""
RECEIVED = f'#!/bin/sh\ncd\nset -- 1 2 3 "$HG_NODE"\n{CHECK}'


class Trial:
    """One repository with a gate, whose processes are killed."""

    def __init__(self, world: World, repository: Repository, clone: Clone):
        self.world, self.repository, self.clone = world, repository, clone
        self.random = random.Random(SEED)
        self.plan = world.server.home / 'plan'
        killer = Path(__file__).parents[1] / 'lib' / 'killer.py'
        path = world.server.write('killer.py', killer.read_text('utf-8'))
        world.forced_command(SCRIPT)
        self.config = (
            f'killer = {path}\n[killer]\nplan = {self.plan}\n'
            + targets(world, 'checks', more='checks:gate = yes\n')
        )
        repository.hgrc(self.config)
        clone.commit()
        clone.push()
        self.store = repository.path / '.hg' / 'store'
        self.points: range = range(1)

    def kill(self, *words: str) -> None:
        """Kill the processes with one of WORDS in their command lines."""
        for pid, command in self.world.living().items():
            mine = [word for word in words if word in command]
            if mine and 'sh -c' not in command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def kill_at_a_point(self, first: int = 0) -> None:
        """The server, at one of the calls that change something."""
        at = self.random.choice(self.points) - first
        self.world.server.write(
            self.plan, json.dumps({'command': 'serve', 'at': at})
        )

    def calibrate(self) -> None:
        self.points = range(10**9, 10**9 + 1)
        self.kill_at_a_point()
        self.clone.commit()
        self.clone.push(check=False)
        lines = self.plan.with_name('plan.points').read_text().splitlines()
        first = next(i for i, p in enumerate(lines) if 'makelock' in p)
        self.points = range(first, len(lines) + 1)

    def passed(self) -> set[str]:
        path = self.world.deploy.home / 'passed'
        return {*path.read_text().split()} if path.exists() else set()

    def check(self, may_be_half_done: bool) -> bool:
        """After a kill; whether hg recover was needed, which it MAY be."""
        until(lambda: not self.world.living())
        is_half_done = (self.store / 'journal').exists()
        if is_half_done:
            assert may_be_half_done
            self.repository.hg('recover')
        if not may_be_half_done:
            for name in ('lock', '../wlock'):
                assert not (self.store / name).is_symlink()
        # each push was of the newest changeset, and what it is based on
        assert self.tip() in self.passed()
        self.plan.unlink(missing_ok=True)
        return is_half_done

    def tip(self) -> str:
        said = self.repository.ask('log', '-r', 'tip', '-T', '{node}')
        return said.stdout.decode()


def at_a_time(trial: Trial, *words: str) -> None:
    """Kill a process of a push while the gate is asked, or at any time."""
    push = trial.clone.start_push()
    if trial.random.random() < 0.7:
        with contextlib.suppress(AssertionError):
            push.wait_for(b'checks| looking')
        time.sleep(trial.random.uniform(0, 0.2))
    else:
        time.sleep(trial.random.uniform(0.2, 1.2))
    if words:
        trial.kill(*words)
    else:
        push.kill(trial.random.choice([signal.SIGKILL, signal.SIGINT]))
    push.finish(check=False)


def server(trial: Trial) -> None:
    if trial.random.random() < 0.3:
        at_a_time(trial, 'serve --stdio')
    else:
        trial.kill_at_a_point()
        trial.clone.push(check=False)


def web_server(trial: Trial) -> None:
    # it takes the plan at its first request
    trial.kill_at_a_point(trial.points[0])
    with trial.world.hgweb([trial.repository]) as url:
        name = trial.repository.path.name
        trial.clone.push(f'{url}/{name}', check=False)


def pusher(trial: Trial) -> None:
    at_a_time(trial)


def gate(trial: Trial) -> None:
    """The script, or all that sshd runs for it."""
    at_a_time(trial, '/forced')


def sshd(trial: Trial) -> None:
    at_a_time(trial, f'sshd: {trial.world.deploy.name}')


def receiver(trial: Trial) -> None:
    at_a_time(trial, 'delegate-receive', '/script')


Kind = Callable[[Trial], None]
KINDS: tuple[Kind, ...] = (server, web_server, pusher, gate, sshd, receiver)


@pytest.mark.once
@pytest.mark.parametrize('kind', KINDS, ids=lambda kind: kind.__name__)
def test_whatever_is_killed_when_nothing_comes_in_unasked(
    world: World, repository: Repository, clone: Clone, kind: Kind
) -> None:
    trial = Trial(world, repository, clone)
    if kind in (server, web_server):
        trial.calibrate()
    if kind is receiver:
        Receiver(world, repository).install()
        world.deploy.write('script', RECEIVED, 0o755)
        repository.hgrc(trial.config + 'checks:receiver = yes\n')
    ends: collections.Counter[str] = collections.Counter()
    for _ in range(CRASHES):
        node = clone.commit()
        before = len(trial.passed())
        kind(trial)
        ends['hg recover'] += trial.check(kind in (server, web_server))
        ends['a yes of the gate'] += len(trial.passed()) > before
        ends['accepted'] += trial.tip() == node
    print(kind.__name__, CRASHES, dict(ends))
    # and it goes on
    for _ in range(3):
        if not clone.push(check=False).returncode:
            break
    assert repository.hg('verify', '-q').returncode == 0
    assert trial.tip() == clone.tip()
