"""Many targets at once; what a slow and a dead one do to the others."""

from __future__ import annotations

import re
import socket
import time

from bench_push import Bench, median

SIZES = (1, 8, 32)
# The third word of what is asked for is the target.
DEPLOY = """\
cat >/dev/null
set -- $SSH_ORIGINAL_COMMAND
case "$3" in
slow) sleep 10 ;;
*) sleep 1 ;;
esac
echo deployed
"""


def run(bench: Bench, rounds: int) -> None:
    """Push to 1, 8 and 32 targets, then to 8 of which one is slow and one
    does not answer."""
    bench.world.forced_command(DEPLOY)
    clones = [bench.clone(hgrc(bench, size)) for size in SIZES]
    seconds: list[list[float]] = [[] for _ in SIZES]
    for _ in range(rounds):
        for kind, size in enumerate(SIZES):
            clones[kind].commit()
            seconds[kind].append(deploy(bench, clones[kind], size))
    print('targets, each with a deploy of 1 s      push  more than 1 target')
    for kind, size in enumerate(SIZES):
        more = median(s - one for s, one in zip(seconds[kind], seconds[0]))
        print(f'{size:7}{median(seconds[kind]):34.2f} s{more:18.2f} s')
    print(flush=True)
    hold_up(bench)


def deploy(bench: Bench, clone, size: int) -> float:
    heard: list[bytes] = []
    before = logins(bench)
    cost = bench.watch(clone, lambda line, when: heard.append(line))
    good = sum(b': deployed ' in line for line in heard)
    ran = logins(bench) - before
    if good != size or ran < size:
        raise RuntimeError(f'{good} of {size} deployed by {ran}: {heard}')
    return cost.seconds


def logins(bench: Bench) -> int:
    """How often the deploy account has been logged in to."""
    return bench.world.ssh_log().count(
        f'Accepted publickey for {bench.world.deploy.name} '
    )


def hold_up(bench: Bench) -> None:
    """One push with a target that takes 10 s and one that never answers."""
    ends: list[tuple[str, float]] = []

    def hear(line: bytes, when: float) -> None:
        found = re.match(rb'remote: delegate: (\w+): (\w+)', line)
        if found:
            ends.append((f'{found[1].decode()} {found[2].decode()}', when))

    with socket.create_server(('127.0.0.1', 0)) as silent:
        port = silent.getsockname()[1]
        text = hgrc(bench, 6) + f'slow = {bench.url}\n'
        text += f'dead = ssh://{bench.world.deploy.name}@127.0.0.1:{port}\n'
        clone = bench.clone(f'{text}dead:retries = 0\n')
        clone.commit()
        began = time.monotonic()
        bench.watch(clone, hear)
    print('6 targets of 1 s, one of 10 s, one dead; from the start of the push')
    for name, when in ends:
        print(f'{name:20}{when - began:6.2f} s')


def hgrc(bench: Bench, size: int) -> str:
    targets = ''.join(f't{n} = {bench.url}\n' for n in range(size))
    return f'[extensions]\nhgext_delegate =\n[delegate]\n{targets}'
