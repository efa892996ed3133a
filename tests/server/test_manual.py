"""What hg help says is complete and true."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import Any

import pytest
from mercurial import pycompat
from repositories import Repository
from test_deploy import targets
from test_templates import every_state
from world import CHECKOUT, World

import hgext_delegate
from hgext_delegate import metadata
from hgext_delegate.config import parsers, policy, targets as targetsmod
from hgext_delegate.extension import help_topics
from hgext_delegate.receiver import request
from hgext_delegate.state import delegation

# '``NAME:option``' on a line of its own, and the lines below it.
ITEM = re.compile(r'^``([^`\n]+)``\n((?:  .*\n)+)', re.MULTILINE)
DEFAULT = re.compile(r'\(default: (.*)\)$')


FOLDER = CHECKOUT / 'hgext_delegate' / 'help'
TOPICS = {name.decode(): header.decode() for name, header in help_topics.TOPICS}


def manual(topic: str = 'config') -> dict[str, str]:
    """The items of a topic of the manual: each on one line, by its name."""
    items = ITEM.findall((FOLDER / f'{topic}.txt').read_text('utf-8') + '\n')
    return {name: ' '.join(body.split()) for name, body in items}


def options() -> list[str]:
    return [pycompat.sysstr(option) for option in targetsmod.OPTIONS]


def test_the_manual_names_every_option_and_nothing_else() -> None:
    expected = {'NAME', *map(pycompat.sysstr, targetsmod.SETTINGS)}
    expected |= {f'NAME:{option}' for option in options()}
    assert set(manual()) == expected
    text = (FOLDER / 'config.txt').read_text('utf-8')
    assert len(ITEM.findall(text)) == len(expected)


@pytest.mark.parametrize('option', options())
def test_the_manual_tells_the_default(option: str) -> None:
    field = targetsmod.OPTIONS[option.encode('ascii')]
    default: Any = field.default
    found = DEFAULT.search(manual()[f'NAME:{option}'])
    if default in (None, ()):
        # nothing that one could write there
        assert not found or ' ' in found[1] or "'" in found[1]
        return
    assert found
    value = found[1].partition(',')[0].strip('`').encode('ascii')
    assert field.metadata['parse'](value) == default


def test_the_manual_tells_the_defaults_of_the_settings() -> None:
    items = manual()
    keep = DEFAULT.search(items['keep'])
    assert keep and int(keep[1]) == parsers.keep(None)
    assert not DEFAULT.search(items['user-variables'])
    allowed = DEFAULT.search(items['allow-repository-config'])
    assert allowed
    harmless = ' '.join(map(pycompat.sysstr, policy._HARMLESS))
    assert allowed[1].endswith(f'``{harmless}``')


def test_what_the_manual_shows_to_paste_is_right(
    world: World, repository: Repository
) -> None:
    text = inspect.getdoc(hgext_delegate) or ''
    hgrc = re.search(r'^  (\[delegate\]\n(?:  .+\n)+)', text, re.MULTILINE)
    assert hgrc
    repository.hgrc(inspect.cleandoc(hgrc[0]) + '\n')
    said = repository.hg('delegate', '--pending')
    assert said.stdout + said.stderr == b''


def test_hg_help_shows_the_manual(repository: Repository) -> None:
    said = repository.hg('help', 'hgext_delegate').stdout.decode()
    first, _, rest = (inspect.getdoc(hgext_delegate) or '').partition('\n')
    assert said.startswith('hgext_delegate extension - ')
    shown = ' '.join(said.split())
    assert f'hgext_delegate extension - {first} ' in shown
    for topic in TOPICS:
        assert f'\n  hg help delegate.{topic} ' in said
    for command in hgext_delegate.cmdtable:
        assert re.search(rf'\n {command.decode()}\s', said)
    assert '``' not in said and ':hg:' not in said
    assert rest.startswith('\n')


def test_every_text_is_a_topic() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(TOPICS)


@pytest.mark.parametrize('topic', TOPICS)
def test_hg_help_shows_a_topic_whole(
    repository: Repository, topic: str
) -> None:
    said = repository.hg('help', f'delegate.{topic}').stdout.decode()
    header, rule, body = said.split('\n', 2)
    assert header == TOPICS[topic] and rule == '"' * len(header)
    text = (FOLDER / f'{topic}.txt').read_text('utf-8').replace('``', '"')
    assert body.split()[: len(text.split())] == text.split()
    # an item begins a line, and what is said of it is below
    for name in manual(topic):
        assert f'\n    "{name}"\n      ' in said


def test_hg_help_shows_one_option(repository: Repository) -> None:
    said = repository.hg('help', 'delegate.config.NAME:retries').stdout
    assert said.startswith(b'    "NAME:retries"\n      How often ')
    assert b'keep' not in said


@pytest.fixture(scope='module')
def man_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All of hg-delegate(1) on one line, without marks."""
    folder = tmp_path_factory.mktemp('man')
    sphinx = [sys.executable, '-m', 'sphinx', '-q', '-W', '-b', 'man']
    sphinx += ['-d', str(folder / 'tree'), str(CHECKOUT / 'docs'), str(folder)]
    subprocess.run(sphinx, check=True)
    roff = (folder / 'hg-delegate.1').read_text('utf-8')
    # all requests but those whose arguments are text
    text = re.sub(r'^\.(?!B |SS ).*\n|^\.B ', '', roff, flags=re.MULTILINE)
    text = re.sub(r'\\f[A-Z]|\\X\'.*?\'|\\&|\\c', '', text)
    for mark, letter in {'\\-': '-', '\\(aq': "'", '\\(ga': '`'}.items():
        text = text.replace(mark, letter)
    return ' '.join(text.replace('\\e', '\\').split())


@pytest.mark.parametrize('topic', TOPICS)
def test_the_man_page_has_each_topic(man_page: str, topic: str) -> None:
    for name, text in manual(topic).items():
        assert f'{name} {text}'.replace('``', '') in man_page


def test_the_man_page_has_each_command(man_page: str) -> None:
    for command, entry in hgext_delegate.cmdtable.items():
        assert f'.SS hg {command.decode()} ' in man_page
        assert ' '.join(entry[2].decode().split()) in man_page
        doc = ' '.join((inspect.getdoc(entry[0]) or '').split())
        assert re.split(' [:.`]|``', doc)[0] in man_page
        for _short, long, _default, text, *_name in entry[1]:
            assert f'--{long.decode()}' in man_page
            assert text.decode() in man_page


def test_the_command_leads_to_the_topics(repository: Repository) -> None:
    said = repository.hg('help', 'delegate').stdout.decode()
    assert said.startswith('hg delegate [')
    assert "'hg help delegate.config'" in said


def test_the_manual_names_every_field_of_the_protocol() -> None:
    text = (FOLDER / 'protocol.txt').read_text('utf-8')
    lines = re.findall(r'^(``.*``)\n  ', text, re.MULTILINE)
    named = [name for line in lines for name in re.findall(r'``(\w+)``', line)]
    fields = [*request._OBJECT, 'omitted', *request._PUSH, 'omitted']
    assert sorted(named) == sorted(fields)


def test_the_states_are_those_of_a_delegation() -> None:
    states = {
        value
        for name, value in vars(delegation).items()
        if name.isupper() and value == name.lower()
    }
    assert len(states) == 7
    assert set(manual('states')) == states


@pytest.mark.parametrize(
    'doc',
    [
        hgext_delegate.__doc__,
        *(entry[0].__doc__ for entry in hgext_delegate.cmdtable.values()),
    ],
)
def test_a_first_line_is_lower_case_without_a_full_stop(doc: str) -> None:
    first, empty = inspect.cleandoc(doc).splitlines()[:2]
    assert first[0].islower() and first[-1].isalpha()
    assert len(first) < 65 and not empty


@pytest.mark.parametrize(
    'command', [name.decode() for name in hgext_delegate.cmdtable]
)
def test_the_help_of_a_command_is_whole(
    repository: Repository, command: str
) -> None:
    function, flags, synopsis = hgext_delegate.cmdtable[command.encode()][:3]
    said = repository.hg('help', command).stdout.decode()
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
    version = metadata.__version__.decode()
    line = rf'\n  hgext_delegate  external  {version} \(paramiko [\d.]+\)\n'
    assert re.search(line, said)
    assert re.fullmatch(r'\d+\.\d+(\.\d+)?', version)


def test_hg_version_tells_where_paramiko_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, 'path', [])
    said = hgext_delegate.getversion()
    assert said == metadata.__version__ + b' (without paramiko)'


def test_what_is_tested_is_what_is_said() -> None:
    makefile = (CHECKOUT / 'Makefile').read_text('utf-8')
    tested = re.findall(r'mercurial==(\d+\.\d+)', makefile)
    assert metadata.testedwith.decode().split() == tested
    assert metadata.minimumhgversion.decode() == tested[0]
