"""--quiet, --verbose, colours, the progress bar, and what can be translated."""

from __future__ import annotations

import os
import pty
import re
import shutil
from collections.abc import Callable

import pytest
import verdict
from babel.messages import mofile, pofile
from hgrc import targets
from repositories import Clone, Repository
from sources import CHECKOUT
from world import World

FAILING = '. ./record\necho deploying\nexit 3\n'


def ours(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if re.match(rb'(delegate: |blog\|)', line)]


def test_a_quiet_server_says_what_went_wrong_and_no_more(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(targets(world) + '[ui]\nquiet = yes\n')
    ready.commit()
    assert ready.push().remote == []
    assert len(world.deploys()) == 1
    world.forced_command(FAILING)
    ready.commit()
    (line,) = ours(ready.push().remote)
    assert verdict.read(line) == verdict.failed('exit status 3')


def test_a_verbose_server_says_more(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(targets(world) + '[ui]\nverbose = yes\n')
    ready.commit()
    more = rb'delegate: blog: delegation 1, attempt 1, waited \d+\.\d s'
    said = ours(ready.push().remote)
    assert re.fullmatch(more, said[0])
    assert said[1] == b'blog| deployed'


def test_by_hand_quiet_says_what_went_wrong_and_no_more(
    world: World, repository: Repository, pushed: Clone
) -> None:
    assert repository.hg('delegate', '-q').stdout == b''
    assert len(world.deploys()) == 2
    world.forced_command(FAILING)
    failed = repository.hg('delegate', '-q', check=False)
    assert failed.returncode == 1
    (line, *_hints) = ours((failed.stdout + failed.stderr).splitlines())
    assert verdict.read(line) == verdict.failed('exit status 3')


@pytest.mark.once
def test_the_log_is_short_or_long(
    world: World, repository: Repository, pushed: Clone
) -> None:
    plain = repository.ask('delegate-log').stdout
    quiet = repository.ask('delegate-log', '-q').stdout
    verbose = repository.ask('delegate-log', '-v').stdout
    assert quiet.split() == [b'1', b'blog', b'succeeded']
    assert plain.splitlines()[1].split()[:3] == quiet.split()
    assert b'attempt 1' in verbose and b'attempt' not in plain
    assert repository.ask('delegate-log', '-q', '1').stdout == b'deployed\n'
    followed = repository.ask('delegate-log', '-q', '1', '--follow').stdout
    assert followed == b'blog| deployed\n'


def test_a_quiet_check_says_what_is_wrong(
    world: World, repository: Repository, ready: Clone
) -> None:
    plain = repository.hg('delegate-check', check=False).stdout.splitlines()
    quiet = repository.hg('delegate-check', '-q', check=False).stdout
    assert any(line.startswith(b'ok ') for line in plain)
    marks = (b'warning ', b'error ')
    assert [line for line in plain if line.startswith(marks)] == [
        line for line in quiet.splitlines() if not line.startswith(b'(')
    ]
    json = repository.hg('delegate-check', '-q', '-Tjson', check=False).stdout
    assert b'"ok"' in json


def test_our_lines_have_labels(
    world: World, repository: Repository, pushed: Clone
) -> None:
    debug = ('--config', 'ui.color=debug')
    said = repository.hg('delegate', *debug).stdout
    words = verdict.beginning('deployed')
    assert b'[delegate.state.succeeded ui.status|' + words in said
    world.forced_command(FAILING)
    failed = repository.hg('delegate', *debug, check=False)
    said = failed.stdout + failed.stderr
    words = verdict.beginning('failed')
    assert b'[delegate.state.failed ui.warning|' + words in said
    assert b'[delegate.hint ui.warning|(' in said


@pytest.mark.once
@pytest.mark.parametrize('way', ['ssh', 'http'])
def test_nothing_is_coloured_and_no_bar_is_drawn_for_a_pusher(
    world: World, repository: Repository, ready: Clone, way: str
) -> None:
    world.forced_command('. ./record\nsleep 0.5\necho deployed\n')
    ready.commit()
    bar = ('delay=0', 'refresh=0', 'assume-tty=1')
    options = [
        word for item in bar for word in ('--config', f'progress.{item}')
    ]
    if way == 'ssh':
        push = ready.push('--color=always')
    else:
        with world.hgweb(
            [repository], *(f'progress.{x}' for x in bar[:2])
        ) as u:
            push = ready.push(f'{u}/{repository.path.name}', *options)
    said = b'\n'.join(push.remote)
    assert b'blog| deployed' in push.remote
    assert b'\x1b' not in said and b'waiting for' not in said


def on_a_terminal(world: World, repository: Repository) -> tuple[bytes, int]:
    """What hg delegate shows on a terminal, and its status."""
    ours, theirs = pty.openpty()
    process = world.server.popen(
        [
            *(*repository.program, '-R', str(repository.path), 'delegate'),
            *('--config', 'progress.delay=0', '--config', 'progress.refresh=0'),
        ],
        env={'TERM': 'xterm'},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b''
    try:
        while data := os.read(ours, 4096):
            shown += data
    except OSError:
        pass  # how a terminal ends on Linux
    os.close(ours)
    return shown, process.wait()


def cleared(before: bytes) -> bool:
    """Whether a line begins where nothing is left of a bar."""
    return bool(re.search(rb'\r +\r(\x1b\[[0-9;]*m)*\Z', before))


def test_who_waits_by_hand_sees_a_bar_until_there_is_something_to_see(
    world: World, repository: Repository, pushed: Clone
) -> None:
    world.forced_command('. ./record\nsleep 1\necho deployed\nsleep 1\n')
    shown, status = on_a_terminal(world, repository)
    assert status == 0
    before, _, after = shown.partition(b'blog| deployed')
    assert re.search(
        rb'waiting for blog, usually \d\.\d s \[.*\] \d/1 ', before
    )
    assert b'waiting for' not in after
    assert cleared(before), before


def test_a_line_of_ours_takes_the_place_of_the_bar(
    world: World, repository: Repository, pushed: Clone
) -> None:
    repository.hgrc('[delegate]\nblog = ssh://localhost:1\nblog:retries = 1\n')
    shown, status = on_a_terminal(world, repository)
    assert status == 1
    # the bar is back while it is waited for another attempt
    before, _, _after = shown.partition(verdict.beginning('pending'))
    assert b'waiting for blog' in before and cleared(before), before


def translated(
    world: World, translate: Callable[[str], str], content: bytes | None = None
) -> str:
    """What enables a copy of the extension with a German catalogue: each
    message as TRANSLATE has it, or a file with CONTENT."""
    extension = world.base / 'translated' / 'hgext_delegate'
    shutil.rmtree(extension, ignore_errors=True)
    shutil.copytree(world.extension, extension)
    folder = extension / 'locale' / 'de' / 'LC_MESSAGES'
    folder.mkdir(parents=True)
    with open(CHECKOUT / 'i18n' / 'hgext_delegate.pot', 'rb') as template:
        catalog = pofile.read_po(template, locale='de')
    for message in catalog:
        if message.id:
            message.string = translate(str(message.id))
    with open(folder / 'hgext_delegate.mo', 'wb') as file:
        if content is None:
            mofile.write_mo(file, catalog)
        else:
            file.write(content)
    return f'extensions.hgext_delegate={extension}'


def test_a_catalogue_beside_the_extension_is_used(
    world: World, repository: Repository, pushed: Clone
) -> None:
    def translate(text: str) -> str:
        words = text.replace('deployed', 'verteilt')
        words = words.replace('It runs now', 'Es geht gerade')
        return words.replace('delegate this', 'diese')

    enabled = translated(world, translate)

    def said(*words: str, lang: str, **env: str) -> bytes:
        env['LANG'] = lang
        return repository.hg(*words, '--config', enabled, env=env).stdout

    node = pushed.tip()
    assert b'delegate: blog: verteilt ' in said('delegate', lang='de_DE.UTF-8')
    assert verdict.deployed(node) in verdict.among(said('delegate', lang='fr'))
    # what is looked up while the extension is loaded
    assert b'diese revision' in said('help', 'delegate', lang='de')
    assert b'Es geht gerade' in said('help', 'delegate.states', lang='de')
    # HGPLAIN, as scripts use it, is English
    plain = said('delegate', lang='de', HGPLAIN='1')
    assert verdict.deployed(node) in verdict.among(plain)


@pytest.mark.once
@pytest.mark.parametrize('damage', [b'', b'nonsense', b'\xde\x12\x04\x95' * 9])
def test_a_damaged_catalogue_is_as_good_as_none(
    world: World, repository: Repository, pushed: Clone, damage: bytes
) -> None:
    enabled = translated(world, str, damage)
    said = repository.hg('delegate', '--config', enabled, env={'LANG': 'de'})
    assert verdict.among(said.stdout)[-1].state == 'deployed'
    assert not said.stderr


@pytest.mark.once
def test_a_translation_with_other_values_is_as_good_as_none(
    world: World, repository: Repository, pushed: Clone
) -> None:
    def translate(text: str) -> str:
        words = text.replace('waiting for %s', 'warten')
        return words.replace('deployed %s in %.1f s', '%s in %.1f s, 100 %')

    enabled = translated(world, translate)
    said = repository.hg('delegate', '--config', enabled, env={'LANG': 'de'})
    assert verdict.among(said.stdout)[-1].state == 'deployed'
    assert not said.stderr


def test_no_option_of_ours_is_unknown_to_mercurial(
    world: World, repository: Repository
) -> None:
    more = 'blog:retries = 0\n*:color = no\nkeep = 3\nuser-variables = A\n'
    repository.hgrc(targets(world, more=more))
    for args in (['id'], ['delegate', '-n'], ['delegate-log'], ['config']):
        warning = ('--config', 'devel.all-warnings=yes')
        said = repository.hg(*warning, *args, check=False)
        assert b'devel-warn' not in said.stderr


@pytest.mark.once
def test_a_quiet_push_by_path_says_of_a_failed_deploy_that_one_line(
    world: World, repository: Repository, ready: Clone
) -> None:
    """Over ssh and HTTP Mercurial's own client leaves out all of it."""
    world.forced_command('echo output; exit 3')
    path = world.server.copy(world.base / 'empty', 'mine')
    local = Clone(world.server, path, world.hg)
    local.commit('-u', 'alice')
    said = [line for _, line in local.push('-q', str(repository.path)).lines]
    assert [*map(verdict.read, said)] == [verdict.failed('exit status 3')]
    with world.hgweb([repository]) as url:
        for to in (repository.url, f'{url}/{repository.path.name}'):
            ready.hg('pull', '-q', '-u', to)
            ready.commit()
            assert not ready.push('-q', to).lines
