"""A host with a thousand repositories and one deploy account for each, and 200
pushes at once through an sshd with its default limits.

The whole job: hg delegate-setup, --install, then the receiver with its first
clone and its box where that works. One file has the host's policy. --rounds
means nothing here; HGD_REPOSITORIES and HGD_PUSHES are how many. The pushers
are on the same host, and take most of the processors' time.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import passwd
import servers
from accounts import ROOT, Account
from bench_push import Bench, median
from repositories import Clone, Repository
from sources import CHECKOUT
from world import World

REPOSITORIES = int(os.environ.get('HGD_REPOSITORIES', '1000'))
PUSHES = int(os.environ.get('HGD_PUSHES', '200'))
STARTUPS = '10:30:100'  # sshd's default
DEPLOY = '#!/bin/sh\necho "$HG_NODE" >live\necho deployed\n'
POLICY = """\
[extensions]
hgext_delegate =
[delegate]
# one deploy account for each repository, and no other
allow-targets = ssh://hgd-{{repository}}-{suffix}@localhost:{port}
allow-repository-config = when trigger wait color identity hostkey receiver
"""
PAUSE = 1.0  # before who was not let in pushes again, in seconds


@dataclass(frozen=True)
class Site:
    repository: Repository
    account: Account

    def live(self) -> str:
        """The node that its script has seen last."""
        try:
            return self.account.read('site/live').strip()
        except FileNotFoundError:
            return ''


@dataclass
class Peak:
    """The most that the processes of UIDS had at one moment."""

    uids: frozenset[int]
    processes: int = 0
    memory: float = 0.0  # MB, the sum of what each has in memory
    one: float = 0.0  # MB, the largest
    descriptors: int = 0  # of all
    open_in_one: int = 0

    def take(self, table: Sequence[tuple[int, float, int]]) -> None:
        mine = [row for row in table if row[0] in self.uids]
        self.processes = max(self.processes, len(mine))
        self.memory = max(self.memory, sum(row[1] for row in mine))
        self.descriptors = max(self.descriptors, sum(row[2] for row in mine))
        for _uid, memory, descriptors in mine:
            self.one = max(self.one, memory)
            self.open_in_one = max(self.open_in_one, descriptors)


@dataclass
class Pushed:
    """One push, to its end, however often it was not let in."""

    site: Site
    clone: Clone
    node: str
    seconds: float = 0.0
    refused: int = 0
    said: list[bytes] = field(default_factory=list)

    def run(self, go: threading.Event) -> None:
        go.wait()
        began = time.monotonic()
        while True:
            push = self.clone.start_push().finish(check=False, timeout=1800)
            if push.returncode == 0:
                break
            if b'kex_exchange_identification' not in push.stderr + push.stdout:
                raise RuntimeError(f'{push.stdout!r} {push.stderr!r}')
            self.refused += 1
            time.sleep(PAUSE)
        self.seconds = time.monotonic() - began
        self.said = push.remote


def run(bench: Bench, rounds: int) -> None:
    if not ROOT:
        raise SystemExit('only root can make a thousand accounts')
    world = bench.world
    accounts = make_accounts(world)
    sshd = servers.Sshd(
        world.base / 'strict', [*world.accounts, *accounts], STARTUPS
    )
    try:
        sites = set_up(world, sshd, accounts)
        pushes = prepare(world, sites)
        peaks = push_all(world, accounts, pushes)
        table(pushes, peaks, sshd)
        afterwards(world, pushes)
    finally:
        sshd.stop()


def make_accounts(world: World) -> list[Account]:
    suffix = world.base.name.removeprefix('hgd-')
    began = time.monotonic()
    names = [f'hgd-n{number:04}-{suffix}' for number in range(REPOSITORIES)]
    homes = {name: world.base / 'home' / name for name in names}
    accounts = [
        Account(name, homes[name], uid, uid)
        for name, uid in passwd.add(suffix, homes)
    ]
    for account in accounts:
        account.mkdir('')
    say(f'{REPOSITORIES} accounts', began)
    return accounts


def set_up(
    world: World, sshd: servers.Sshd, accounts: list[Account]
) -> list[Site]:
    """What an administrator's script does for each repository."""
    suffix = world.base.name.removeprefix('hgd-')
    world.server.write('.hgrc', POLICY.format(suffix=suffix, port=sshd.port))
    hosts = f'[localhost]:{sshd.port},[127.0.0.1]:{sshd.port}'
    known = ''.join(f'{hosts} {key}\n' for key in sshd.host_keys)
    for account in (world.server, world.pusher):
        account.write('.ssh/known_hosts', known)
    first = world.repository('first', enable=False)
    clone = world.clone(first)
    clone.owner.write(clone.path / 'deploy.sh', DEPLOY, 0o755)
    clone.hg('commit', '-A', '-m', 'deploy.sh')
    clone.deliver()

    def one(account: Account) -> Site:
        name = account.name.split('-')[1]
        path = world.server.copy(first.path, f'repos/{name}')
        url = f'ssh://{world.server.name}@localhost:{sshd.port}/repos/{name}'
        made = Repository(world.server, path, url, world.hg, '')
        said = made.hg(
            *('delegate-setup', '-Tjson', 'site'),
            f'ssh://{account.name}@localhost:{sshd.port}',
            env=hg,
        )
        (lines,) = json.loads(said.stdout)
        made.hgrc(lines['hgrc'])
        install = ['delegate-receive', '--install', lines['authorized_keys']]
        account.run([*world.hg, *receiver, *install])
        return Site(made, account)

    hg = hg_of(world)
    receiver = ['--config', 'extensions.hgext_delegate=']
    began = time.monotonic()
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        sites = list(pool.map(one, accounts))
    say('hg delegate-setup and --install for each', began)
    return sites


def hg_of(world: World) -> dict[str, str]:
    """Let the hg under test be the one that the accounts are told of."""
    text = f'#!/bin/sh\nexec {shlex.join(world.hg)} "$@"\n'
    return {'HG': str(world.server.write('hg', text, 0o755))}


def prepare(world: World, sites: list[Site]) -> list[Pushed]:
    """A clone with one changeset for each of PUSHES sites."""
    step = max(1, len(sites) // PUSHES)
    pushes = []
    base = world.clone(sites[0].repository)
    for site in sites[::step][:PUSHES]:
        path = world.pusher.copy(base.path, f'to-{site.repository.path.name}')
        hgrc = f'[paths]\ndefault = {site.repository.url}\n'
        world.pusher.write(path / '.hg/hgrc', hgrc)
        clone = Clone(world.pusher, path, world.hg, site.repository)
        node = clone.commit(files={'page': 'text\n'})
        pushes.append(Pushed(site, clone, node))
    return pushes


def push_all(
    world: World, accounts: list[Account], pushes: list[Pushed]
) -> dict[str, Peak]:
    """All at once, and look at the processes meanwhile."""
    uids = frozenset(account.uid for account in accounts)
    peaks = {
        'server account': Peak(frozenset({world.server.uid})),
        'deploy accounts': Peak(uids),
    }
    go = threading.Event()
    began = time.monotonic()
    with futures.ThreadPoolExecutor(len(pushes)) as pool:
        running = [pool.submit(push.run, go) for push in pushes]
        go.set()
        try:
            while not all(each.done() for each in running):
                found = looked_at()
                for peak in peaks.values():
                    peak.take(found)
                time.sleep(0.5)
        except BaseException:
            world.end_processes()  # which ends the pushes
            raise
        for each in running:
            each.result()
    say(f'{len(pushes)} pushes at once, until the last has ended', began)
    return peaks


def looked_at() -> list[tuple[int, float, int]]:
    """uid, MB in memory and descriptors of each process."""
    rows = []
    for name in filter(str.isdigit, os.listdir('/proc')):
        try:
            text = Path('/proc', name, 'status').read_text('ascii', 'replace')
            opened = len(os.listdir(f'/proc/{name}/fd'))
        except OSError:
            continue
        found = dict(re.findall(r'^(Uid|VmRSS):\s+(\d+)', text, re.MULTILINE))
        memory = int(found.get('VmRSS', 0)) / 1024
        rows.append((int(found['Uid']), memory, opened))
    return rows


def table(
    pushes: list[Pushed], peaks: dict[str, Peak], sshd: servers.Sshd
) -> None:
    seconds = [push.seconds for push in pushes]
    print(
        f'a push: median {median(seconds):.1f} s, slowest {max(seconds):.1f} s'
    )
    print(
        '                  processes     memory  largest  descriptors  in one'
    )
    for name, peak in peaks.items():
        print(
            f'{name:18}{peak.processes:9}{peak.memory:8.0f} MB'
            f'{peak.one:6.0f} MB{peak.descriptors:13}{peak.open_in_one:8}'
        )
    log = sshd.log()
    dropped = sum(map(int, re.findall(r', (\d+) connections dropped', log)))
    refused = sum(push.refused for push in pushes)
    print(f"sshd dropped {dropped} connections, {refused} of them pushers'")
    words = Counter(verdict(push.said) for push in pushes)
    print('told', ', '.join(f'{n} {word}' for word, n in words.items()))
    for push in pushes:
        if verdict(push.said) != 'deployed':
            line = [x for x in push.said if x.startswith(b'delegate: site: ')]
            print(b' '.join(line[-1:]).decode('utf-8', 'replace'), flush=True)


def verdict(said: list[bytes]) -> str:
    found = re.findall(rb'^delegate: site: (\w+)', b'\n'.join(said), re.M)
    return found[-1].decode() if found else 'nothing'


def afterwards(world: World, pushes: list[Pushed]) -> None:
    """Deliver what is pending, as cron does, and see that all are there."""
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        states = [*pool.map(state, pushes)]
    more = Counter(attempt for _, attempt in states)
    print('attempts', ', '.join(f'{more[n]} x {n}' for n in sorted(more)))
    waiting = [word for word, _ in states if word != 'succeeded']
    print('recorded as something else than succeeded:', dict(Counter(waiting)))
    sweep = CHECKOUT / 'contrib' / 'delegate-pending'
    folder = shutil.copy(sweep, world.server.home)
    began = time.monotonic()
    done = world.server.run(
        ['sh', folder, str(world.server.home / 'repos')],
        env=hg_of(world),
        check=False,
        timeout=1800,
    )
    say('contrib/delegate-pending for all of them', began)
    print((done.stdout + done.stderr).decode('utf-8', 'replace'), end='')
    lost = [push for push in pushes if push.site.live() != push.node]
    print(f'lost: {len(lost)} of {len(pushes)}')


def state(push: Pushed) -> tuple[str, int]:
    """What the journal says of it."""
    said = push.site.repository.hg('delegate-log', '-l1', '-Tjson').stdout
    for row in json.loads(said):
        if row['node'] == push.node:
            return row['state'], row['attempt']
    return 'not recorded', 0


def say(what: str, began: float) -> None:
    print(f'{what}: {time.monotonic() - began:.1f} s', flush=True)
