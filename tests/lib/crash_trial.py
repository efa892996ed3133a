"""A repository whose server is killed again and again, and what must hold."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from hgrc import targets
from mercurial import (
    dispatch,  # noqa: F401 (Mercurial 7.2 wants it first)
    hg,
    ui as uimod,
)
from repositories import Clone, Repository, RunningPush
from world import Deploy, World

from hgext_delegate.push import outbox
from hgext_delegate.state import delegation, journal

SLOW = """\
. ./record
echo begun
sleep 0.1
echo deployed
"""


@dataclass(frozen=True)
class Files:
    """What the files of a repository say, read from a copy of them."""

    nodes: list[str]  # in the order of their revisions
    parents: dict[str, list[str]]
    noted: set[str]  # the last node of each entry of the outbox
    rows: list[delegation.Delegation]
    abandoned: bool  # there is an unfinished transaction

    @classmethod
    def of(cls, repository: Repository, folder: Path) -> Files:
        copy = folder / 'copy'
        shutil.copytree(repository.path, copy, symlinks=True)
        (copy / '.hg' / 'hgrc').unlink()
        repo = hg.repository(uimod.ui(), os.fsencode(copy)).unfiltered()
        contexts = [repo[rev] for rev in repo]
        box = outbox.read(repo)
        assert not box.unread
        rows = []
        if (copy / '.hg' / 'delegate' / 'journal').exists():
            opened = journal.open(str(copy / '.hg' / 'delegate' / 'journal'))
            rows = opened.newest(None, 10**6)
            assert opened.last_error is None
            opened.close()
        found = cls(
            [context.hex().decode() for context in contexts],
            {
                context.hex().decode(): [p.hex().decode() for p in parents]
                for context in contexts
                for parents in [context.parents()]
            },
            {entry.push['node_last'] for entry in box.entries},
            rows,
            (copy / '.hg' / 'store' / 'journal').exists(),
        )
        shutil.rmtree(copy)
        return found

    def descends(self, node: str, ancestor: str) -> bool:
        """Whether NODE is a descendant of ANCESTOR."""
        todo = [*self.parents[node]]
        while todo:
            node = todo.pop()
            if node == ancestor:
                return True
            todo += self.parents.get(node, [])
        return False


class Trial:
    """One repository and its pushers, killed again and again."""

    def __init__(self, world: World, folder: Path, seed: int) -> None:
        self.world = world
        self.folder = folder
        self.random = random.Random(seed)
        self.plan = world.server.home / 'plan'
        killer = Path(__file__).with_name('killer.py').read_text('utf-8')
        path = world.server.write('killer.py', killer)
        world.forced_command(SLOW)
        self.repository = world.repository()
        self.config = (
            f'killer = {path}\n[killer]\nplan = {self.plan}\n{targets(world)}'
        )
        self.repository.hgrc(self.config)
        one = world.clone(self.repository)
        one.hg('debugbuilddag', '+1:base+30<base+30')
        said = one.hg('log', '-r', '0:', '-T', '{node}\n').stdout.decode()
        nodes = said.split()
        two = world.pusher.copy(one.path, one.path.with_name('two'))
        self.clones = [one, Clone(one.owner, two, one.program)]
        one.push('-r', nodes[0])
        self.base = nodes[0]
        self.left = [nodes[1:31], nodes[31:]]
        self.pushed = [nodes[0]]
        self.killed_at: list[str] = []
        self.ranges: dict[str, range] = {}

    def push(self, who: int, *args: str) -> RunningPush:
        """Start the push of some more changesets of the clone WHO."""
        count = self.random.choice([1, 1, 1, 2])
        nodes = [self.left[who].pop(0) for _ in range(count)]
        self.pushed.append(nodes[-1])
        return self.clones[who].start_push('-f', '-r', nodes[-1], *args)

    def will_kill(self, command: str, at: int) -> None:
        """Kill the next process of hg COMMAND at its crash point AT."""
        text = json.dumps({'command': command, 'at': at})
        self.world.server.write(self.plan, text)

    def points(self) -> list[str]:
        path = self.plan.with_name('plan.points')
        return path.read_text('utf-8').splitlines() if path.exists() else []

    def a_point(self, command: str) -> int:
        return self.random.choice(self.ranges[command])

    def settle(self) -> None:
        """Wait until no process works on any delegation any more."""
        while self.world.living():
            time.sleep(0.02)

    def by_hand(self, *args: str) -> subprocess.CompletedProcess[bytes]:
        return self.repository.hg(*args, check=False)

    def files(self) -> Files:
        return Files.of(self.repository, self.folder)

    def recover(self) -> Files:
        """What an administrator does after a crash, checked on the way."""
        self.settle()
        self.plan.unlink(missing_ok=True)
        files = self.files()
        if files.abandoned:
            # cron does not wait for hg recover, and what is rolled back then
            # must not have been delegated; check() sees that
            self.by_hand('delegate', '--pending')
            assert self.by_hand('recover').returncode == 0
            files = self.files()
        # the changesets of the others go with a later push
        self.pushed = [node for node in self.pushed if node in files.nodes]
        # each push is there with its entry, or neither is
        known = files.noted | {row.node for row in files.rows}
        assert files.noted <= set(self.pushed) == known
        said = self.by_hand('delegate', '--pending')
        assert said.returncode == 0, said.stdout + said.stderr
        return self.files()

    def check(self, files: Files) -> None:
        deploys = self.world.deploys()
        self._check_each_push(files, deploys)
        self._check_the_order(files, deploys)

    def _check_each_push(self, files: Files, deploys: list[Deploy]) -> None:
        rows = {row.node: row for row in files.rows}
        numbers = {row.number: row for row in files.rows}
        # one whose server was killed may have got no input, or half of it
        whole = [d for d in deploys if d.status == 0 and b'\n' in d.input]
        succeeded = {node_of(deploy) for deploy in whole}
        told = {p['node_last'] for d in whole for p in d.context['pushes']}
        for node in self.pushed:
            row = rows[node]
            run = row
            if row.state == delegation.SUPERSEDED:
                assert row.merged_into
                run = numbers[row.merged_into]
            if run.state == delegation.SUCCEEDED:
                assert run.node in succeeded
                assert node in told or files.descends(run.node, node)
            else:
                assert run.state == delegation.LOST, row

    def _check_the_order(self, files: Files, deploys: list[Deploy]) -> None:
        """Nothing twice, nothing at once, nothing after a descendant."""
        nodes = [node_of(deploy) for deploy in deploys]
        assert len(nodes) == len(set(nodes))
        assert set(nodes) <= set(files.nodes)
        for older, newer in itertools.combinations(nodes, 2):
            assert not files.descends(older, newer)
        lost = {r.node for r in files.rows if r.state == delegation.LOST}
        for before, after in zip(deploys, deploys[1:]):
            # a killed server cannot end what it has begun
            if node_of(before) not in lost:
                assert before.ended and before.ended < after.started


def node_of(deploy: Deploy) -> str:
    return deploy.command.split()[-1]
