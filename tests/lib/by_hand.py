"""What a person types on the server."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

from repositories import Completed, Repository, RunningPush
from sources import CHECKOUT
from world import World

PENDING = CHECKOUT / 'contrib' / 'delegate-pending'


def start(repository: Repository, *args: str) -> RunningPush:
    """Start hg ARGS in the repository, as the server account."""
    process = repository.owner.popen(
        [*repository.program, '-R', str(repository.path), *args],
        env={'PYTHONUNBUFFERED': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return RunningPush(process)


def check(repository: Repository, *args: str) -> tuple[list[Any], int]:
    """The findings of hg delegate-check ARGS, and its exit status."""
    done = repository.hg('delegate-check', '-Tjson', *args, check=False)
    assert done.stderr == b''
    return json.loads(done.stdout), done.returncode


def refused(repository: Repository, *args: str) -> str:
    """What hg ARGS says as it aborts."""
    done = repository.ask(*args, check=False)
    assert done.returncode not in (0, 1)
    said = done.stderr.decode()
    assert said.startswith('abort: ') or '\nabort: ' in said
    assert 'Traceback' not in said
    return said


def cron(world: World, folder: Path, check: bool = True) -> Completed:
    """Run the cron script for the repositories below FOLDER."""
    script = world.server.write('delegate-pending', PENDING.read_text(), 0o755)
    hg = f'#!/bin/sh\nexec {shlex.join(world.hg)} "$@"\n'
    program = world.server.write('hg', hg, 0o755)
    return world.server.run(
        [str(script), str(folder)], env={'HG': str(program)}, check=check
    )
