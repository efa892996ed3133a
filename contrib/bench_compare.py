"""What a push that is delegated costs, next to the classic shell hook."""

from __future__ import annotations

import statistics

from bench_push import Bench, Cost, median

DEPLOY = 'cat >/dev/null\necho deployed\n'
WARMUP = 2


def run(bench: Bench, rounds: int) -> None:
    """Push one changeset at a time to the three in turn."""
    bench.world.forced_command(DEPLOY)
    hgrcs = ['', bench.shell, bench.hgrc]
    expected = [b'', b'deployed', b'delegate: blog: deployed']
    clones = [bench.clone(hgrc) for hgrc in hgrcs]
    costs: list[list[Cost]] = [[], [], []]
    for number in range(WARMUP + rounds):
        for turn in range(3):
            kind = (number + turn) % 3
            clones[kind].commit()
            costs[kind].append(bench.push(clones[kind], expected[kind]))
    compared([some[WARMUP:] for some in costs])


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
