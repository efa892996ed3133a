"""Kill -9 at any instant: no push is lost, and none is delegated twice.

Each round pushes, kills the server's process at one of its crash points (see
killer.py) or at a random time, lets hg recover and hg delegate --pending do
their work, and holds what the deploy account has recorded against what the
repository has. HGD_CRASHES says how many rounds there are, and HGD_SEED=N
repeats those of a run whose tests are named [N], [N+1] and so on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_trial import Trial
from world import World

ROUNDS = 10  # in one test, one after the other in one repository
CRASHES = int(os.environ.get('HGD_CRASHES') or 20)
SEED = int(os.environ['HGD_SEED'])
FIRST, *MORE = range(SEED, SEED + -(-CRASHES // ROUNDS))
ONCE = [pytest.param(seed, marks=pytest.mark.once) for seed in MORE]


@pytest.fixture
def trial(world: World, tmp_path: Path, seed: int) -> Trial:
    return Trial(world, tmp_path, seed)


@contextlib.contextmanager
def explained(trial: Trial) -> Iterator[None]:
    try:
        yield
    except BaseException:
        print('killed at:', *trial.killed_at, sep='\n  ')
        raise


def calibrate(trial: Trial) -> None:
    """Learn what crash points an undisturbed push and --pending have."""
    trial.will_kill('serve', 10**9)
    trial.push(0).finish()
    points = trial.points()
    first = next(i for i, p in enumerate(points) if 'makelock' in p)
    trial.ranges['serve'] = range(first, len(points) + 1)
    trial.repository.hgrc(unreachable(trial))
    trial.push(0).finish()
    trial.repository.hgrc(trial.config)
    trial.will_kill('--pending', 10**9)
    trial.by_hand('delegate', '--pending')
    trial.ranges['--pending'] = range(1, len(trial.points()) + 1)


def unreachable(trial: Trial) -> str:
    port = f'localhost:{trial.world.port}'
    return trial.config.replace(port, 'localhost:1') + 'blog:retries = 0\n'


def kill_at_a_point(trial: Trial) -> None:
    trial.will_kill('serve', trial.a_point('serve'))
    trial.push(0).finish(check=False)


def kill_at_a_time(trial: Trial) -> None:
    push = trial.push(0)
    push.process.poll()
    moment = trial.random.uniform(0, 1.5)
    give_up = time.monotonic() + moment
    while time.monotonic() < give_up:
        time.sleep(0.01)
    for pid, command in trial.world.living().items():
        if 'serve --stdio' in command and 'sh -c' not in command:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    push.finish(check=False)


def kill_one_of_two(trial: Trial) -> None:
    trial.will_kill('serve', trial.a_point('serve'))
    pushes = [trial.push(0), trial.push(1)]
    for push in pushes:
        push.finish(check=False)


def kill_the_web_server(trial: Trial) -> None:
    """All of it, with the thread that serves the push."""
    # it opens the repository, and so takes the plan, at its first request
    trial.will_kill('serve', trial.a_point('serve') - trial.ranges['serve'][0])
    with trial.world.hgweb([trial.repository]) as url:
        path = f'{url}/{trial.repository.path.name}'
        trial.push(0, path).finish(check=False)


def kill_what_is_left_behind(trial: Trial) -> None:
    """The process of its own of 'wait = no'."""
    trial.repository.hgrc(trial.config + 'blog:wait = no\n')
    trial.will_kill('--pending', trial.a_point('--pending'))
    trial.push(0).finish()
    trial.settle()
    trial.repository.hgrc(trial.config)


def kill_by_hand(trial: Trial) -> None:
    """hg delegate --pending, after a push that could not be delegated."""
    trial.repository.hgrc(unreachable(trial))
    trial.push(0).finish()
    trial.repository.hgrc(trial.config)
    trial.will_kill('--pending', trial.a_point('--pending'))
    trial.by_hand('delegate', '--pending')


KILLS = (
    kill_at_a_point,
    kill_at_a_point,
    kill_at_a_point,
    kill_at_a_time,
    kill_one_of_two,
    kill_one_of_two,
    kill_the_web_server,
    kill_what_is_left_behind,
    kill_by_hand,
)


@pytest.mark.parametrize('seed', [FIRST, *ONCE])
def test_no_push_is_lost_or_delegated_twice_whatever_is_killed_when(
    trial: Trial,
) -> None:
    with explained(trial):
        calibrate(trial)
        for _ in range(ROUNDS):
            kill = trial.random.choice(KILLS)
            kill(trial)
            trial.killed_at.append(f'{kill.__name__}: {trial.points()[-1:]}')
            trial.check(trial.recover())
        assert trial.by_hand('verify', '-q').returncode == 0
