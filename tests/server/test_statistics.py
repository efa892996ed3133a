"""hg delegate-log --stat, and how long a delegation is expected to take."""

from __future__ import annotations

import json
import sqlite3

import pytest
import verdict
from by_hand import refused
from delegations import every_state, log
from hgrc import targets
from repositories import Clone, Repository
from world import BEGUN, World

pytestmark = pytest.mark.once


def seconds(repository: Repository, number: int, value: float) -> None:
    """Let the delegation NUMBER have taken so many seconds."""
    path = repository.path / '.hg' / 'delegate' / 'journal'
    db = sqlite3.connect(path)
    db.execute(
        'UPDATE delegation SET seconds = ? WHERE number = ?', (value, number)
    )
    db.commit()
    db.close()


def test_who_waits_is_told_how_long_it_usually_takes(
    world: World, repository: Repository, ready: Clone
) -> None:
    durations = [1000.0, 30.0, 50.0, 40.0, 20.0, 60.0]
    for _ in durations:
        ready.commit()
        ready.push()
    world.forced_command('. ./record\nexit 3\n')
    ready.commit()
    ready.push()
    for number, each in enumerate([*durations, 5.0], 1):
        seconds(repository, number, each)
    world.forced_command(BEGUN)
    ready.commit(files={'a': '1'})
    other = world.clone(repository)
    first = ready.start_push()
    first.wait_for(b'blog| begun')
    other.commit(files={'b': '1'})
    second = other.start_push('-f')
    second.wait_for(b'waiting for delegation 8 of ')
    heard = [x for _, x in second.lines if b'waiting for delegation' in x]
    # the median of the last five that succeeded
    assert b' s of usually 40 s' in heard[0]
    listed = repository.hg('delegate-log', '-l', '2').stdout.decode()
    (running,) = [x for x in listed.splitlines() if '  running ' in x]
    assert running.endswith(' s of usually 40 s')
    world.deploy.write('go', '')
    for push in (first, second):
        assert verdict.last(push.finish()).state == 'deployed'
    said = repository.hg('delegate-log', '--stat').stdout.decode()
    heading, line = said.splitlines()
    assert heading.split() == [
        *('target', 'run', 'failed', 'median', 'slowest', 'usually')
    ]
    name, count, failed, *times = line.split()
    assert (name, count, failed) == ('blog', '9', '1')
    assert times[2:4] == ['1000', 's']
    assert len(line) == len(heading)


def test_the_statistics_are_for_templates_too(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world))
    done = repository.hg('delegate-log', '--stat')
    assert (done.stdout, done.stderr) == (b'', b'')
    with every_state(world, repository):
        done = repository.hg('delegate-log', '--stat', '-Tjson')
        assert json.loads(done.stdout) == [
            {
                'target': 'blog',
                'count': 4,
                'failed': 2,
                'median': 2.125,
                'slowest': 2.125,
                'usual': 2.125,
            }
        ]
        assert log(repository)[0]['usual'] == 2.125
        assert (
            'blog'
            in repository.hg(
                'delegate-log', '--stat', '-t', 'blog'
            ).stdout.decode()
        )
    said = refused(repository, 'delegate-log', '--stat', '-t', 'docs')
    assert "there is no target 'docs'" in said
    for more in (['3'], ['--follow']):
        said = refused(repository, 'delegate-log', '--stat', *more)
        assert 'cannot specify --stat with an ID or --follow' in said
