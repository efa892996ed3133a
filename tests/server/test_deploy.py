"""The main job: a push is delegated, and its output comes back live."""

from __future__ import annotations

import pytest
import verdict
from hgrc import targets
from repositories import Clone, Repository
from waiting import until
from world import World


def test_a_push_is_delegated_and_its_output_shown(
    world: World, ready: Clone
) -> None:
    world.forced_command(
        '. ./record\necho building 214 pages\necho a warning >&2\n'
    )
    node = ready.commit()
    push = ready.push()

    assert b'blog| building 214 pages' in push.remote
    assert b'blog| a warning' in push.remote
    assert verdict.last(push) == verdict.deployed(node)
    (deploy,) = world.deploys()
    assert deploy.command == f'hg-delegate 1 blog {node}'
    assert deploy.input.endswith(b'\n') and deploy.input.count(b'\n') == 1
    assert deploy.context['node'] == node


def test_each_line_arrives_while_the_deploy_still_runs(
    world: World, ready: Clone
) -> None:
    # Each line is printed only when the pusher has seen the one before.
    steps = 5
    world.forced_command(
        '. ./record\n'
        f'for i in $(seq {steps}); do\n'
        '  echo "step $i"\n  until [ -e "go$i" ]; do sleep 0.02; done\ndone\n'
    )
    ready.commit()
    push = ready.start_push()
    for step in range(1, steps + 1):
        push.wait_for(b'blog| step %d' % step)
        (deploy,) = world.deploys()
        assert deploy.ended is None
        world.deploy.write(f'go{step}', '')
    done = push.finish()
    times = [time for time, line in done.lines if b'blog| step' in line]
    assert len(times) == steps and times == sorted(times)
    assert verdict.last(done).state == 'deployed'


def test_what_was_pushed_is_seen_while_the_deploy_is_silent(
    world: World, ready: Clone
) -> None:
    world.forced_command('. ./record\n. ./hold\n')
    ready.commit()
    push = ready.start_push()
    push.wait_for(b'remote: added 1 changesets', timeout=20)
    world.deploy.write('go', '')
    assert verdict.last(push.finish()).state == 'deployed'


@pytest.mark.once
def test_a_line_without_newline_and_a_prompt_are_seen(
    world: World, ready: Clone
) -> None:
    world.forced_command(
        '. ./record\nprintf "Password: "\n. ./hold\nprintf "no newline"\n'
    )
    ready.commit()
    push = ready.start_push()
    push.wait_for(b'blog| Password: ')
    world.deploy.write('go', '')
    assert b'blog| no newline' in push.finish().remote


def test_a_failed_deploy_is_said_last_and_leaves_the_push_alone(
    world: World, repository: Repository, ready: Clone
) -> None:
    world.forced_command('. ./record\necho oops\nexit 3\n')
    node = ready.commit()
    push = ready.push()
    assert push.returncode == 0
    said = [line for line in push.remote if line.startswith(b'delegate: blog:')]
    assert verdict.read(said[-1]) == verdict.failed('exit status 3')
    hints = push.remote[push.remote.index(said[-1]) + 1 :][:2]
    assert hints == [
        b"('hg delegate-log 1' on the server shows more)",
        b"('hg delegate blog' on the server runs it again)",
    ]
    tip = repository.hg('log', '-r', 'tip', '-T', '{node}').stdout
    assert tip.decode() == node


@pytest.mark.parametrize('transport', ['ssh', 'classic', 'http'])
def test_mercurial_adds_no_warning_below_our_last_line(
    world: World, transport: str
) -> None:
    hook = '[hooks]\nchangegroup.autopush = python:hgext_delegate.hook\n'
    classic = transport == 'classic'
    more = hook if classic else ''
    repository = world.repository(hgrc=targets(world) + more)
    clone = world.clone(repository)
    world.forced_command('. ./record\nexit 3\n')
    clone.commit()
    if transport == 'http':
        with world.hgweb([repository]) as url:
            push = clone.push(f'{url}/{repository.path.name}')
    else:
        push = clone.push()
    assert verdict.among(push.remote) == [verdict.failed('exit status 3')]
    assert not [line for line in push.remote if b'hook failed' in line]


@pytest.mark.once
def test_death_by_a_signal_is_told_apart(world: World, ready: Clone) -> None:
    world.forced_command('. ./record\nkill -KILL $PPID $$\n')
    ready.commit()
    push = ready.push()
    assert verdict.among(push.remote) == [
        verdict.failed('killed by signal KILL')
    ]


@pytest.mark.parametrize('module', ['hgext_delegate', 'delegate'])
@pytest.mark.parametrize('enabled', [True, False])
def test_the_classic_line_delegates_once(
    world: World, module: str, enabled: bool
) -> None:
    hook = f'[hooks]\nchangegroup.autopush = python:{module}.hook\n'
    repository = world.repository(hgrc=targets(world) + hook, enable=enabled)
    clone = world.clone(repository)
    for _ in range(2):
        node = clone.commit()
        push = clone.push()
        assert verdict.last(push) == verdict.deployed(node)
        assert push.remote.count(b'blog| deployed') == 1
    assert len(world.deploys()) == 2


@pytest.mark.parametrize(
    ('args', 'why'),
    [
        (['pull'], b'pull is not a push'),
        (['unbundle', 'bundle.hg'], b'unbundle is not a push'),
    ],
)
def test_what_is_no_push_delegates_nothing_and_says_why(
    world: World, repository: Repository, args: list[str], why: bytes
) -> None:
    repository.hgrc(targets(world))
    other = world.repository('other', enable=False)
    clone = world.clone(other)
    clone.commit()
    clone.push()
    bundle = world.server.home / 'bundle.hg'
    other.hg('bundle', '--all', str(bundle))
    args = [str(bundle) if arg == 'bundle.hg' else arg for arg in args]
    args += [str(other.path)] if args[0] == 'pull' else []
    said = repository.hg('--debug', *args)
    assert b'delegate: not delegating: ' + why in said.stdout + said.stderr
    assert not world.deploys()
    assert not (repository.path / '.hg' / 'store' / 'delegate-outbox').exists()


def test_work_in_the_repository_itself_delegates_nothing(
    world: World, repository: Repository, ready: Clone
) -> None:
    ready.commit(files={'a': '1\n'})
    ready.push()
    before = len(world.deploys())
    path = repository.path
    extensions = []
    for name in ('strip', 'rebase', 'shelve'):
        extensions += ['--config', f'extensions.{name}=']
    user = ['--config', 'ui.username=me', *extensions]
    repository.hg('update', '-q')
    for name in ('b', 'c'):
        world.server.write(path / name, name)
        repository.hg(*user, 'commit', '-A', '-m', name, '--cwd', str(path))
    world.server.write(path / 'd', 'd')
    repository.hg(*user, 'shelve', '-A', '--cwd', str(path))
    # which takes its own transaction back
    repository.hg(*user, 'unshelve', '--cwd', str(path))
    repository.hg(*user, 'revert', '--all', '--cwd', str(path))
    repository.hg(*user, 'update', '-q', '-C', '0')
    world.server.write(path / 'e', 'e')
    repository.hg(*user, 'commit', '-A', '-m', 'e', '--cwd', str(path))
    said = repository.hg(*user, '--debug', 'rebase', '-s', '.', '-d', '2')
    assert b'delegate: not delegating' in said.stdout
    said = repository.hg(*user, '--debug', 'strip', '-r', '1')
    assert b'delegate: not delegating' in said.stdout
    clone = world.server.home / 'clone'
    repository.hg('clone', str(path), str(clone))
    assert len(world.deploys()) == before


def test_several_targets_are_delegated_side_by_side(
    world: World, repository: Repository, clone: Clone
) -> None:
    # Each of the three ends only when all have begun.
    world.forced_command(
        '. ./record\n'
        'until [ "$(ls deploys | wc -l)" = 3 ]; do sleep 0.02; done\n'
        'for i in $(seq 50); do echo "$i $SSH_ORIGINAL_COMMAND"; done\n'
    )
    repository.hgrc(targets(world, 'a', 'b', 'c'))
    node = clone.commit()
    push = clone.push()
    for name in (b'a', b'b', b'c'):
        lines = [x for x in push.remote if x.startswith(name + b'| ')]
        expected = b'hg-delegate 1 %s %s' % (name, node.encode())
        assert lines == [
            b'%s| %d %s' % (name, i, expected) for i in range(1, 51)
        ]
    ends = [verdict.deployed(node, name) for name in ('a', 'b', 'c')]
    assert sorted(verdict.among(push.remote), key=str) == ends


def test_only_what_a_target_is_for_is_delegated_to_it(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(
        targets(
            world,
            'main',
            'docs',
            more='main:when = branch(default)\n'
            "docs:when = file('path:docs')\n",
        )
    )
    first = clone.commit(files={'docs/a': '1'})
    second = clone.commit(files={'b': '2'})
    clone.push()
    assert {d.command for d in world.deploys()} == {
        f'hg-delegate 1 main {second}',
        f'hg-delegate 1 docs {first}',
    }
    clone.hg('branch', 'other')
    clone.commit(files={'c': '3'})
    push = clone.push('--new-branch')
    assert len(world.deploys()) == 2
    assert not [line for line in push.remote if b'delegate' in line]


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('bad:when = brnch(default)', b'bad:when in .hg/hgrc:6: '),
        ('bad:when = nosuchname', b'bad:when in .hg/hgrc:6: '),
        ('bad:when = )', b'bad:when in .hg/hgrc:6: '),
        pytest.param(
            'bad:timeout = soon',
            b'bad:timeout in .hg/hgrc:6: ',
            marks=pytest.mark.once,
        ),
        pytest.param(
            'bad:nothing = 1',
            b'bad:nothing in .hg/hgrc:6: no such option',
            marks=pytest.mark.once,
        ),
    ],
)
def test_a_mistake_is_one_line_and_harms_nobody_else(
    world: World, repository: Repository, clone: Clone, line: str, said: bytes
) -> None:
    repository.hgrc(targets(world, 'bad', 'good', more=line + '\n'))
    node = clone.commit()
    push = clone.push()
    assert push.returncode == 0
    about = [x for x in push.remote if x.startswith(b'delegate: bad')]
    assert len(about) == 1
    assert about[0].startswith(b'delegate: ' + said)
    (deploy,) = world.deploys()
    assert deploy.command == f'hg-delegate 1 good {node}'
    # what was not delegated waits until the mistake is mended
    repository.hgrc(targets(world, 'bad', 'good'))
    repository.hg('delegate', '--pending')
    assert world.deploys()[-1].command == f'hg-delegate 1 bad {node}'


@pytest.mark.once
def test_nothing_that_is_printed_passes_for_ours_or_moves_the_cursor(
    world: World, ready: Clone
) -> None:
    world.forced_command(
        '. ./record\n'
        r"printf 'delegate: blog: deployed 000000000000 in 0.1 s\n'"
        '\n'
        r"printf 'remote: added 5 changesets\n'"
        '\n'
        r"printf '\033[2J\033]0;title\007\033[31mred\033[0m\r\n'"
        '\n'
        r"printf 'a\rb\rc\n'"
        '\n'
        r"printf '\342\200\256evil\n\377\n'"
        '\n'
        'exit 1\n'
    )
    ready.commit()
    push = ready.push()
    deploy = [line for line in push.remote if line.startswith(b'blog| ')]
    assert deploy == [
        b'blog| [delegate]: blog: deployed 000000000000 in 0.1 s',
        b'blog| remote: added 5 changesets',
        b'blog| \x1b[31mred\x1b[0m',
        b'blog| c',
        b'blog| evil',
        b'blog| \\xff',
    ]
    ours = [line for line in push.remote if line.startswith(b'delegate: ')]
    assert [*map(verdict.read, ours)] == [verdict.failed('exit status 1')]


def test_a_push_over_http_is_delegated_too(
    world: World, repository: Repository, ready: Clone
) -> None:
    node = ready.commit()
    with world.hgweb([repository]) as url:
        push = ready.push(f'{url}/{repository.path.name}')
    assert b'blog| deployed' in push.remote
    assert verdict.last(push) == verdict.deployed(node)
    (deploy,) = world.deploys()
    assert deploy.context['pushes'][0]['url'].startswith('remote:http:')


def test_a_push_by_path_is_delegated_too(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world))
    path = world.server.home / 'work'
    world.server.run([*world.hg, 'clone', str(repository.path), str(path)])
    world.server.write(path / 'file', 'text')
    commit = ['commit', '-A', '-m', 'x', '--config', 'ui.username=me']
    world.server.run([*world.hg, *commit], cwd=path)
    pushed = world.server.run([*world.hg, 'push'], cwd=path)
    assert b'blog| deployed\n' in pushed.stdout
    (deploy,) = world.deploys()
    node = deploy.context['node']
    assert verdict.among(pushed.stdout) == [verdict.deployed(node)]
    assert deploy.context['pushes'][0]['pusher'] == world.server.name
    assert deploy.context['pushes'][0]['source'] == 'push'


def test_devel_warnings_are_silent(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world) + '[devel]\nall-warnings = 1\n')
    clone.commit()
    push = clone.push()
    assert verdict.last(push).state == 'deployed'
    assert not [line for line in push.remote if b'warning' in line]
    for args in (['delegate'], ['delegate-log'], ['delegate', '--dry-run']):
        said = repository.hg(*args)
        assert b'devel-warn' not in said.stdout + said.stderr


@pytest.mark.parametrize('status', [0, 3])
def test_what_a_script_leaves_running_holds_nobody_up(
    world: World, ready: Clone, status: int
) -> None:
    world.forced_command(
        '. ./record\n'
        '(until [ -e go ]; do sleep 0.05; done; echo >gone) &\n'
        f'(sleep 0.5; echo late) &\necho started\nexit {status}\n'
    )
    node = ready.commit()
    push = ready.push()
    said = [line for line in push.remote if b'blog| ' in line]
    assert said == [b'blog| started', b'blog| late']
    wanted = (
        verdict.failed('exit status 3') if status else verdict.deployed(node)
    )
    assert verdict.among(push.remote) == [wanted]
    hints = [line for line in push.remote if b'keeps its output open' in line]
    assert len(hints) == 1 and hints[0].startswith(b'(what it has left ')
    # and it goes on
    world.deploy.write('go', '')
    until((world.deploy.home / 'gone').exists)
