"""A deploy that prints a lot, and how soon a single line of it is seen."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from bench_push import Bench, Cost, median

LINES = 100_000
WIDTH = 100
LATENCY_LINES = 60
# The shell copies what lies ready: its own time does not count much.
FLOOD = """\
cat >/dev/null
for n in $(seq {times}); do cat lines; done
"""
# The kind that is not told to show all of it.
_LIMITED = 'output-limit'
# Each line says when it was printed.
CLOCK = """\
cat >/dev/null
exec {python} -IS -c '
import time
for number in range({lines}):
    time.sleep(0.02 + 0.03 * (number * 7 % 11) / 11)
    print("printed", time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)
'
"""


def run(bench: Bench, rounds: int) -> None:
    """Print 10 MB to the pusher, and then one line at a time."""
    flood(bench, rounds, LINES, WIDTH, hgrcs(bench))
    latency(bench, rounds)


def gigabyte(bench: Bench, rounds: int) -> None:
    """Print 1 GB, in longer lines; each time takes a minute, so that few of
    the rounds are enough. The last kind shows as much as it does by default."""
    kinds = {**hgrcs(bench), _LIMITED: bench.hgrc}
    flood(bench, max(1, rounds // 15), 1_000_000, 1000, kinds)


def flood(
    bench: Bench, rounds: int, lines: int, width: int, kinds: dict[str, str]
) -> None:
    once = min(lines, 10_000)
    bench.world.deploy.write('lines', f'{"x" * (width - 1)}\n' * once)
    bench.world.forced_command(FLOOD.format(times=lines // once))
    counts: list[int] = []

    def hear(line: bytes, when: float) -> None:
        # Over ssh hg itself now and then tears a line of a shell hook in two.
        counts[-1] += line.count(b'x')

    def push(kind: str) -> Cost:
        counts.append(0)
        cost = bench.watch(clones[kind], hear)
        if kind != _LIMITED and counts[-1] != lines * (width - 1):
            raise RuntimeError(f'{counts[-1]} bytes of {lines} lines came')
        return cost

    clones = {name: bench.clone(hgrc) for name, hgrc in kinds.items()}
    found = alternate(rounds, push, clones)
    shell = found['shell hook']
    print(f'{lines:,} lines, {lines * width / 1e6:,.0f} MB')
    print(
        f'{"":18}{"push":>8}{"ratio":>7}{"server CPU":>13}{"ratio":>7}', end=''
    )
    print(f'{"memory":>10}')
    for name, costs in found.items():
        slower = median(c.seconds / s.seconds for s, c in zip(shell, costs))
        dearer = median(c.cpu / s.cpu for s, c in zip(shell, costs))
        print(
            f'{name:18}{median(c.seconds for c in costs):6.2f} s{slower:7.2f}'
            f'{median(c.cpu for c in costs):11.2f} s{dearer:7.2f}'
            f'{median(c.memory for c in costs):7.0f} MB',
            flush=True,
        )


def latency(bench: Bench, rounds: int) -> None:
    bench.world.forced_command(
        CLOCK.format(python=bench.world.python, lines=LATENCY_LINES)
    )
    delays: list[float] = []

    def hear(line: bytes, when: float) -> None:
        _, mark, printed = line.partition(b'printed ')
        if mark:
            delays.append(when * 1000 - int(printed) / 1e6)

    def push(kind: str) -> list[float]:
        delays.clear()
        bench.watch(clones[kind], hear)
        if len(delays) != LATENCY_LINES:
            raise RuntimeError(f'{len(delays)} of {LATENCY_LINES} lines came')
        return delays.copy()

    clones = {name: bench.clone(hgrc) for name, hgrc in hgrcs(bench).items()}
    alternated = alternate(rounds, push, clones)
    print(f'a single line, {LATENCY_LINES} of them in each of {rounds} rounds')
    print(f'{"":18}{"median":>8}{"9 of 10":>13}{"slowest":>10}')
    for name, found in alternated.items():
        every = [delay for some in found for delay in some]
        tenth = statistics.quantiles(every, n=10)[-1]
        print(
            f'{name:18}{median(every):5.1f} ms'
            f'{tenth:10.1f} ms{max(every):7.1f} ms'
        )


def hgrcs(bench: Bench) -> dict[str, str]:
    return {
        'shell hook': bench.shell,
        'hgext_delegate': f'{bench.hgrc}blog:output-limit = 2 GB\n',
    }


def alternate(rounds, push: Callable, clones) -> dict[str, list]:
    """What PUSH returns for each kind, which take turns in each round."""
    kinds = list(clones)
    found: dict[str, list] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            clones[kind].commit()
            found[kind].append(push(kind))
        kinds = [*kinds[1:], kinds[0]]
    return found
