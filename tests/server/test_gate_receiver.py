"""hg delegate-receive lays out what a push brings, has it checked, and keeps
nothing of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import delegations
import pytest
import verdict
from receivers import Receiver
from repositories import Clone, Repository
from waiting import until
from world import World

# In a folder of its own, with what is new: 'told' is what a script finds.
CHECK = """\
#!/bin/sh
env >"$HOME/told"
pwd >"$HOME/place"
ls -A >"$HOME/files"
hg -R "$DELEGATE_REPOSITORY" log -r "$DELEGATE_NEW" -T '{node}\\n' >"$HOME/new"
[ ! -e "$HOME/todo" ] || . "$HOME/todo"
"""


def lay(world: World, receiver: Receiver, more: str = '', **options: str):
    receiver.install(**options)
    world.deploy.write(
        'script', CHECK.replace('hg -R', f'{hg(world)} -R'), 0o755
    )
    url = f'ssh://{world.deploy.name}@localhost:{world.port}'
    receiver.repository.hgrc(
        f'[delegate]\nchecks = {url}\nchecks:gate = yes\n'
        f'checks:receiver = yes\n{more}'
    )


def hg(world: World) -> str:
    return ' '.join(world.hg)


def gates(receiver: Receiver) -> list[Path]:
    """What is left of what was laid out."""
    return list(receiver.state.glob('*/gate/*'))


def in_clone(receiver: Receiver) -> list[str]:
    world = receiver.world
    said = world.deploy.run(
        [*world.hg, '-R', str(receiver.clone), 'log', '-T', '{node}\n']
    ).stdout
    return said.decode().split()


def test_the_receiver_checks_what_is_pushed_and_keeps_nothing(
    world: World, repository: Repository, clone: Clone
) -> None:
    receiver = Receiver(world, repository)
    lay(world, receiver)
    # into an empty repository
    first = clone.commit(files={'a': 'one\n', 'sub/b': 'two\n'})
    push = clone.push()
    assert verdict.passed() in verdict.among(push.remote), push.remote
    read = world.deploy.read
    assert read('files').split() == ['a', 'sub']
    assert read('new').split() == [first]
    told = dict(x.split('=', 1) for x in read('told').splitlines())
    assert (told['HG_NODE'], told['DELEGATE_TARGET']) == (first, 'checks')
    assert in_clone(receiver) == [] and gates(receiver) == []
    # refused, by what makes itself hard to remove
    deep = 'import os; [(os.mkdir("d"), os.chdir("d")) for _ in range(3000)]'
    receiver.todo(
        f"mkdir -p x/y; chmod 0 x/y x; python3 -c '{deep}'; echo bad; exit 7"
    )
    second = clone.commit()
    third = clone.commit()
    push = clone.push(check=False)
    assert verdict.refused('exit status 7') in verdict.among(push.remote)
    assert b'checks| bad' in push.remote
    assert read('new').split() == [second, third]
    assert in_clone(receiver) == [first] and gates(receiver) == []
    assert not Path(read('place').strip()).exists()
    assert not list((receiver.clone / '.hg').glob('hg-bundle*'))
    # only a bookmark moves
    receiver.todo('echo checked')
    clone.push()
    hgrc = repository.path / '.hg/hgrc'
    repository.owner.write(
        hgrc, hgrc.read_text() + 'checks:trigger = bookmark\n'
    )
    clone.hg('bookmark', '-r', first, 'live')
    push = clone.push('-B', 'live', check=False)
    assert b'checks| checked' in push.remote, push.remote
    assert read('new') == '' and read('files').split() == ['a', 'sub']


def test_what_a_check_starts_ends_with_the_push(
    world: World, repository: Repository, clone: Clone
) -> None:
    receiver = Receiver(world, repository)
    lay(world, receiver)
    receiver.todo('setsid sleep 99 >/dev/null 2>&1 &\nsleep 98 & echo on; wait')
    clone.commit()
    push = clone.start_push()
    push.wait_for(b'checks| on')
    push.kill(signal.SIGINT)
    push.finish(check=False)
    until(lambda: not receiver.processes('delegate-receive'))
    until(lambda: not receiver.processes('sleep 98'))
    assert gates(receiver) == []
    assert [r['state'] for r in delegations.log(repository)] == ['cancelled']
    world.end_processes()
    # one that was killed leaves a folder, which the next one removes
    receiver.todo('echo on; exec sleep 99')
    push = clone.start_push()
    push.wait_for(b'checks| on')
    for pid in receiver.processes('delegate-receive'):
        os.kill(pid, signal.SIGKILL)
    ended = push.finish(check=False)
    assert ended.returncode == 255
    assert len(gates(receiver)) == 1
    world.end_processes()
    receiver.todo('echo fine')
    assert verdict.passed() in verdict.among(clone.push().remote)
    assert gates(receiver) == []


@pytest.mark.once
def test_why_nothing_could_be_laid_out_is_said(
    world: World, repository: Repository, clone: Clone
) -> None:
    receiver = Receiver(world, repository)
    clone.commit()
    for options, words in (
        ({'source': '/nowhere'}, b'delegate-receive: '),
        ({'clone': str(world.deploy.home / 'a+b')}, b'has a +'),
        ({'run': './none'}, b'cannot run ./none'),
        ({'timeout': '1s'}, b'not finished after 1 s'),
    ):
        home = world.deploy.home
        lay(world, receiver, **{'clone': str(home / words.hex()), **options})
        receiver.todo('sleep 50')
        push = clone.push(check=False)
        assert push.returncode == 255
        assert words in b'\n'.join(push.remote), push.remote
        assert b'Traceback' not in b'\n'.join(push.remote)
        assert gates(receiver) == []


def test_what_is_based_on_what_is_hidden_is_laid_out(
    world: World, repository: Repository, clone: Clone
) -> None:
    receiver = Receiver(world, repository)
    evolution = '[experimental]\nevolution = all\n[phases]\npublish = no\n'
    lay(world, receiver, more=evolution)
    world.pusher.write(
        '.hgrc',
        (world.pusher.home / '.hgrc').read_text()
        + '[experimental]\nevolution = all\n',
    )
    base = clone.commit(files={'a': '1\n'})
    clone.push()
    # amended there, and somebody else goes on with the old one
    repository.hg('debugobsolete', base)
    assert in_served(repository) == []
    child = clone.commit(files={'b': '2\n'})
    push = clone.push('--force', check=False)
    assert verdict.passed() in verdict.among(push.remote), push.remote
    assert world.deploy.read('files').split() == ['a', 'b']
    assert world.deploy.read('new').split()[-1] == child
    assert in_served(repository) == [base, child]


def test_what_evolve_has_rewritten_is_checked_and_what_it_pruned_goes(
    world: World, repository: Repository, clone: Clone
) -> None:
    receiver = Receiver(world, repository)
    evolve = '[extensions]\nevolve =\n'
    lay(world, receiver, more=evolve + '[phases]\npublish = no\n')
    home = world.pusher.home / '.hgrc'
    world.pusher.write('.hgrc', home.read_text() + evolve)
    base = clone.commit(files={'a': '1\n'})
    old = clone.commit(files={'b': '2\n'})
    clone.push()
    clone.hg('amend', '-m', 'better')
    better = at(clone, '.')
    push = clone.push()
    assert verdict.passed() in verdict.among(push.remote), push.remote
    assert world.deploy.read('new').split() == [better]
    assert in_served(repository) == [base, better]
    # a push of markers alone: nothing is there to check
    clone.hg('prune', '-r', better)
    receiver.todo('exit 9')
    assert verdict.among(clone.push(check=False).remote) == []
    assert in_served(repository) == [base]
    # and what is refused leaves none of its markers
    clone.hg('touch', '-r', better, '--hidden')
    touched = at(clone, 'max(all())')
    assert touched not in (old, better)
    push = clone.push('-r', touched, check=False)
    assert verdict.refused('exit status 9') in verdict.among(push.remote)
    assert in_served(repository) == [base]
    found = repository.hg('debugobsolete').stdout
    assert touched.encode() not in found


def at(clone: Clone, revision: str) -> str:
    return clone.hg('log', '-r', revision, '-T', '{node}').stdout.decode()


def in_served(repository: Repository) -> list[str]:
    said = repository.hg('log', '-r', 'all()', '-T', '{node}\n').stdout
    return said.decode().split()


@pytest.mark.parametrize('kind', ['largefiles', 'lfs'])
def test_large_files_are_there(
    world: World, repository: Repository, clone: Clone, kind: str
) -> None:
    receiver = Receiver(world, repository)
    enable = f'[extensions]\n{kind} =\n[lfs]\ntrack = size(">10")\n'
    lay(world, receiver, more=enable)
    # at a local source lfs does not look by itself
    blobs = repository.path / '.hg' / 'store' / 'lfs' / 'objects'
    world.deploy.write('.hgrc', f'{enable}url = file://{blobs}\n')
    world.pusher.write(
        '.hgrc', (world.pusher.home / '.hgrc').read_text() + enable
    )
    clone.owner.write(clone.path / 'big', 'x' * 100)
    args = ['add', '--large', 'big'] if kind == 'largefiles' else ['add', 'big']
    run = world.pusher.run
    program = [*world.hg, '-R', str(clone.path), '--cwd', str(clone.path)]
    run([*program, *args])
    run([*program, 'commit', '-m', 'big'])
    receiver.todo('wc -c <big')
    with world.hgweb([repository]) as url:
        place = f'{url}/{repository.path.name}'
        push = clone.push(place, check=False)
    said = b'\n'.join([*push.remote, *push.stderr.splitlines()])
    assert b'checks| 100' in said, said


# What it finds in a box, and what it tries.
BOXED = """\
#!/bin/sh
echo "new: $(/usr/bin/hg -R "$DELEGATE_REPOSITORY" log -r "$DELEGATE_NEW" \\
    -T '{node}')"
echo "told: $(wc -l <"$DELEGATE_JSON")"
echo built >out && cat out a
for place in CLONE/x CLONE/.hg/x HOME/.ssh/x HOME/x ../x; do
    (echo kept >"$place") 2>/dev/null && echo "kept: $place"
done
cat CLONE/.hg/hgrc HOME/.ssh/authorized_keys 2>/dev/null
exit 4
"""


@pytest.mark.once
@pytest.mark.parametrize('last', ['', '--box'])
def test_a_check_that_leaves_its_output_open_says_no(
    world: World, repository: Repository, clone: Clone, last: str
) -> None:
    receiver = Receiver(world, repository)
    lay(world, receiver, last=last)
    clone.commit()
    for text, passes in (
        ('(sleep 30; echo no) & exit 0', False),
        ('sleep 30 >/dev/null 2>&1 & exit 0', True),
    ):
        world.deploy.write('script', f'#!/bin/sh\n{text}\n', 0o755)
        push = clone.push(check=False)
        assert (verdict.passed() in verdict.among(push.remote)) == passes
        left = b'something that it has left running keeps its output open'
        assert any(left in line for line in push.remote) != passes


@pytest.mark.once
def test_a_check_in_a_box_finds_what_is_pushed_and_can_keep_nothing(
    world: World, repository: Repository, clone: Clone
) -> None:
    receiver = Receiver(world, repository)
    lay(world, receiver, last='--box')
    first = clone.commit(files={'a': 'one\n'})
    text = BOXED.replace('CLONE', str(receiver.clone))
    text = text.replace('HOME', str(receiver.account.home))
    world.deploy.write('script', text, 0o755)
    push = clone.push(check=False)
    shown = [x for x in push.remote if x.startswith(b'checks| ')]
    assert shown == [
        b'checks| new: %s' % first.encode(), b'checks| told: 1',
        b'checks| built', b'checks| one',
    ], push.remote  # fmt: skip
    assert verdict.refused('exit status 4') in verdict.among(push.remote)
    assert in_clone(receiver) == [] and gates(receiver) == []
