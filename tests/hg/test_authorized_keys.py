"""Which lines for authorized_keys the installer takes."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from setups import KEY, LINE

from hgext_delegate import errors
from hgext_delegate.commands.setup import snippets
from hgext_delegate.receiver import authorized_keys


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        ('', 'an option that does not belong there'),
        (KEY, 'an option that does not belong there'),
        (f'restrict {KEY}', "the line has no option 'command'"),
        (f'command="x" {KEY}', "the line has no option 'restrict'"),
        (f'restrict,command="" {KEY}', 'the value of command is not right'),
        (f'restrict,command {KEY}', 'the value of command is not right'),
        (f'restrict="x",command="x" {KEY}', 'the value of restrict is not'),
        (f'restrict,from,command="x" {KEY}', 'the value of from is not'),
        (f'restrict,command="x",pty {KEY}', "not belong there: 'pty "),
        (f'restrict,command="x",Agent-Forwarding {KEY}', 'not belong there'),
        (f'restrict,command="x",port-forwarding {KEY}', 'not belong there'),
        (f'restrict,command="x",permitopen="*:1" {KEY}', 'not belong there'),
        (f'restrict,command="x",environment="A=b" {KEY}', 'not belong there'),
        (f'restrict,command="x",cert-authority {KEY}', 'not belong there'),
        (f'restrict,command="x",command="y" {KEY}', 'not belong there'),
        (f'restrict, command="x" {KEY}', 'not belong there'),
        (f'restrict,command="x\\" {KEY}', 'the options of the line are'),
        (f'restrict,command="x\\\\" {KEY}', 'the options of the line are'),
        (f'restrict,command="x"y {KEY}', 'the options of the line are'),
        ('restrict,command="x"', 'the options of the line are damaged'),
        (f'{LINE}\n{KEY}', 'line breaks, and is one without'),
        (f'{LINE}\rx', 'line breaks, and is one without'),
        (LINE + 'é', 'characters that are not printable'),
        (LINE + '\x1b[2J', 'characters that are not printable'),
        ('restrict,command="x" ', 'no key of a type that is known'),
        ('restrict,command="x" ssh-dss AAAA', 'no key of a type that is'),
        (f'restrict,command="x" {KEY.split()[1]}', 'no key of a type'),
        ('restrict,command="x" ssh-ed25519 AAAA', 'the key of the line is'),
        (f'restrict,command="x" {KEY}!', 'the key of the line is damaged'),
        (
            f'restrict,command="x" ssh-rsa {KEY.split()[1]}',
            'the key of the line is damaged',
        ),
    ],
)
def test_a_line_that_gives_away_more_is_refused(line: str, reason: str) -> None:
    with pytest.raises(authorized_keys.InstallError) as refused:
        authorized_keys.parse(line)
    assert reason in refused.value.reason
    assert refused.value.reason.isascii()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1))
def test_whatever_delegate_setup_prints_is_taken(command: str) -> None:
    sources = ['127.0.0.1', '::1']
    try:
        line = snippets.authorized_key(sources, command, KEY, 'delegate:b@r')
    except errors.DelegateError:
        return
    assert authorized_keys.parse(line) == KEY
