"""What hg help says is complete and true."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import Any

import pytest
from manual import FOLDER, ITEM, TOPICS, manual
from mercurial import pycompat
from sources import CHECKOUT

import hgext_delegate
from hgext_delegate import protocol
from hgext_delegate.config import parsers, policy, targets as targetsmod
from hgext_delegate.state import delegation

DEFAULT = re.compile(r'\(default: (.*)\)$')


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


def test_every_text_is_a_topic() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(TOPICS)


@pytest.fixture(scope='module')
def roff(tmp_path_factory: pytest.TempPathFactory) -> str:
    """hg-delegate(1), as Sphinx makes it."""
    folder = tmp_path_factory.mktemp('man')
    sphinx = [sys.executable, '-m', 'sphinx', '-q', '-W', '-b', 'man']
    sphinx += ['-d', str(folder / 'tree'), str(CHECKOUT / 'docs'), str(folder)]
    subprocess.run(sphinx, check=True)
    return (folder / 'hg-delegate.1').read_text('utf-8')


@pytest.mark.once
def test_the_man_page_that_is_installed_is_up_to_date(roff: str) -> None:
    path = CHECKOUT / 'man' / 'hg-delegate.1'
    kept, made = (
        # which release of docutils made it is no matter
        [line for line in text.splitlines() if not line.startswith('.\\"')]
        for text in (path.read_text('utf-8'), roff)
    )
    assert kept == made, "'make man' writes it anew"


@pytest.fixture(scope='module')
def man_page(roff: str) -> str:
    """The same on one line, without marks."""
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
        if command.startswith(b'debug'):
            continue
        assert f'.SS hg {command.decode()} ' in man_page
        assert ' '.join(entry[2].decode().split()) in man_page
        doc = ' '.join((inspect.getdoc(entry[0]) or '').split())
        assert re.split(' [:.`]|``', doc)[0] in man_page
        for _short, long, _default, text, *_name in entry[1]:
            assert f'--{long.decode()}' in man_page
            assert text.decode() in man_page


def test_the_manual_names_every_field_of_the_protocol() -> None:
    text = (FOLDER / 'protocol.txt').read_text('utf-8')
    lines = re.findall(r'^(``.*``)\n  ', text, re.MULTILINE)
    named = [name for line in lines for name in re.findall(r'``(\w+)``', line)]
    optional = ['omitted', 'omitted', 'caused_by']
    fields = [*protocol._OBJECT, *protocol._PUSH, *optional]
    assert sorted(named) == sorted(fields)


def test_the_states_are_those_of_a_delegation() -> None:
    states = {
        value
        for name, value in vars(delegation).items()
        if name.isupper() and value == name.lower()
    }
    assert len(states) == 9
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


def test_hg_version_tells_where_paramiko_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, 'path', [])
    said = hgext_delegate.getversion()
    assert said == hgext_delegate.__version__ + b' (without paramiko)'


def test_what_is_tested_is_what_is_said() -> None:
    makefile = (CHECKOUT / 'Makefile').read_text('utf-8')
    tested = re.findall(r'mercurial==(\d+\.\d+)', makefile)
    assert hgext_delegate.testedwith.decode().split() == tested
    assert hgext_delegate.minimumhgversion.decode() == tested[0]
