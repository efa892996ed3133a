"""Kill -9 of the server while a gate is asked: nothing comes in unasked, and
nothing is left that hg recover does not mend."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

import pytest
from hgrc import targets
from repositories import Clone, Repository
from waiting import until
from world import World

SEED = int(os.environ['HGD_SEED'])
CRASHES = int(os.environ.get('HGD_CRASHES') or 8)
# remembers what it has let pass, and refuses every third
CHECK = """\
read -r object
cat >/dev/null
exec </dev/null
echo looking
sleep 0.2
set -- $SSH_ORIGINAL_COMMAND
echo $4 >>asked
[ $(($(wc -l <asked) % 3)) = 0 ] && exit 1
echo $4 >>passed
"""


def end_servers(world: World) -> None:
    for pid, command in world.living().items():
        if 'serve --stdio' in command and 'sh -c' not in command:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.once
def test_whatever_is_killed_when_nothing_comes_in_unasked(
    world: World, repository: Repository, clone: Clone
) -> None:
    world.forced_command(CHECK)
    repository.hgrc(targets(world, 'checks', more='checks:gate = yes\n'))
    chosen = random.Random(SEED)
    store = repository.path / '.hg' / 'store'
    recovered = 0
    for number in range(CRASHES):
        clone.commit()
        push = clone.start_push()
        if number % 2:
            # most of a push's time is before and after
            push.wait_for(b'checks| looking')
        time.sleep(chosen.uniform(0, 0.4 if number % 2 else 1.5))
        end_servers(world)
        push.finish(check=False)
        until(lambda: not world.living())
        if (store / 'journal').exists():
            recovered += 1
            assert repository.hg('recover', check=False).returncode == 0
        said = repository.ask('log', '-T', '{node}\n').stdout.decode().split()
        asked = world.deploy.home / 'passed'
        passed = asked.read_text().split() if asked.exists() else []
        # the newest of each push is what it was asked about
        for node in said:
            heads = repository.ask(
                'log', '-r', f'descendants({node})', '-T', '{node}\n'
            ).stdout.decode()
            assert set(heads.split()) & set(passed), (node, passed)
    assert recovered
    # and it goes on
    for _ in range(3):
        if not clone.push(check=False).returncode:
            break
    assert repository.hg('verify', '-q').returncode == 0
    tip = repository.ask('log', '-r', 'tip', '-T', '{node}').stdout.decode()
    assert tip == clone.tip()
