"""Commands that do not push: what the extension adds to them.

Counted in instructions, which come out the same however busy the machine is.
"""

from __future__ import annotations

import re
import shlex
import shutil

from bench_push import Bench
from repositories import Repository

COMMANDS = (
    ('hg id', ['id']),
    ('hg status', ['status']),
    ('hg log -l1', ['log', '-l1']),
    ('serve: a pull', ['pull']),
    ('serve: a clone', ['clone']),
)
CHANGESETS = 20
SEED = {'PYTHONHASHSEED': '0'}
COUNT = ['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null']


def run(bench: Bench, rounds: int) -> None:
    """Run each command with and without the extension enabled."""
    if not shutil.which('valgrind'):
        raise SystemExit('--idle counts with valgrind, which is not here')
    made = bench.world.repository(enable=False)
    clone = bench.world.clone(made)
    for _ in range(CHANGESETS):
        clone.commit()
    clone.push()
    print(f'{"millions of instructions":26}without     with     more')
    for name, args in COMMANDS:
        counts = []
        for hgrc in ('', bench.hgrc):
            made.hgrc(hgrc)
            counts.append(count(bench, made, args))
        without, enabled = counts
        print(
            f'{name:26}{without / 1e6:7.1f}  {enabled / 1e6:7.1f}'
            f'  {enabled / without - 1:7.2%}',
            flush=True,
        )


def count(bench: Bench, made: Repository, args: list[str]) -> int:
    """The instructions of hg ARGS, or of the hg that serves it."""
    world = bench.world
    here = [*world.hg, '-R', str(made.path)]
    if args[0] in ('pull', 'clone'):
        command = serving(bench, made, args[0])
    else:
        command = [*COUNT, *here, *args]
    ran = world.server.run(command, env=SEED, timeout=300)
    found = re.search(rb'Collected : (\d+)', ran.stderr + ran.stdout)
    if not found:
        raise RuntimeError(f'valgrind did not count: {ran.stderr!r}')
    return int(found[1])


def serving(bench: Bench, made: Repository, command: str) -> list[str]:
    """hg pull or clone of MADE, whose server takes the place of ssh."""
    world = bench.world
    hg = [*COUNT, *world.hg, '-R', str(made.path)]
    serve = shlex.join([*hg, 'serve', '--stdio'])
    ssh = world.server.write('valgrind', f'#!/bin/sh\nexec {serve}\n', 0o755)
    to = world.server.home / 'client'
    shutil.rmtree(to, ignore_errors=True)
    client = [*world.hg, '--config', f'ui.ssh={ssh}', '--noninteractive']
    url = 'ssh://localhost/any'
    if command == 'clone':
        return [*client, 'clone', '-U', url, str(to)]
    # One changeset is missing.
    newest = str(CHANGESETS - 2)
    source = str(made.path)
    world.server.run([*world.hg, 'clone', '-U', '-r', newest, source, str(to)])
    return [*client, '-R', str(to), 'pull', url]
