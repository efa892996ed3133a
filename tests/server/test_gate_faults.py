"""Faults at every byte of a gate's session: only a whole yes is one.

As in test_faults.py a proxy cuts, resets, flips or stalls the stream at one
byte. A push passes only where the gate has had all of the bundle and said yes,
and all of its output was heard; and what counts as not asked, which lets an
optional gate pass, has never begun there. 'make test-faults' tries every byte.
"""

from __future__ import annotations

import collections
import concurrent.futures
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import faults
import loopback
import pytest
import verdict
from hgrc import targets
from repositories import Clone, Repository
from waiting import until
from world import World

from hgext_delegate.config import targets as targetsmod
from hgext_delegate.delivery import connection, gate
from hgext_delegate.ssh import session
from hgext_delegate.state import delegation, files, verdicts

# The fourth word of the command is the node, another for each case.
CHECK = """\
#!/bin/sh
cd {folder} || exit 1
set -- $SSH_ORIGINAL_COMMAND
: >begun/$4
read -r object
cat >bundle/$4
echo looking
echo that is well
mv bundle/$4 passed/$4
"""
SAID = b'looking\nthat is well\n'
BUNDLE = bytes(range(256))


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[loopback.Sshd]:
    (tmp_path / 'sshd').mkdir()
    server = loopback.Sshd(tmp_path / 'sshd')
    for name in ('begun', 'bundle', 'passed', 'log'):
        (tmp_path / name).mkdir()
    script = tmp_path / 'check'
    script.write_text(CHECK.format(folder=tmp_path))
    script.chmod(0o755)
    key = loopback.public(server.identity)
    server.authorize(f'restrict,command="{script}" {key}')
    yield server
    server.close()


def ask(folder: Path, sshd: loopback.Sshd, port: int, number: int) -> str:
    """Ask through the proxy at PORT; what it said, held against what is so."""
    node = f'{number:040}'
    target = targetsmod.Target(
        'checks',
        '127.0.0.1',
        port,
        os.environ.get('USER') or 'root',
        identity=str(sshd.identity),
        hostkey=(sshd.hostkey(),),
        connect_timeout=2.0,
        idle_timeout=1.0,
        timeout=5.0,
    )
    paths = files.Paths('r', '/r', str(folder), str(folder / 'box'))
    row = verdicts.new(f'{number:032x}', 'checks', node, None)
    asking = gate.Asking(target, row, paths, {}, BUNDLE, threading.Event())
    asking.start()
    asking.join(30)
    assert not asking.is_alive()
    log = folder / 'log' / row.id
    heard = log.read_bytes() if log.exists() else b''
    if asking.row.state == delegation.PASSED:
        assert (folder / 'passed' / node).read_bytes() == BUNDLE
        assert heard.endswith(SAID)
        return 'passed'
    assert asking.row.state == delegation.REFUSED
    if not asking.was_asked:
        assert not (folder / 'begun' / node).exists()
        return 'not asked'
    return 'refused'


@pytest.mark.once
def test_no_fault_at_any_byte_makes_a_yes(
    sshd: loopback.Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # no ssh_config of the account that runs the tests
    monkeypatch.setattr(
        connection,
        'connect',
        lambda target, deadline: session.open(
            target.host,
            port=target.port,
            user=target.user,
            identity=target.identity,
            hostkeys=target.hostkey,
            connect_timeout=target.connect_timeout,
            deadline=deadline,
            config_path='none',
        ),
    )

    def attempt(number: int, case: faults.Case = ('', faults.UP, -1)) -> str:
        proxy = faults.Proxy(sshd.port, *case)
        try:
            return ask(tmp_path, sshd, proxy.port, number)
        finally:
            proxy.close()
            passed[:] = proxy.passed

    passed = [0, 0]
    assert attempt(0) == 'passed'
    wanted = faults.cases(passed)
    outcomes: faults.Outcomes = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        numbers = range(1, len(wanted) + 1)
        for case, outcome in zip(wanted, pool.map(attempt, numbers, wanted)):
            outcomes[case[0], case[1], outcome] += 1
    assert sum(outcomes.values()) == len(wanted)
    faults.show(outcomes, ('not asked', 'refused', 'passed'))


PUSHES = 300 if faults.SAMPLE == 'all' else 4


@pytest.mark.once
def test_whatever_breaks_the_repository_is_as_the_gate_has_said(
    world: World, repository: Repository, clone: Clone
) -> None:
    """The same with real pushes: accepted or not, nothing is left locked."""
    world.forced_command(
        '. ./record\nset -- $SSH_ORIGINAL_COMMAND\necho well\n'
        'echo $4 >>passed\n'
    )
    chosen = random.Random(int(os.environ['HGD_SEED']))
    limits = 'connect-timeout', 'idle-timeout'
    keys = ''.join(f'\n  {key}' for key in world.sshd.host_keys)
    more = ''.join(f'checks:{name} = 1\n' for name in limits)
    more += f'checks:gate = yes\nchecks:hostkey ={keys}\n'
    proxy = faults.Proxy(world.port)
    lengths = proxy.passed
    store = repository.path / '.hg' / 'store'
    outcomes: collections.Counter[str] = collections.Counter()
    there = '0' * 40
    for number in range(PUSHES + 1):
        if number:
            way = chosen.choice([faults.UP, faults.DOWN])
            fault = chosen.choice(faults.FAULTS)
            # over the handshake, which is half of it, the sweep has gone
            at = chosen.randrange(lengths[way] // 2, lengths[way])
            proxy = faults.Proxy(world.port, fault, way, at)
        text = targets(world, 'checks', more=more)
        text = text.replace(f':{world.port}\n', f':{proxy.port}\n')
        repository.hgrc(text)
        node = clone.commit()
        push = clone.push(check=False)
        proxy.close()
        said = verdict.among(push.remote)
        assert [each.state for each in said] in (['passed'], ['refused'])
        outcomes[said[0].state] += 1
        assert (said[0].state == 'passed') == (push.returncode == 0)
        if not push.returncode:
            there = node
            passed = world.deploy.home / 'passed'
            assert node in passed.read_text().split()
        tip = repository.ask('log', '-r', 'tip', '-T', '{node}').stdout
        assert tip.decode() == there
        for name in ('journal', 'lock', '../wlock'):
            path = store / name
            assert not path.exists() and not path.is_symlink()
    assert repository.hg('verify', '-q').returncode == 0
    print(dict(outcomes))
    until(lambda: not world.living())
