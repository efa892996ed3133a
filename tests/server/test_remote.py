"""The push channel: a stock client delegates, goes back and cancels."""

from __future__ import annotations

import re
import shlex
import shutil
import urllib.request
from pathlib import Path

import pytest
import verdict
from by_hand import check
from delegations import log, states
from hgrc import targets, unreachable
from mercurial import dispatch
from push_channel import NOTHING, ask, listed, start
from repositories import Clone, Push, Repository
from world import BEGUN, HELD, World

PUSH = 'blog:remote = push\n'


def said(push: Push) -> str:
    return b'\n'.join(push.remote).decode()


def test_a_stock_client_lists_goes_back_and_forth_over_ssh_and_http(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, 'blog', 'docs', more=PUSH))
    old = clone.commit()
    with world.hgweb([repository]) as http:
        for url in (repository.url, f'{http}/{repository.path.name}'):
            if url == repository.url:
                assert listed(clone, url) == {'blog': NOTHING}
                clone.push()
            new = clone.commit()
            clone.push()
            # not docs
            assert listed(clone, url) == {'blog': new}
            back = ask(clone, url, 'blog', new, old)
            assert b'blog| deployed' in back.remote
            assert verdict.last(back) == verdict.deployed(old)
            line = f'going back from {new[:12]} to {old[:12]}'
            assert line in said(back)
            assert listed(clone, url) == {'blog': old}
            # what it had is not what it has
            late = ask(clone, url, 'blog', new, new, good=False)
            assert f'blog: it does not have that: it has {old[:12]}' in said(
                late
            )
            assert f'OLD = {old}' in said(late)
            # nothing in particular: the newest
            ask(clone, url, 'blog', old, NOTHING)
            assert listed(clone, url) == {'blog': new}
            old = new
    assert {row['state'] for row in log(repository)} == {'succeeded'}
    # once more, and with nothing there
    assert (
        f'blog\t{new}\n'
        in clone.hg('debugpushkey', repository.url, 'deployed').stdout.decode()
    )


@pytest.mark.once
def test_it_is_live_and_recorded_with_its_pusher_and_a_second_loses(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, more=PUSH))
    # who pushes is named by what lets them in
    world.server.authorize(
        world.key(world.pusher), f'HGUSER=alice {world.server.home}/serve'
    )
    node = clone.commit()
    clone.push()
    repository.hgrc(targets(world, more=PUSH + 'user-variables = HGUSER\n'))
    world.forced_command(HELD)
    first = start(
        clone, 'debugpushkey', repository.url, 'delegate', 'blog', node, node
    )
    first.wait_for(b'blog| begun')
    second = ask(clone, repository.url, 'blog', node, node, good=False)
    assert 'delegation 2 of alice is under way' in said(second)
    world.deploy.write('go', '')
    done = first.finish()
    assert b'True\n' in done.stdout
    assert verdict.last(done) == verdict.deployed(node)
    assert [row['pusher'] for row in log(repository)] == ['alice', None]
    assert len(world.deploys()) == 2


@pytest.mark.once
def test_over_http_the_reply_goes_on_while_the_deploy_runs(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, more=PUSH))
    clone.commit()
    clone.deliver()
    node = clone.tip()
    for ending, number in (HELD, b'1'), (f'{HELD}exit 3\n', b'0'):
        world.forced_command(ending)
        with world.hgweb([repository]) as http:
            old = NOTHING if number == b'1' else node
            request = urllib.request.Request(
                f'{http}/{repository.path.name}?cmd=pushkey',
                data=b'',
                headers={
                    'X-HgArg-1': f'namespace=delegate&key=blog&old={old}&new='
                },
            )
            with urllib.request.urlopen(request, timeout=60) as reply:
                # a proxy hears that it works, and nginx buffers nothing
                assert reply.read(1) == b' '
                assert reply.headers['X-Accel-Buffering'] == 'no'
                world.deploy.write('go', '')
                said = reply.read().lstrip(b' ')
        assert said.startswith(number + b'\n'), said
        assert b'\nblog| begun\nblog| done\ndelegate: blog: ' in said
        (world.deploy.home / 'go').unlink()
    assert states(repository) == ['succeeded', 'failed']


@pytest.mark.once
def test_of_two_with_the_same_old_one_wins(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, more=PUSH))
    one, other, new = clone.commit(), clone.commit(), clone.commit()
    clone.push()
    with world.hgweb([repository]) as http:
        for url in (repository.url, f'{http}/{repository.path.name}'):
            # of two threads that first use one of its modules, hg's own lazy
            # imports let both fail
            ask(clone, url, 'blog', '', new, good=False)
            args = ('debugpushkey', url, 'delegate', 'blog', new)
            # neither is what it has: the second to come finds another
            both = [start(clone, *args, node) for node in (one, other)]
            ends = [each.finish(check=False) for each in both]
            assert sorted(end.returncode for end in ends) == [0, 1], ends
            (has,) = listed(clone, url).values()
            won = [end.returncode for end in ends].index(0)
            assert has == (one, other)[won]
            ask(clone, url, 'blog', has, new)
    assert set(states(repository)) == {'succeeded'}


@pytest.mark.once
def test_what_is_not_for_a_pusher_is_refused_with_a_word(
    world: World, repository: Repository, clone: Clone
) -> None:
    more = (
        '*:remote = push\ndocs:remote = list\n'
        'blog:when = present(branch(default))\nshop:remote = no\n'
    )
    repository.hgrc(targets(world, 'blog', 'docs', 'shop', more=more))
    url = repository.url
    node = clone.commit()
    clone.push()
    clone.hg('branch', 'other')
    other = clone.commit()
    clone.push('--new-branch')
    assert listed(clone, url) == {'blog': node, 'docs': other}
    deploys = len(world.deploys())

    def refused(key: str, old: str, new: str, *words: str) -> None:
        push = ask(clone, url, key, old, new, good=False)
        for word in words:
            assert word in said(push)

    found, _status = check(repository)
    facts = {(each['target'], each['message']) for each in found}
    pushing = 'who may push may delegate to it by the push channel'
    assert {each for each in facts if 'push channel' in each[1]} == {
        ('blog', pushing),
        ('docs', 'the push channel lists what it has'),
    }
    refused('docs', other, node, 'docs: the push channel may not', 'remote =')
    refused('shop', other, node, 'shop: the push channel may not')
    refused('nix', '', node, "there is no target 'nix'")
    refused('a\x1b[31m', '', node, "there is no target 'a\\x1b[31m'")
    refused('blog', node, other, f'blog: {other[:12]} is not for it', ':when')
    refused('blog', node, '1' * 40, f'nobody can pull a changeset {"1" * 12}')
    refused('blog', node, node[:12], f"'{node[:12]}' is not a whole changeset")
    refused('blog', node, 'tip', "blog: 'tip' is not a whole changeset ID")
    refused('blog', '', node, f'it has {node[:12]}', f'OLD = {node}')
    refused('blog', 'tip', node, f'it has {node[:12]}')
    repository.hg('delegate-hold', 'blog', '-m', 'of one hour')
    refused('blog', node, node, 'blog: not delegated: held by ', 'of one hour',
            "'hg delegate-hold --release blog' on the server")  # fmt: skip
    repository.hg('delegate-hold', '--release', 'blog')
    # what is there and secret, or hidden
    repository.hg('phase', '--force', '--secret', '-r', other)
    refused('docs', other, other, 'docs: the push channel')
    refused('blog', node, other, f'nobody can pull a changeset {other[:12]}')
    assert listed(clone, url)['docs'] == NOTHING
    repository.hg('phase', '--force', '--draft', '-r', other)
    repository.hg('update', '-q', 'null')
    evolution = ('--config', 'experimental.evolution=all')
    repository.hg('debugobsolete', other, *evolution)
    refused('blog', node, other, f'nobody can pull a changeset {other[:12]}')
    assert len(world.deploys()) == deploys
    more = '*:remote = push\nlint:gate = yes\n'
    repository.hgrc(targets(world, 'blog', 'lint', more=more))
    assert listed(clone, url) == {'blog': node}
    refused('lint', '', node, 'lint: it is a gate: nothing is delegated to it')
    repository.hgrc(targets(world, more='blog:remote = pull\n'))
    refused('blog', node, node, 'blog: it cannot be used as it is configured',
            "'pull' does not say what the push channel may do")  # fmt: skip


@pytest.mark.once
def test_the_rules_of_a_push_hold(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, more=PUSH))
    node = clone.commit()
    clone.push()
    deploys = len(world.deploys())
    args = ('debugpushkey', '--', repository.url, 'delegate', 'blog')
    with world.hgweb([repository], 'web.allow-push=alice') as http:
        url = f'{http}/{repository.path.name}'
        assert listed(clone, url) == {'blog': node}
        http_args = ('debugpushkey', url, *args[3:])
        denied = clone.hg(*http_args, node, node, check=False)
        assert denied.returncode == 255
        assert b'authorization failed' in denied.stderr
    hook = world.server.write('hook', '#!/bin/sh\nenv >hooked; exit 1\n', 0o755)
    repository.hgrc(targets(world, more=PUSH) + f'[hooks]\nprepushkey={hook}\n')
    push = ask(clone, repository.url, 'blog', node, node, good=False)
    assert 'pushkey-abort: prepushkey hook exited with status 1' in said(push)
    hooked = world.server.read(str(repository.path / 'hooked'))
    assert f'HG_KEY=blog\nHG_NAMESPACE=delegate\nHG_NEW={node}' in '\n'.join(
        sorted(hooked.split('\n'))
    ).replace('HG_HOOKNAME=prepushkey\n', '').replace(
        'HG_HOOKTYPE=prepushkey\n', ''
    )
    repository.hgrc(targets(world, more=PUSH))
    read_only = hg_ssh(world, '--read-only')
    line = f'cd repos && {read_only} *'
    world.server.authorize(world.key(world.pusher), line)
    url = repository.url.replace('/repos/', '/')
    push = ask(clone, url, 'blog', node, node, good=False)
    assert 'Permission denied' in said(push)
    assert listed(clone, url) == {'blog': node}
    assert len(world.deploys()) == deploys
    world.server.authorize(
        world.key(world.pusher), line.replace(' --read-only', '')
    )
    ask(clone, url, 'blog', node, node)
    assert len(world.deploys()) == deploys + 1


def hg_ssh(world: World, *options: str) -> str:
    """A command that serves as Mercurial's contrib/hg-ssh does."""
    program = shutil.which('hg-ssh')
    assert program, "Mercurial's contrib/hg-ssh must be on PATH"
    text = Path(program).read_text('utf-8')
    if not hasattr(dispatch, 'request'):
        text = text.replace('dispatch.request(', 'main_script.request(')
        text = text.replace('    dispatch,\n', '    dispatch, main_script,\n')
    script = world.server.write('bin/hg-ssh', text)
    return shlex.join([world.python, str(script), *options])


@pytest.mark.once
def test_a_part_of_a_push_delegates_nothing(
    world: World, repository: Repository, clone: Clone
) -> None:
    # a client that sends the key as a part of its bundle
    repository.hgrc(targets(world, more=PUSH))
    node = clone.commit()
    clone.push()
    deploys = len(world.deploys())
    path = clone.owner.write(
        'part.py',
        f"""\
from mercurial import exchange, pushkey
@exchange.b2partsgenerator(b'delegate')
def part(pushop, bundler):
    part = bundler.newpart(b'pushkey')
    for name, value in [(b'namespace', b'delegate'), (b'key', b'blog'),
                        (b'old', b'{node}'), (b'new', b'{node}')]:
        part.addparam(name, pushkey.encode(value))
""",
    )
    clone.commit()
    push = clone.push('--config', f'extensions.part={path}', check=False)
    assert push.returncode == 255
    assert b'failed to update value for "delegate/blog"' in push.stderr
    assert len(world.deploys()) == deploys
    clone.push()


@pytest.mark.once
def test_what_waits_or_runs_is_cancelled(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world, 'blog', 'docs', more=PUSH))
    url = repository.url
    clone.commit()
    clone.push('-q')
    world.forced_command(BEGUN)
    clone.commit()
    push = clone.start_push()
    push.wait_for(b'blog| begun')
    assert listed(clone, url)['cancel/3'] == 'blog'
    # no word of docs, to which nobody may delegate
    assert 'cancel/4' not in listed(clone, url)
    for key, old, new, word in (
        ('cancel/99', 'blog', '', "there is no delegation '99'"),
        ('cancel/x', 'blog', '', "there is no delegation 'x'"),
        ('cancel/3', 'blog', '1', "there is no delegation '3'"),
        ('cancel/3', 'docs', '', 'delegation 3 is not one of that target'),
        ('cancel/4', 'docs', '', 'docs: the push channel may not'),
        ('cancel/1', 'blog', '', 'blog: delegation 1 is not running'),
    ):
        assert word in said(ask(clone, url, key, old, new, good=False))
    done = ask(clone, url, 'cancel/3', 'blog', '')
    assert 'blog: delegation 3 is cancelled' in said(done)
    world.deploy.write('go', '')
    lines = verdict.among(push.finish().remote)
    cancelled = verdict.failed('cancelled by an unknown pusher')
    assert cancelled in lines
    assert re.search('cancelled', states(repository)[2])
    # what waits for a host that is away
    repository.hgrc(unreachable(world, 'remote = push', 'retries = 0'))
    clone.commit()
    clone.push()
    (key,) = [key for key in listed(clone, url) if '/' in key]
    ask(clone, url, key, 'blog', '')
    assert [key for key in listed(clone, url) if '/' in key] == []


@pytest.mark.once
def test_with_our_extension_at_the_client_it_is_said_better(
    world: World, repository: Repository, clone: Clone
) -> None:
    ours = ('--config', f'extensions.hgext_delegate={world.extension}')

    def hg(*args: str, status: int = 0) -> Push:
        push = start(clone, *args, *ours).finish(check=False)
        assert push.returncode == status, push
        return push

    remote = ('--remote', 'default')
    repository.hgrc(targets(world, 'blog', 'docs'))
    old, new = clone.commit(), clone.commit()
    clone.push()
    none = hg('delegate', *remote, 'blog', status=255)
    assert b'no target there takes requests' in none.stderr
    repository.hgrc(targets(world, 'blog', 'docs', more=PUSH))
    back = hg('delegate', *remote, 'blog', '-r', 'tip^')
    assert verdict.last(back) == verdict.deployed(old)
    assert f'going back from {new[:12]} to {old[:12]}' in said(back)
    # a path or URL, and the newest
    again = hg('delegate', '--remote', repository.url, 'blog')
    assert verdict.last(again) == verdict.deployed(new)
    world.forced_command('cat >/dev/null; exit 3\n')
    failed = hg('delegate', *remote, 'blog', status=1)
    assert verdict.failed('exit status 3') in verdict.among(failed.remote)
    hint = "'hg delegate blog' on the server, or with --remote, runs it again"
    assert hint in said(failed)
    for args, word in (
        (['delegate', *remote], b'no target is named'),
        (['delegate', *remote, 'nix'], b"there is no target 'nix'"),
        (['delegate', *remote, 'docs'], b'targets: blog'),
        (['delegate', *remote, 'blog', '-r', 'null'], b'is not a changeset'),
        (['delegate', *remote, 'blog', '--pending'], b'and --pending'),
        (['delegate', '--remote', str(clone.path), 'blog'], b'use -R in place'),
        (['delegate-log', *remote, '1'], b'--remote and an ID'),
        (['delegate-log', *remote, '-t', 'nix'], b'targets: blog'),
        (['delegate-cancel', *remote, '1'], b"no delegation '1' runs or waits"),
    ):
        assert word in hg(*args, status=255).stderr
    rows = hg('delegate-log', *remote, '-T', '{id} {target} {state} {node}\n')
    assert rows.stdout.decode().splitlines() == [
        f'5 blog failed {new}',
        f'4 blog succeeded {new}',
        f'3 blog succeeded {old}',
        f'1 blog succeeded {new}',
    ]
    listing = hg('delegate-log', *remote, '-l', '1').stdout.decode()
    assert re.match(f'    5  blog        failed      {new[:12]}  20', listing)
    world.forced_command(BEGUN)
    running = start(clone, 'delegate', *remote, 'blog', *ours)
    running.wait_for(b'blog| begun')
    done = hg('delegate-cancel', *remote, '6')
    assert 'blog: delegation 6 is cancelled' in said(done)
    world.deploy.write('go', '')
    assert running.finish(check=False).returncode == 1
    # a server may say anything
    evil = world.server.write(
        'evil.py',
        'from mercurial import pushkey\n'
        'names = {b"x\\x1b[31m": b"0", b"good": b"0"}\n'
        'pushkey.list = lambda repo, namespace: names\n',
    )
    repository.hgrc(f'evil = {evil}\n' + targets(world, more=PUSH))
    refused = hg('delegate', *remote, 'nix', status=255).stderr
    assert refused.endswith(b"(targets: good)\n"), refused
