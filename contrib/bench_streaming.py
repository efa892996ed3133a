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
    flood(bench, rounds, LINES, WIDTH)
    latency(bench, rounds)


def gigabyte(bench: Bench, rounds: int) -> None:
    """Print 1 GB, in longer lines; each time takes a minute, so that few of
    the rounds are enough."""
    flood(bench, max(1, rounds // 15), 1_000_000, 1000)


def flood(bench: Bench, rounds: int, lines: int, width: int) -> None:
    once = min(lines, 10_000)
    bench.world.deploy.write('lines', f'{"x" * (width - 1)}\n' * once)
    bench.world.forced_command(FLOOD.format(times=lines // once))
    counts: list[int] = []

    def hear(line: bytes, when: float) -> None:
        # Over ssh hg itself now and then tears a line of a shell hook in two.
        counts[-1] += line.count(b'x')

    def push(kind: int) -> Cost:
        counts.append(0)
        cost = bench.watch(clones[kind], hear)
        if counts[-1] != lines * (width - 1):
            raise RuntimeError(f'{counts[-1]} bytes of {lines} lines came')
        return cost

    clones = [bench.clone(hgrc) for hgrc in hgrcs(bench)]
    shell, ours = alternate(rounds, push, clones)
    print(f'{lines:,} lines, {lines * width / 1e6:,.0f} MB')
    print(f'{"":18}{"push":>8}{"server CPU":>13}{"memory":>10}')
    for name, costs in (('shell hook', shell), ('hgext_delegate', ours)):
        print(
            f'{name:18}{median(c.seconds for c in costs):6.2f} s'
            f'{median(c.cpu for c in costs):11.2f} s'
            f'{median(c.memory for c in costs):7.0f} MB'
        )
    ratios = [
        median(o.seconds / s.seconds for s, o in zip(shell, ours)),
        median(o.cpu / s.cpu for s, o in zip(shell, ours)),
    ]
    print(f'{"ratio":18}{ratios[0]:8.2f}{ratios[1]:13.2f}', flush=True)


def latency(bench: Bench, rounds: int) -> None:
    bench.world.forced_command(
        CLOCK.format(python=bench.world.python, lines=LATENCY_LINES)
    )
    delays: list[float] = []

    def hear(line: bytes, when: float) -> None:
        _, mark, printed = line.partition(b'printed ')
        if mark:
            delays.append(when * 1000 - int(printed) / 1e6)

    def push(kind: int) -> list[float]:
        delays.clear()
        bench.watch(clones[kind], hear)
        if len(delays) != LATENCY_LINES:
            raise RuntimeError(f'{len(delays)} of {LATENCY_LINES} lines came')
        return delays.copy()

    clones = [bench.clone(hgrc) for hgrc in hgrcs(bench)]
    shell, ours = alternate(rounds, push, clones)
    print(f'a single line, {LATENCY_LINES} of them in each of {rounds} rounds')
    print(f'{"":18}{"median":>8}{"9 of 10":>13}{"slowest":>10}')
    for name, found in (('shell hook', shell), ('hgext_delegate', ours)):
        every = [delay for some in found for delay in some]
        tenth = statistics.quantiles(every, n=10)[-1]
        print(
            f'{name:18}{median(every):5.1f} ms'
            f'{tenth:10.1f} ms{max(every):7.1f} ms'
        )


def hgrcs(bench: Bench) -> list[str]:
    return [bench.shell, f'{bench.hgrc}blog:output-limit = 2 GB\n']


def alternate(rounds, push: Callable, clones) -> list[list]:
    """What PUSH returns for each kind, which take turns in each round."""
    found: list[list] = [[], []]
    for number in range(rounds):
        for turn in (0, 1):
            kind = (number + turn) % 2
            clones[kind].commit()
            found[kind].append(push(kind))
    return found
