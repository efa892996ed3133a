"""hg delegate-check on real accounts: what is right, wrong, and untouched."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import verdict
from accounts import ROOT
from by_hand import check, refused
from hgrc import host_says, targets
from repositories import Repository
from snapshot import contents
from world import World


def said(findings: list[Any], **wanted: str) -> list[str]:
    """The messages of those FINDINGS that have what is WANTED."""
    return [
        finding['message']
        for finding in findings
        if all(finding[key] == wanted[key] for key in wanted)
    ]


def one(findings: list[Any], text: str) -> Any:
    """The only finding whose message has TEXT."""
    (found,) = [f for f in findings if text in f['message']]
    return found


def well(world: World, when: str = 'branch(default) and not tag()') -> str:
    """The hgrc of a target that nothing is wrong with."""
    key = f'{world.server.home}/.ssh/id_ed25519'
    pins = ', '.join(' '.join(k.split()[:2]) for k in world.sshd.host_keys)
    return targets(
        world,
        more=f'blog:identity = {key}\nblog:hostkey = {pins}\n'
        f'blog:when = {when}\n',
    )


def test_nothing_is_said_against_a_host_that_is_set_up_well(
    world: World, repository: Repository
) -> None:
    repository.hgrc(well(world))
    findings, status = check(repository)
    assert [set(finding) for finding in findings] == [
        {'target', 'topic', 'level', 'message', 'remedy'}
    ] * len(findings)
    if not ROOT:
        # the one account has its own ways of being pushed to
        findings = [f for f in findings if f['topic'] != 'hg']
    # Without root there is but one account, and no boundary.
    wrong = (
        [] if ROOT else [f'{world.server.name} is the server account itself']
    )
    assert status == len(wrong)
    assert said(findings, level='error') == wrong
    assert not said(findings, level='warning')
    assert not [f for f in findings if f['level'] == 'ok' and f['remedy']]
    assert {finding['topic'] for finding in findings} - {'hg'} == {
        *('config', 'key', 'server', 'boundary', 'receiver', 'account'),
        *('journal', 'http'),
    }
    login = said(findings, topic='server')[0]
    key = subprocess.run(
        ['ssh-keygen', '-l', '-f', '-'],
        input=world.key(world.server).encode(),
        capture_output=True,
        check=True,
    ).stdout.split()[1]
    assert re.fullmatch(
        rf'127\.0\.0\.1 port {world.port} is logged in to as '
        rf'{world.deploy.name}, with ssh-ed25519 {re.escape(key.decode())}, '
        r'from 127\.0\.0\.1',
        login,
    )
    assert 'is pinned' in said(findings, topic='server')[-2]
    assert 'curve25519' in said(findings, topic='server')[-1]
    refusals, forced = said(findings, topic='boundary')
    assert forced == 'sshd confirms: the key can run its forced command only'
    assert refusals == (
        'refused, when asked for: a pty; agent, X11, port forwarding'
    )
    hgrc = f'{repository.path}/.hg/hgrc'
    assert one(findings, f'enabled by {hgrc}')['level'] == 'ok'
    assert one(findings, f'localhost:{world.port}, set by {hgrc}')


def test_it_runs_nothing_and_changes_nothing(
    world: World, repository: Repository
) -> None:
    repository.hgrc(well(world))
    before = contents(repository.path)
    check(repository)
    assert contents(repository.path) == before
    assert not (repository.path / '.hg' / 'delegate').exists()
    clone = world.clone(repository)
    clone.commit()
    clone.hg('tag', 'v1')
    assert verdict.last(clone.push()).state == 'deployed'
    # what Mercurial itself would write for any command
    repository.hg('debugupdatecaches')
    before = contents(repository.path)
    logged = len(world.ssh_log())
    findings, _ = check(repository)
    assert one(findings, 'is the newest changeset that it is for')
    assert contents(repository.path) == before
    assert len(world.deploys()) == 1
    log = world.ssh_log()[logged:]
    assert 'Accepted publickey' in log and 'Starting session' not in log


def test_a_line_for_each_fact_and_the_remedy_in_another(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world, more='blog:when = \x1b[31mnone(\n'))
    done = repository.hg('delegate-check', '--color=debug', check=False)
    assert done.returncode == 1
    lines = done.stdout.decode().splitlines()
    at = next(n for n, line in enumerate(lines) if 'revset' in line)
    assert lines[at].startswith(
        '[delegate.check delegate.check.error|error  ]  blog        the revset '
    )
    assert lines[at + 1] == (
        "(see 'hg help revsets'; pushes wait for it meanwhile)"
    )
    assert '\x1b' not in done.stdout.decode()
    assert '[delegate.check delegate.check.ok|ok     ]  -       ' in lines[0]


def test_mistakes_and_what_the_policy_refuses_are_named(
    world: World, repository: Repository
) -> None:
    url = f'ssh://{world.deploy.name}@localhost:{world.port}'
    options = 'when timeout'
    host_says(
        world, f'allow-targets = {url}\nallow-repository-config = {options}\n'
    )
    repository.hgrc(
        f'[delegate]\nslow = {url}\nslow:timeout = soon\n'
        f'named = {url}\nnamed:identity = ~/key\n'
        'foreign = ssh://other@localhost\n'
        f'odd = {url}\nodd:when = nothing()\n'
        f'none = {url}\nnone:when = none()\n'
        f'b/d = {url}\n'
    )
    clone = world.clone(repository)
    clone.commit()
    clone.push('--config', 'ui.quiet=yes')
    findings, status = check(repository)
    assert status == 1
    for target, text in {
        'slow': ".hg/hgrc:5: 'slow:timeout'",
        'named': ".hg/hgrc:7: 'identity' is not for a repository's hgrc",
        'foreign': ".hg/hgrc:8: 'ssh://other@localhost' is not allowed",
        'odd': "the revset of 'when' cannot be evaluated: unknown identifier",
        '': ".hg/hgrc:13: 'b/d' is not a name for a target",
    }.items():
        found = said(findings, level='error', target=target, topic='config')
        text = text.replace("'slow:timeout'", "'soon' is not a duration")
        assert len(found) == 1 and text in found[0]
    (empty,) = said(findings, level='warning', target='none', topic='config')
    assert empty == "no changeset is in the revset of 'when': none()"
    assert all(f['remedy'] for f in findings if f['level'] != 'ok')
    # what cannot be used is not tried, and only what is named is looked at
    assert {f['target'] for f in findings if f['topic'] == 'server'} == {
        'odd',
        'none',
    }
    findings, status = check(repository, 'none')
    assert {f['target'] for f in findings} == {'', 'none'}


def test_an_hgrc_that_others_may_write_is_named(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world))
    os.chmod(repository.path / '.hg' / 'hgrc', 0o664)
    findings, status = check(repository)
    assert status == 1
    found = one(findings, 'can be written by others')
    assert found['target'] == 'blog'
    assert found['remedy'] == f'chmod go-w {repository.path}/.hg/hgrc'
    assert not said(findings, topic='server')


def test_an_unknown_target_is_refused_with_the_known_ones(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world, 'blog', 'docs'))
    aborted = refused(repository, 'delegate-check', 'dcos')
    assert aborted == (
        "abort: there is no target 'dcos'\n(targets: blog, docs)\n"
    )


def test_how_pushes_come_to_be_delegated(
    world: World, repository: Repository
) -> None:
    findings, status = check(repository)
    assert status == 1
    assert said(findings, level='error') == ['no target is configured']
    enabled = ['--config', f'extensions.hgext_delegate={world.extension}']
    other = world.repository(hgrc=targets(world), enable=False)
    findings, status = check(other, *enabled)
    assert status == 1
    found = one(findings, 'the extension is enabled on the command line alone')
    assert found['level'] == 'error'
    assert found['remedy'] == (
        f"write 'hgext_delegate = {world.extension}' into [extensions] of "
        f'{other.path}/.hg/hgrc'
    )
    hook = '[hooks]\nchangegroup.autopush = python:hgext_delegate.hook\n'
    other.hgrc(targets(world) + hook)
    findings, _ = check(other, *enabled)
    line = 'hooks.changegroup.autopush in '
    bare = one(findings, f'with {line}')
    assert bare['level'] == 'warning'
    assert bare['remedy'] == found['remedy']
    assert one(findings, 'over HTTP the output')['level'] == 'warning'
    repository.hgrc(targets(world) + hook)
    findings, _ = check(repository)
    assert one(findings, line)['level'] == 'ok'
    assert one(findings, 'output over HTTP is live, ')['level'] == 'ok'
    assert one(findings, line)['message'].endswith('it delegates once')


def test_an_hgrc_that_is_not_trusted_or_not_read_is_named_first(
    world: World,
) -> None:
    repository = world.repository(enable=False)
    enable = f'[extensions]\nhgext_delegate = {world.extension}\n'
    repository.hgrc(enable + targets(world))
    hgrc = repository.path / '.hg' / 'hgrc'
    asked = [*repository.program, '-R', str(repository.path), 'delegate-check']
    asked += [
        '-Tjson',
        '--config',
        f'extensions.hgext_delegate={world.extension}',
    ]
    if not ROOT:
        return  # nobody else can own the file
    os.chown(hgrc, world.deploy.uid, -1)
    findings = json.loads(world.server.run(asked, check=False).stdout)
    assert findings[0]['level'] == 'error'
    assert findings[0]['message'] == (
        f'{hgrc} enables the extension, and does not count'
    )
    assert f"'users = {world.deploy.name}' into" in findings[0]['remedy']
    os.chown(hgrc, 0, -1)
    hgrc.chmod(0o600)
    findings = json.loads(world.server.run(asked, check=False).stdout)
    assert findings[0]['message'] == f'{hgrc} cannot be read'


def test_what_the_key_may_do_too_much_is_named_and_nothing_is_run(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world))
    ran = world.deploy.home / 'ran'
    world.deploy.authorize(
        world.key(world.server), f'touch {ran}', 'no-X11-forwarding,no-pty'
    )
    findings, status = check(repository)
    assert status == 1
    assert said(findings, topic='boundary', level='error') == [
        f'{what} is granted to the key'
        for what in (
            'agent forwarding',
            'local port forwarding',
            'remote port forwarding',
        )
    ]
    assert one(findings, 'agent')['remedy'] == (
        f"its line in {world.deploy.name}'s authorized_keys needs 'restrict', "
        "no 'agent-forwarding' after"
    )
    assert not ran.exists()


def test_what_the_deploy_account_may_do_here_is_named(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world))
    store = repository.path / '.hg' / 'store'
    os.chmod(store, 0o777)
    config = world.server.write('.ssh/config', '', 0o644)
    os.chmod(config.parent, 0o777)
    findings, status = check(repository)
    assert status == 1
    if not ROOT:
        one(findings, f'{world.server.name} is the server account itself')
        return
    may = f'{world.deploy.name} may write '
    assert said(findings, topic='account') == [
        f'{may}{store}',
        f'{may}{config.parent}',
    ]
    found = one(findings, str(store))
    assert found['remedy'] == f'as everybody may: chmod o-w {store}'


def test_what_is_wrong_with_the_record_is_named(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world))
    folder = repository.path / '.hg'
    os.chmod(folder / 'store', 0o555)
    findings, _ = check(repository)
    found = said(findings, topic='journal', level='error')
    assert found == [f'{folder}/store cannot be written']
    os.chmod(folder / 'store', 0o755)
    world.server.write(folder / 'delegate' / 'journal', 'x' * 4096)
    findings, _ = check(repository)
    found = one(findings, 'the journal is damaged')
    assert found['remedy'].startswith('the next push sets it aside')
    assert found['level'] == 'warning'
    assert Path(folder, 'delegate', 'journal').read_text() == 'x' * 4096
