"""The lines that are pasted mean what they should to those who read them."""

from __future__ import annotations

import subprocess

import pytest
from mercurial import config

from hgext_delegate import errors
from hgext_delegate.commands.setup import snippets


@pytest.mark.parametrize('command', ['a\nb', 'a\0', '\x1b', 'é', 'a\\'])
def test_a_command_that_would_break_the_line_is_refused(command: str) -> None:
    with pytest.raises(errors.DelegateError):
        snippets.authorized_key([], command, 'ssh-ed25519 AAAA', 'x')


@pytest.mark.parametrize(
    'name', ['site', 'my site', 'a"b', 'new\nline', 'Zoë', 'a@b c', '', ' ']
)
def test_a_comment_is_one_word(name: str) -> None:
    word = snippets.comment('blog', name)
    assert word.startswith('delegate:blog@')
    assert word.isascii() and word.isprintable() and ' ' not in word
    assert '"' not in word


def test_the_words_of_the_receiver_are_those_that_a_shell_reads() -> None:
    command = snippets.receiver(
        '/opt/my hg', ('x', '~/$HOME "a"'), 'blog', "/srv/it's; a b", True
    )
    done = subprocess.run(
        ['sh', '-c', f'HOME=/h; for word in {command}; do echo "$word"; done'],
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().splitlines() == [
        *('exec', '/opt/my hg', '--config', 'extensions.x=~/$HOME "a"'),
        *('delegate-receive', '--clone', '/h/blog'),
        *('--source', "/srv/it's; a b", '--run', './deploy.sh', '--box'),
    ]
    assert snippets.is_receiver(command)
    assert not snippets.is_receiver('/usr/local/bin/deploy')


@pytest.mark.parametrize(
    'value', ['', '/a b', '/a#b;c', '%include x', '[x]', 'a = b', '"', "Zoë'"]
)
def test_mercurial_reads_the_value_that_was_meant(value: str) -> None:
    text = snippets.hgrc({'a': {'b': '1'}, 'c': {'d': value, 'd:e': 'f'}})
    read = config.config()
    read.parse(b'', text.encode('utf-8'))
    assert read.items(b'c') == [(b'd', value.encode('utf-8')), (b'd:e', b'f')]
    assert read.get(b'a', b'b') == b'1'


@pytest.mark.parametrize('value', ['a\nb', ' a', 'a ', '\t', '\udcff', 'a\0'])
def test_a_value_that_no_hgrc_can_have_is_refused(value: str) -> None:
    with pytest.raises(errors.DelegateError):
        snippets.hgrc({'a': {'b': value}})
