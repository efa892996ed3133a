"""The whole job: the deploy account pulls, updates and runs ./deploy.sh, which
says a word; by the classic line, and by this extension."""

from __future__ import annotations

import shlex
import shutil
import statistics
from dataclasses import dataclass

from bench_push import Bench, Cost, median
from repositories import Clone

# files and changesets of the repositories
SIZES = ((1, 1), (10_000, 50_000))
WARMUP = 2
SCRIPT = '#!/bin/sh\necho deployed\n'
# The job, as a script of the deploy account's does it; its clone and source.
JOB = """\
cat >/dev/null
cd "$1" || exit
{hg} pull -q "$2" && {hg} update -q && exec ./deploy.sh
"""
# What is asked for says which way it is.
FORCED = """\
case "$SSH_ORIGINAL_COMMAND" in
*' receiver '*) way=receiver ;;
*' script '*) way=script ;;
*' chg '*) way=chg ;;
*) way=$SSH_ORIGINAL_COMMAND ;;
esac
clone={clones}$way source={sources}$way
set -- --config extensions.hgext_delegate= delegate-receive \\
    --clone "$clone" --source "$source" --run ./deploy.sh
case $way in
receiver) exec {hg} "$@" ;;
chg) exec env CHGHG="$HOME/hg" CHGSOCKNAME="$HOME/.chg" chg "$@" ;;
*) exec sh {job} "$clone" "$source" ;;
esac
"""
# Grows a repository that has its files by changesets of nothing.
GROW = """\
import sys
from mercurial import dispatch, hg, metadata, phases, ui
repo = hg.repository(ui.ui.load(), sys.argv[1].encode())
with repo.lock(), repo.transaction(b'grow') as transaction:
    log, node = repo.changelog, repo.changelog.tip()
    manifest = repo[b'tip'].manifestnode()
    for number in range(len(log), int(sys.argv[2])):
        node = log.add(
            manifest, metadata.ChangingFiles(), b'%d' % number, transaction,
            node, repo.nullid, b'bench', (number, 0),
        )
    phases.advanceboundary(repo, transaction, phases.public, [node])
"""


@dataclass(frozen=True)
class Way:
    name: str  # also of the target, or of what is asked for
    title: str
    hgrc: str
    expect: bytes


def run(bench: Bench, rounds: int) -> None:
    """Push one changeset at a time by each of the ways in turn."""
    for files, changesets in SIZES:
        print(f'{files:,} files, {changesets:,} changesets')
        compare(bench, ways(bench), rounds, files, changesets)


def ways(bench: Bench) -> list[Way]:
    world = bench.world
    ssh = [*world.ssh(world.server), '-p', str(world.port), bench.login]
    sockets = world.server.mkdir('sockets')
    kept = [*ssh[:-1], '-o', 'ControlMaster=auto', '-o', 'ControlPersist=60']
    kept += ['-o', f'ControlPath={sockets}/%C', bench.login]

    def line(command: list[str], name: str) -> str:
        hook = shlex.join([*command, name])
        return f'[hooks]\nchangegroup.autopush = {hook}\n'

    ours = '[extensions]\nhgext_delegate =\n[delegate]\n{0} = {1}\n'
    with_receiver = ours + '{0}:receiver = yes\n'
    by_chg = Way(
        'chg',
        '  by chg',
        with_receiver.format('chg', bench.url),
        b'delegate: chg: deployed',
    )
    return [
        Way('none', 'no hook', '', b''),
        Way('line', 'the line', line(ssh, 'line'), b'deployed'),
        Way('kept', '  ControlPersist', line(kept, 'kept'), b'deployed'),
        Way(
            'script',
            'ours, a script',
            ours.format('script', bench.url),
            b'delegate: script: deployed',
        ),
        Way(
            'receiver',
            'ours, the receiver',
            with_receiver.format('receiver', bench.url),
            b'delegate: receiver: deployed',
        ),
        *[by_chg] * bool(shutil.which('chg')),
    ]


def compare(
    bench: Bench, ways: list[Way], rounds: int, files: int, changesets: int
) -> None:
    clones = prepare(bench, ways, files, changesets)
    costs: dict[str, list[Cost]] = {way.name: [] for way in ways}
    for number in range(WARMUP + rounds):
        for turn in range(len(ways)):
            way = ways[(number + turn) % len(ways)]
            clone = clones[way.name]
            clone.commit()
            costs[way.name].append(bench.push(clone, way.expect))
    print('                      push     added  (quartiles)       of the line'
          '  of ControlPersist')  # fmt: skip
    plain = [cost.seconds for cost in costs['none']][WARMUP:]
    added = {
        name: [c.seconds - p for c, p in zip(some[WARMUP:], plain)]
        for name, some in costs.items()
    }
    for way in ways:
        seconds = median(cost.seconds for cost in costs[way.name][WARMUP:])
        row = f'{way.title:18}{seconds:6.2f} s'
        if way.name != 'none':
            low, middle, high = statistics.quantiles(added[way.name], n=4)
            row += f'{middle:8.2f} s  ({low:.2f} to {high:.2f} s)'
            row += ''.join(
                f'{middle / median(added[other]):{width}.2f}'
                for other, width in (('line', 14), ('kept', 19))
            )
        print(row, flush=True)


def prepare(
    bench: Bench, ways: list[Way], files: int, changesets: int
) -> dict[str, Clone]:
    """A repository for each of WAYS, the deploy account's clones, and what it
    is forced to run; the pusher's clones."""
    world = bench.world
    size = f'{files}-'
    first = world.clone(world.repository(f'{size}first', enable=False))
    names = [f'd{n // 100}/f{n}' for n in range(files)]
    texts = {name: f'{name}\n' * 20 for name in names}
    first.commit(files={**texts, 'deploy.sh': SCRIPT})
    first.owner.run(['chmod', '+x', str(first.path / 'deploy.sh')])
    first.commit()
    script = world.pusher.write('grow.py', GROW)
    grow = [world.python, str(script), str(first.path), str(changesets)]
    world.pusher.run(grow, timeout=600)
    sources = world.server.home / 'repos' / size
    clones = {}
    world.deploy.mkdir('clones')
    for way in ways:
        repository = world.repository(
            f'{size}{way.name}', way.hgrc, enable=False
        )
        pull = [*world.hg, '-R', str(repository.path), 'pull', '-q']
        world.server.run([*pull, str(first.path)], timeout=600)
        clones[way.name] = clone = world.clone(repository)
        clone.hg('update', '-q')
        if way.name not in ('receiver', 'chg'):  # which makes its own
            there = world.deploy.home / 'clones' / f'{size}{way.name}'
            clone_ = [*world.hg, 'clone', '-q', str(repository.path)]
            world.deploy.run([*clone_, str(there)], timeout=600)
    force(bench, f'{world.deploy.home}/clones/{size}', f'{sources}')
    return clones


def force(bench: Bench, clones: str, sources: str) -> None:
    world = bench.world
    hg = shlex.join(world.hg)
    world.deploy.write('hg', f'#!/bin/sh\nexec {hg} "$@"\n', 0o755)
    job = world.deploy.write('job', JOB.format(hg=hg))
    world.forced_command(
        FORCED.format(hg=hg, job=job, clones=clones, sources=sources)
    )
