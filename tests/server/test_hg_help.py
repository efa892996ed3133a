"""What hg help prints is the manual, whole."""

from __future__ import annotations

import inspect
import re

import pytest
from delegations import every_state
from hgrc import targets
from manual import FOLDER, TOPICS, manual
from repositories import Repository
from world import World

import hgext_delegate


def test_what_the_manual_shows_to_paste_is_right(
    world: World, repository: Repository
) -> None:
    text = inspect.getdoc(hgext_delegate) or ''
    hgrc = re.search(r'^  (\[delegate\]\n(?:  .+\n)+)', text, re.MULTILINE)
    assert hgrc
    repository.hgrc(inspect.cleandoc(hgrc[0]) + '\n')
    said = repository.hg('delegate', '--pending')
    assert said.stdout + said.stderr == b''


def _shown() -> list[bytes]:
    """hg help leaves out what is for debugging."""
    return [n for n in hgext_delegate.cmdtable if not n.startswith(b'debug')]


def test_hg_help_shows_the_manual(repository: Repository) -> None:
    said = repository.ask('help', 'hgext_delegate').stdout.decode()
    first, _, rest = (inspect.getdoc(hgext_delegate) or '').partition('\n')
    assert said.startswith('hgext_delegate extension - ')
    shown = ' '.join(said.split())
    assert f'hgext_delegate extension - {first} ' in shown
    for topic in TOPICS:
        assert f'\n  hg help delegate.{topic} ' in said
    for command in _shown():
        assert re.search(rf'\n {command.decode()}\s', said)
    assert '``' not in said and ':hg:' not in said
    assert rest.startswith('\n')


@pytest.mark.parametrize('topic', TOPICS)
def test_hg_help_shows_a_topic_whole(
    repository: Repository, topic: str
) -> None:
    said = repository.ask('help', f'delegate.{topic}').stdout.decode()
    header, rule, body = said.split('\n', 2)
    assert header == TOPICS[topic] and rule == '"' * len(header)
    text = (FOLDER / f'{topic}.txt').read_text('utf-8').replace('``', '"')
    assert body.split()[: len(text.split())] == text.split()
    # an item begins a line, and what is said of it is below
    for name in manual(topic):
        assert f'\n    "{name}"\n      ' in said


def test_hg_help_shows_one_option(repository: Repository) -> None:
    said = repository.ask('help', 'delegate.config.NAME:retries').stdout
    assert said.startswith(b'    "NAME:retries"\n      How often ')
    assert b'keep' not in said


def test_the_command_leads_to_the_topics(repository: Repository) -> None:
    said = repository.ask('help', 'delegate').stdout.decode()
    assert said.startswith('hg delegate [')
    assert "'hg help delegate.config'" in said


@pytest.mark.parametrize('command', [name.decode() for name in _shown()])
def test_the_help_of_a_command_is_whole(
    repository: Repository, command: str
) -> None:
    function, flags, synopsis = hgext_delegate.cmdtable[command.encode()][:3]
    said = repository.ask('help', command).stdout.decode()
    assert said.startswith(f'hg {command}')
    shown = ' '.join(said.split())
    assert ' '.join(synopsis.decode().split()) in shown
    assert (function.__doc__ or '').partition('\n')[0] in said
    # what a script can rely on
    assert re.search(r'^ *(Returns|Exits) ', said, re.MULTILINE)
    for short, long, _default, text, *_name in flags:
        start = f'-{short.decode()} ' if short else ''
        assert re.search(rf'\n +{start}--{long.decode()}\s', said)
        assert text[:1].islower()
        assert ''.join(text.decode().split()) in ''.join(said.split())


def test_the_help_names_every_keyword_of_templates(
    world: World, repository: Repository
) -> None:
    repository.hgrc(targets(world))
    with every_state(world, repository):
        json = repository.hg('delegate-log', '3', '-Tjson').stdout.decode()
    fields = re.findall(r'^  "(\w+)": ', json, re.MULTILINE)
    text = hgext_delegate.cmdtable[b'delegate-log'][0].__doc__ or ''
    named = re.search(r'keywords\s+(.*?)\.', text, re.DOTALL)
    assert named
    assert sorted(re.findall(r'``(\w+)``', named[1])) == sorted(fields)


def test_hg_version_tells_ours(repository: Repository) -> None:
    said = repository.hg('version', '-v').stdout.decode()
    version = hgext_delegate.__version__.decode()
    line = rf'\n  hgext_delegate  external  {version} \(paramiko [\d.]+\)\n'
    assert re.search(line, said)
    assert re.fullmatch(r'\d+\.\d+(\.\d+)?', version)
