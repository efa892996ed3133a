"""A full disk fails no push that it does not fail itself, and loses none."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import small_disk
import verdict
from hgrc import targets
from small_disk import SmallDisk
from world import World


@pytest.fixture
def disk(world: World) -> Iterator[SmallDisk]:
    world.forced_command('. ./record\nseq 3000\necho deployed\n')
    with small_disk.mounted(world) as disk:
        yield disk


def test_a_push_and_its_entry_fit_or_neither(
    world: World, disk: SmallDisk
) -> None:
    # the changesets are written by then, and the outbox is not
    disk.hgrc(targets(world), 'pretxnchangegroup')
    outcomes = set()
    for keep in (0, 8, 64):
        node = disk.commit()
        push = disk.push(keep)
        outcomes.add(push.returncode)
        if push.returncode:
            reasons = (b'No space left on device', b'File too large')
            assert any(r in push.stdout + push.stderr for r in reasons)
            # Mercurial itself may need room to take a push back
            disk.hg('recover', check=False)
            assert node not in disk.nodes()
            assert node not in disk.log()
            # with room it is pushed as if nothing had been
            assert disk.push().returncode == 0
        assert disk.hg('delegate', '--pending').returncode == 0
        assert node in disk.nodes()
        assert world.deploys()[-1].context['node'] == node
    assert outcomes == {0, 255}
    disk.hg('verify', '-q')


@pytest.mark.once
def test_a_disk_that_is_full_after_the_push_loses_none(
    world: World, disk: SmallDisk
) -> None:
    disk.hgrc(targets(world), 'txnclose')
    disk.commit()
    disk.push()
    # what there is room for differs: nothing, the log, recording that the
    # push waits, that it is claimed, that the far side is asked, the end
    states = set()
    for keep in (0, 36, 52, 80, 160):
        node = disk.commit()
        push = disk.push(keep)
        said = push.stdout + push.stderr
        assert push.returncode == 0
        assert b'Traceback' not in said
        deployed = verdict.deployed(node) in verdict.among(said)
        assert deployed == any(d.context['node'] == node for d in runs(world))
        recorded = disk.log()[node]
        if recorded != 'succeeded':
            assert re.search(rb'delegate: .*the .* cannot be ', said)
            assert b'the disk' in said  # what to do
        if not deployed:
            assert 'pending' in [end.state for end in verdict.among(said)]
            assert recorded == 'pending'
        states.add((deployed, recorded))
        assert disk.hg('delegate', '--pending').returncode == 0
        assert disk.log()[node] in ('succeeded', 'lost')
        assert any(d.context['node'] == node for d in runs(world))
    order = [disk.nodes().index(d.context['node']) for d in runs(world)]
    assert order == sorted(order)
    if disk.is_real:
        # all of these are there to be tried
        assert states == {
            (False, 'pending'),
            (True, 'lost'),
            (True, 'succeeded'),
        }


def runs(world: World) -> list:
    return [deploy for deploy in world.deploys() if deploy.status == 0]
