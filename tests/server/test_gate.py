"""A gate is asked before a push is accepted, and may refuse it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import delegations
import pytest
import verdict
from accounts import Account
from hgrc import CLASSIC, PUSHVARS, host_says, targets
from repositories import Clone, Push, Repository
from waiting import until
from world import World

GATE = 'checks:gate = yes\n'
# Keeps what it is asked, does what the file 'todo' says, and passes.
CHECK = """\
mkdir -p asked
n=asked/$(ls asked | wc -l)
mkdir $n
printf %s "$SSH_ORIGINAL_COMMAND" >$n/command
read -r object
printf %s "$object" >$n/object
cat >$n/bundle
exec </dev/null
echo looking
[ ! -e todo ] || . ./todo
"""
EMPTY = b'HG20' + bytes(8)


def lay(world: World, repository: Repository, more: str = '') -> None:
    """The gate checks, and the target blog, which has another account."""
    world.forced_command(CHECK)
    blog, *_ = world.others
    script = blog.write('forced', '#!/bin/sh\n. ./record\n', 0o755)
    blog.authorize(world.key(world.server), str(script))
    url = f'ssh://{blog.name}@localhost:{world.port}'
    repository.hgrc(
        targets(world, 'checks', more=f'blog = {url}\n{GATE}{more}')
    )


def todo(world: World, text: str) -> None:
    world.deploy.write('todo', text)


def asked(world: World) -> list[Path]:
    """A folder for each time that the gate was asked."""
    folder = world.deploy.home / 'asked'
    return sorted(folder.iterdir(), key=lambda p: int(p.name))


def deploys(world: World) -> list[str]:
    return [each.context['node'] for each in world.deploys(world.others[0])]


def tip(repository: Repository) -> str:
    return repository.ask('log', '-r', 'tip', '-T', '{node}').stdout.decode()


def check_nothing_is_left(repository: Repository, before: str) -> None:
    """Of a push that was refused; BEFORE is the tip."""
    assert tip(repository) == before
    store = repository.path / '.hg' / 'store'
    box = store / 'delegate-outbox'
    assert not box.exists() or not json.loads(
        box.read_text().splitlines()[-1]
    ).get('entries')
    assert not (store / 'journal').exists()
    for lock in (store / 'lock', store.parent / 'wlock'):
        assert not lock.is_symlink()
    assert repository.hg('verify', '-q').returncode == 0


def refused(push: Push, reason: str, target: str = 'checks') -> None:
    assert push.returncode
    assert verdict.refused(reason, target) in verdict.among(push.remote), (
        push.remote
    )


def test_a_push_passes_only_if_the_gate_says_so(
    world: World, repository: Repository, clone: Clone
) -> None:
    lay(world, repository, PUSHVARS)
    node = clone.commit()
    todo(world, 'sleep 0.3\necho looked\n')
    push = clone.push()
    said = [line for line in push.remote if not line.startswith(b'add')]
    assert said[:2] == [b'checks| looking', b'checks| looked']
    assert verdict.read(said[2]) == verdict.passed()
    assert verdict.last(push) == verdict.deployed(node)
    at = {line: moment for moment, line in push.lines}
    looking, looked = (
        at[b'remote: checks| ' + w] for w in (b'looking', b'looked')
    )
    assert looked - looking > 0.2  # live
    (place,) = asked(world)
    assert place.joinpath('command').read_text() == (
        f'hg-delegate 1 checks {node} gate'
    )
    told = json.loads(place.joinpath('object').read_text())
    assert (told['node'], told['previous']) == (node, None)
    (pushed,) = told['pushes']
    assert pushed['node_last'] == node and pushed['changesets'] == 1
    bundle = place.joinpath('bundle')
    name = clone.owner.write('bundle', '')
    name.write_bytes(bundle.read_bytes())
    found = clone.hg('-R', str(name), 'log', '-T', '{node}').stdout.decode()
    assert found == node
    # refused: nothing of it is anywhere
    todo(world, 'echo no tabs; exit 3\n')
    second = clone.commit()
    clone.hg('bookmark', '-r', second, 'new')
    push = clone.push('-B', 'new', '--pushvars', 'DELEGATE=skip', check=False)
    assert push.returncode == 255
    refused(push, 'exit status 3')
    assert b'checks| no tabs' in push.remote
    check_nothing_is_left(repository, node)
    assert not repository.ask('bookmarks', '-T', '{bookmark}').stdout
    assert deploys(world) == [node]
    assert clone.hg('log', '-r', second, '-T', '{phase}').stdout == b'draft'
    # both are kept, and none is a deploy
    rows = delegations.log(repository, '-t', 'checks')
    assert [row['state'] for row in rows] == ['refused', 'passed']
    assert (rows[0]['status'], rows[0]['node']) == (3, second)
    stat = repository.hg('delegate-log', '--stat', '-Tjson', '-t', 'checks')
    (counted,) = json.loads(stat.stdout)
    assert [counted[name] for name in ('count', 'failed')] == [2, 1]
    assert counted['usual'] == counted['median'] == rows[1]['seconds']
    shown = repository.ask('delegate-log', str(rows[0]['id'])).stdout
    assert b'no tabs' in shown
    assert b'checks' not in repository.ask('log', '-T', '{deployed}').stdout
    by_hand = repository.ask('delegate', 'checks', check=False)
    assert b"abort: 'checks' is a gate: nothing is delegated" in by_hand.stderr
    assert repository.ask('delegate', '--pending').returncode == 0
    held = repository.ask('delegate-hold', 'checks', check=False)
    assert b"abort: 'checks' is a gate: nothing waits for it" in held.stderr
    (world.deploy.home / 'todo').unlink()
    assert verdict.last(clone.push()) == verdict.deployed(second)
    assert len(asked(world)) == 3


def unbundle(clone: Clone, repository: Repository) -> Push:
    file = clone.path / 'b'
    clone.hg('bundle', '-q', '--all', '--force', str(file))
    done = repository.hg('unbundle', str(file), check=False)
    lines = [(0.0, b'remote: ' + x) for x in done.stdout.splitlines()]
    return Push(
        done.returncode,
        done.stdout,
        done.stderr,
        lines + [(0.0, b'remote: ' + x) for x in done.stderr.splitlines()],
    )


@pytest.mark.parametrize('road', ['path', 'http', 'bundle1', 'unbundle'])
def test_by_every_road_the_gate_is_asked(
    world: World, repository: Repository, clone: Clone, road: str
) -> None:
    lay(world, repository)

    def push() -> Push:
        clone.commit()
        if road == 'unbundle':
            return unbundle(clone, repository)
        if road == 'http':
            with world.hgweb([repository]) as url:
                return clone.push(f'{url}/{repository.path.name}', check=False)
        if road == 'bundle1':
            old = 'devel.legacy.exchange=bundle1'
            return clone.push('--config', old, check=False)
        process = world.server.popen(
            [*world.hg, '-R', str(mine.path), 'push', str(repository.path)],
            stdout=-1,
            stderr=-1,
        )
        out, err = process.communicate(timeout=60)
        lines = [
            (0.0, b'remote: ' + x.removeprefix(b'remote: '))
            for x in (out + err).splitlines()
        ]
        return Push(process.returncode, out, err, lines)

    mine = clone
    if road == 'path':
        path = world.server.home / 'mine'
        world.server.copy(world.base / 'empty', path)
        mine = Clone(world.server, path, world.hg, repository)
        clone = mine
        world.server.write(
            '.hgrc', '[ui]\nusername = x\n[trusted]\nusers = *\n'
        )
    first = push()
    assert not first.returncode, first.stderr
    assert verdict.passed() in verdict.among(first.remote)
    before = tip(repository)
    todo(world, 'echo no; exit 1')
    second = push()
    refused(second, 'exit status 1')
    assert b'checks| no' in second.remote
    check_nothing_is_left(repository, before)
    assert len(asked(world)) == 2


def test_bookmarks_and_phases_are_asked_about_with_an_empty_bundle(
    world: World, repository: Repository, clone: Clone
) -> None:
    lay(world, repository, 'checks:trigger = bookmark, phase\n')
    with (repository.path / '.hg/hgrc').open('a') as file:
        file.write('[phases]\npublish = no\n')
    node = clone.commit()
    clone.push()
    assert not (world.deploy.home / 'asked').exists()
    todo(world, 'exit 1')
    clone.hg('bookmark', '-r', node, 'live')
    push = clone.push('-B', 'live', check=False)
    refused(push, 'exit status 1')
    # one by one, as old clients do, and as anybody can
    for namespace, key, old, new in (
        ('bookmarks', 'live', '', node),
        ('phases', node, '1', '0'),
    ):
        clone.hg(
            'debugpushkey',
            repository.url,
            namespace,
            key,
            old,
            new,
            check=False,
        )
    clone.hg('phase', '--public', node)
    refused(clone.push(check=False), 'exit status 1')
    assert not repository.ask('bookmarks', '-T', '{bookmark}').stdout
    phase = repository.ask('log', '-r', node, '-T', '{phase}').stdout
    assert phase == b'draft'
    places = asked(world)
    assert len(places) == 4
    for place in places:
        assert place.joinpath('bundle').read_bytes() == EMPTY
        assert node in place.joinpath('command').read_text()
    (world.deploy.home / 'todo').unlink()
    push = clone.push('-B', 'live', check=False)
    assert verdict.passed() in verdict.among(push.remote)
    # what an administrator does there is no push
    repository.hg('bookmark', '-r', node, 'mine')
    assert len(asked(world)) == 5


FAILS = [
    ('checks:timeout = 1\n', 'sleep 100', 'not finished after 1 s'),
    ('checks:idle-timeout = 1\n', 'sleep 100', 'no output for 1 s'),
    ('', 'kill -9 $$', 'exit status 137'),
    ('', 'sleep 30 & exit 0', 'exit status 0 without the end of its output'),
    ('checks:gate-limit = 10 B\n', '', 'the push has more than 10 bytes'),
    ('checks:hostkey = ssh-ed25519 AAAA\n', '', 'is damaged'),
    ('checks:identity = /nowhere\n', '', ''),
    ('checks = ssh://x@localhost:1\n', '', 'refused'),
    ('checks:gate = maybe\n', '', 'it cannot be asked as it is configured'),
    ('checks:gaet = yes\n', '', 'it cannot be asked as it is configured'),
    ('checks:timeout = soon\n', '', 'it cannot be asked as it is configured'),
    ('checks:when = nobody(\n', '', 'it cannot be asked as it is configured'),
    ('checks:when = branch(x)\n', '', 'it cannot be asked as it is configured'),
    ('checks:notify = a@b.c\n', '', 'it cannot be asked as it is configured'),
    ('*:nonsense = 1\n', '', 'it cannot be asked as it is configured'),
]


@pytest.mark.once
def test_whatever_goes_wrong_refuses_the_push(
    world: World, repository: Repository, clone: Clone
) -> None:
    clone.commit()
    for more, doing, reason in FAILS:
        lay(world, repository, more)
        todo(world, doing)
        for gate in ('yes', 'optional'):
            text = repository.path.joinpath('.hg/hgrc').read_text()
            if gate == 'optional':
                if 'gate = maybe' in text or 'gaet' in text:
                    continue
                text = text.replace(GATE, 'checks:gate = optional\n')
                repository.owner.write(repository.path / '.hg/hgrc', text)
            push = clone.push(check=False)
            # what could not be asked, and only that, passes where it may
            if gate == 'optional' and not doing and 'limit' not in more:
                assert not push.returncode
                (found,) = [
                    v
                    for v in verdict.among(push.remote)
                    if v.target == 'checks'
                ]
                assert found.state == 'not asked'
                assert b'(this gate is optional: ' in b'\n'.join(push.remote)
                repository.ask(
                    '--config', 'extensions.strip=', 'strip', '-q', 'all()'
                )
                continue
            assert push.returncode == 255, (more, push.remote)
            (found,) = [
                v for v in verdict.among(push.remote) if v.state == 'refused'
            ]
            assert reason in found.detail, (more, push.remote)
            assert b'Traceback' not in push.stderr
            assert tip(repository) == '0' * 40
        world.end_processes()


@pytest.mark.once
def test_the_classic_line_alone_says_that_it_asks_no_gate(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository = world.repository('bare', CLASSIC, enable=False)
    clone = world.clone(repository)
    lay(world, repository)
    with (repository.path / '.hg/hgrc').open('a') as file:
        file.write(CLASSIC)
    clone.commit()
    told = b'\n'.join(clone.push().remote)
    assert b'delegate: checks: a gate needs the extension enabled' in told


@pytest.mark.once
def test_no_repository_takes_away_what_the_host_makes_a_gate(
    world: World, repository: Repository, clone: Clone
) -> None:
    world.forced_command(CHECK)
    url = f'ssh://{world.deploy.name}@localhost:{world.port}'
    host_says(world, f'allow-targets = ssh://*\nchecks = {url}\n{GATE}')
    clone.commit()
    for own in (
        'checks =\n',
        '%unset checks\n',
        'checks:gate = no\n',
        'checks:gate = optional\n',
        'checks:when = none()\n',
        '*:trigger = tag\n',
        'checks = ssh://nobody@localhost\n',
    ):
        repository.hgrc(f'[delegate]\n{own}')
        push = clone.push(check=False)
        refused(push, 'it cannot be asked as it is configured')
        assert b"'checks' is a gate of the host" in b'\n'.join(push.remote), own
    # an hgrc that is not trusted says nothing
    host = world.server.home / '.hgrc'
    enable = f'[extensions]\nhgext_delegate = {world.extension}\n'
    world.server.write(host, enable + host.read_text())
    world.pusher.write(repository.path / '.hg/hgrc', '[delegate]\nchecks =\n')
    push = clone.push()
    assert verdict.passed() in verdict.among(push.remote)


def linter(world: World, script: str) -> Account:
    account = world.others[1]
    path = account.write('forced', f'#!/bin/sh\n{script}', 0o755)
    account.authorize(world.key(world.server), str(path))
    return account


def test_the_first_of_several_that_refuses_ends_the_others(
    world: World, repository: Repository, clone: Clone
) -> None:
    account = linter(world, 'cat >/dev/null\nexec sleep 100\n')
    url = f'ssh://{account.name}@localhost:{world.port}'
    lay(world, repository, f'lint = {url}\nlint:gate = yes\n')
    todo(world, 'exit 1')
    clone.commit()
    push = clone.push(check=False)
    refused(push, 'exit status 1')
    (found,) = [v for v in verdict.among(push.remote) if v.target == 'lint']
    assert (found.state, found.detail) == ('ended', 'another gate has refused')
    check_nothing_is_left(repository, '0' * 40)
    states = [(r['target'], r['state']) for r in delegations.log(repository)]
    assert sorted(states) == [('checks', 'refused'), ('lint', 'cancelled')]
    world.end_processes()


def test_a_pusher_who_goes_ends_the_check_and_the_push(
    world: World, repository: Repository, clone: Clone
) -> None:
    lay(world, repository)
    todo(world, 'while sleep 0.1; do echo on; done')
    clone.commit()
    for number in (signal.SIGINT, signal.SIGKILL):
        push = clone.start_push()
        push.wait_for(b'checks| on')
        push.kill(number)
        push.finish(check=False)
        until(lambda: not world.living())
        check_nothing_is_left(repository, '0' * 40)
    rows = delegations.log(repository)
    assert [row['state'] for row in rows] == ['cancelled'] * 2


def test_of_ten_that_race_none_comes_in_unasked(
    world: World, repository: Repository, clone: Clone
) -> None:
    lay(world, repository)
    # every second one is refused
    todo(world, '[ $((${n##*/} % 2)) = 0 ]')
    clones = [world.clone(repository) for _ in range(10)]
    for each in clones:
        each.commit(files={each.path.name: 'x\n'})
    pushes = [each.start_push('--force') for each in clones]
    good = [push.finish(check=False).returncode == 0 for push in pushes]
    passed = {
        row['node']
        for row in delegations.log(repository, '-t', 'checks')
        if row['state'] == 'passed'
    }
    there = repository.ask('log', '-T', '{node}\n').stdout.decode().split()
    assert set(there) == passed and len(there) == sum(good) == 5
