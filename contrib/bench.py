"""What a push that is delegated costs, next to the classic shell hook.

    bench.py [--rounds N] [--receiver | --growth | --streaming | ...]

Pushes one changeset at a time over a real sshd to three repositories in turn:
without a hook, with 'changegroup.autopush = ssh DEPLOY', with this extension.

--receiver   the whole job, pull, update and ./deploy.sh, done by each
--growth     the hook's own work as pushes and the journal get larger
--streaming  a deploy that prints 10 MB; when a single line is seen
--gigabyte   a deploy that prints 1 GB
--fan-out    many targets; one of them slow, one dead
--thousand   a thousand repositories and deploy accounts, 200 pushes at once
--idle       instructions of commands that do not push (needs valgrind)

Accounts and servers are those of the tests (tests/lib/world.py), and so are the
interpreter, Mercurial and paramiko. Seconds say little about another machine;
the ratios of one run say more. 'quartiles' are the middle half of the rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent / 'tests' / 'lib')
)

import bench_compare
import bench_fanout
import bench_growth
import bench_idle
import bench_receiver
import bench_streaming
import bench_thousand
from bench_push import Bench
from world import World

RUNS = {
    'receiver': bench_receiver.run,
    'growth': lambda bench, rounds: bench_growth.Growth(bench).run(rounds),
    'streaming': bench_streaming.run,
    'gigabyte': bench_streaming.gigabyte,
    'fan-out': bench_fanout.run,
    'thousand': bench_thousand.run,
    'idle': bench_idle.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        '--rounds', type=int, default=15, help='15 if not given'
    )
    which = parser.add_mutually_exclusive_group()
    for name, run in RUNS.items():
        which.add_argument(
            f'--{name}', dest='run', action='store_const', const=run
        )
    parser.set_defaults(run=bench_compare.run)
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error('at least 2 rounds are needed')
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    versions()
    world = World()
    try:
        options.run(Bench(world), options.rounds)
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
