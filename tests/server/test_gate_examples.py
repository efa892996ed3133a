"""What the manual says of gates, and of doing without one."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path

import pytest
import verdict
from accounts import ROOT
from by_hand import check
from hgrc import targets
from receivers import Receiver
from repositories import Clone, Repository
from sources import CHECKOUT
from waiting import until
from world import World

pytestmark = pytest.mark.once

GATES = CHECKOUT / 'contrib' / 'gates'
FAILING = """\
import unittest


class A(unittest.TestCase):
    def test_a(self):
        self.assertEqual(1, 2)
"""
# what each finds, and a file in which it finds nothing
CASES = {
    'lint': ('import os\n', 'x = 1\n', b'F401'),
    'secrets': ("key = 'AKIAZ7VRSOM3QTYC4NQB'\n", 'x = 1\n', b'AWS'),
    'suite': (FAILING, 'import unittest\n', b'FAILED (failures=1)'),
}


def lay(world: World, repository: Repository, receiver: Receiver, name: str):
    """The gate checks, with the script NAME, which finds its programs."""
    folder = world.deploy.mkdir('bin')
    world.deploy.write(
        folder / 'hg', f'#!/bin/sh\nexec {" ".join(world.hg)} "$@"\n', 0o755
    )
    for program in ('python3', 'detect-secrets-hook'):
        words = world.python
        if program != 'python3':
            words += ' -m detect_secrets.pre_commit_hook'
        world.deploy.write(
            folder / program, f'#!/bin/sh\nexec {words} "$@"\n', 0o755
        )
    found = Path(sys.prefix) / 'bin'
    path = os.pathsep.join([str(folder), str(found), '/usr/bin', '/bin'])
    run = world.deploy.write(
        'check', (GATES / f'{name}.sh').read_text('utf-8'), 0o755
    )
    receiver.install(
        last=f'--env PATH={path}', run=str(run), clone=str(receiver.clone)
    )
    url = f'ssh://{world.deploy.name}@localhost:{world.port}'
    repository.hgrc(
        f'[delegate]\nchecks = {url}\nchecks:gate = yes\n'
        'checks:receiver = yes\n'
    )


@pytest.mark.parametrize('name', CASES)
def test_the_three_checks_of_the_manual_find_what_they_look_for(
    world: World, repository: Repository, clone: Clone, name: str
) -> None:
    receiver = Receiver(world, repository)
    lay(world, repository, receiver, name)
    bad, good, word = CASES[name]
    # unittest wants a name that can be imported
    odd = 'test_b.py' if name == 'suite' else 'test_ x.py'
    clone.commit(files={'test_a.py': good, odd: good, 'b': 'text\n'})
    push = clone.push(check=False)
    assert verdict.passed() in verdict.among(push.remote), push.remote
    # not in the last changeset, and not in the last head
    clone.commit(files={odd: bad})
    if name != 'suite':
        clone.hg('update', '-q', '0')
        clone.commit(files={'c': 'other head\n'})
    push = clone.push('--force', check=False)
    assert push.returncode == 255, push.remote
    assert verdict.among(push.remote)[-1].state == 'refused'
    assert word in b'\n'.join(push.remote), push.remote


def test_a_secret_that_the_same_push_takes_away_is_found(
    world: World, repository: Repository, clone: Clone
) -> None:
    receiver = Receiver(world, repository)
    lay(world, repository, receiver, 'secrets')
    bad, good, _word = CASES['secrets']
    line = bad.rstrip() + '  # pragma: allowlist secret\n'
    clone.commit(files={'a.py': line})
    clone.commit(files={'a.py': good})
    push = clone.push(check=False)
    assert push.returncode == 255


def test_drafts_need_no_gate(
    world: World, repository: Repository, clone: Clone
) -> None:
    more = 'blog:trigger = phase\n[phases]\npublish = no\n'
    repository.hgrc(targets(world, 'checks', 'blog', more=more))
    node = clone.commit()
    push = clone.push()
    assert verdict.among(push.remote) == [verdict.deployed(node, 'checks')]
    clone.hg('phase', '--public', '.')
    push = clone.push(check=False)
    assert verdict.among(push.remote) == [verdict.deployed(node, 'blog')]


def test_the_plain_script_needs_no_extension(
    world: World, repository: Repository, clone: Clone
) -> None:
    home = world.deploy.home
    text = (CHECKOUT / 'contrib' / 'gate.sh').read_text('utf-8')
    # hg is not where the script seeks it
    text = text.replace('PATH=/usr', f'PATH={home}/bin:/usr', 1)
    script = world.deploy.write('gate.sh', text, 0o755)
    world.deploy.write(
        world.deploy.mkdir('bin') / 'hg',
        f'#!/bin/sh\nexec {" ".join(world.hg)} "$@"\n',
        0o755,
    )
    check = world.deploy.write(
        'check',
        '#!/bin/sh\nls; hg -R "$DELEGATE_REPOSITORY" log -r "$DELEGATE_NEW" '
        '-T "{node}\\n" >"$HOME/new"\n. "$HOME/todo"\n',
        0o755,
    )
    world.deploy.run(
        [*world.hg, 'clone', '-q', str(repository.path), str(home / 'clone')]
    )
    # a shell stays between sshd and it
    words = f'{script} {home}/clone {check}; exit $?'
    world.deploy.authorize(world.key(world.server), words)
    repository.hgrc(targets(world, 'checks', more='checks:gate = yes\n'))
    world.deploy.write('todo', ':')
    first = clone.commit(files={'a': 'x\n'})
    push = clone.push(check=False)
    assert verdict.passed() in verdict.among(push.remote), push.remote
    assert b'checks| a' in push.remote
    world.deploy.write('todo', 'exit 4')
    second = clone.commit()
    push = clone.push(check=False)
    assert verdict.refused('exit status 4') in verdict.among(push.remote)
    assert world.deploy.read('new').split() == [second]
    said = world.deploy.run(
        [*world.hg, '-R', str(home / 'clone'), 'log', '-T', '{node} ']
    ).stdout
    assert said.decode().split() == [first]
    # who is gone does not keep the next one waiting
    world.deploy.write('todo', 'echo begun; sleep 50; touch "$HOME/after"')
    clone.commit()
    running = clone.start_push()
    running.wait_for(b'checks| begun')
    running.kill(signal.SIGINT)
    running.finish(check=False)
    until(lambda: not world.living())
    assert not (home / 'after').exists()
    world.deploy.write('todo', ':')
    push = clone.push(check=False)
    assert verdict.passed() in verdict.among(push.remote), push.remote


def test_a_gate_is_set_up_and_checked(
    world: World, repository: Repository, clone: Clone
) -> None:
    url = f'ssh://{world.deploy.name}@localhost:{world.port}'
    told = json.loads(
        repository.hg(
            'delegate-setup', '--gate', '-Tjson', 'checks', url
        ).stdout
    )[0]
    assert '--run ~/check' in told['authorized_keys'].replace("'", '')
    assert 'checks:gate = yes\n' in told['hgrc']
    assert 'checks:when' not in told['hgrc']
    # as it is pasted, but for a hg that a login finds
    receiver = Receiver(world, repository)
    world.deploy.write('check', '#!/bin/sh\necho checked\n', 0o755)
    receiver.install(run='~/check')
    words = shlex.join(receiver.command(run='~/check'))
    world.deploy.authorize(told['publickey'], f'exec {words}')
    repository.hgrc(told['hgrc'])
    found, status = check(repository, 'checks')
    assert not (status and ROOT), found
    assert (
        'a gate: asked about each push by changegroup, for 120 s at most'
        in [each['message'] for each in found]
    )
    clone.commit()
    push = clone.push(check=False)
    assert b'checks| checked' in push.remote, push.remote
    assert verdict.passed() in verdict.among(push.remote)
