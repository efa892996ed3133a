"""Host keys are judged as OpenSSH judges them; ssh-keygen and ssh say how."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import loopback
import pytest

from hgext_delegate.ssh import knownhosts

pytestmark = pytest.mark.once


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('knownhosts')
    for name in ('a', 'b', 'c'):
        loopback.keygen(folder / name)
    loopback.keygen(folder / 'rsa', 'rsa')
    loopback.keygen(folder / 'ecdsa', 'ecdsa')
    return folder


@pytest.fixture
def keys(folder: Path) -> dict[str, str]:
    names = ('a', 'b', 'c', 'rsa', 'ecdsa')
    return {name: loopback.public(folder / name) for name in names}


def key(line: str) -> knownhosts.Key:
    found = knownhosts.parse_key(line.encode('ascii'))
    assert found is not None
    return found


def state(text: str, host: str, port: int, line: str) -> str:
    files = [('known_hosts', text.encode('latin-1'))]
    return knownhosts.judge(files, host, port, key(line)).state


# Pairs of lines (@A, @B, @C stand for keys) and host names. What
# `ssh-keygen -F` finds in the lines is what we must find.
LINES = [
    'plain @A',
    'plain  @A',
    'plain\t@A',
    ' \t plain @A comment with  spaces',
    'plain,other @A',
    'plain,,other @A',
    ',plain @A',
    'PLAIN @A',
    'pl* @A',
    'pl?in @A',
    'pl?n @A',
    'pl**n @A',
    '* @A',
    '*,!plain @A',
    '!plain,* @A',
    '!plain @A',
    '!other,plain @A',
    '!pl*,plain @A',
    'pl[a]in @A',
    'pl.in @A',
    '[plain]:2222 @A',
    '[plain]:22 @A',
    '[plain]:* @A',
    '[*]:2222 @A',
    '[::1]:2222,::1 @A',
    '192.0.2.1 @A',
    '192.0.2.* @A',
    '@revoked plain @A',
    '@revoked  \t plain @A',
    '@revoked @revoked plain @A',
    '@revoked\n plain @A',
    '@cert-authority plain @A',
    '@cert-authority *.plain @A',
    '@unknown plain @A',
    '@ plain @A',
    '#plain @A',
    '# plain @A',
    '',
    'plain',
    'plain ',
    'plain ssh-ed25519',
    'plain # @A',
    'plain @A\r',
    'plain\r @A',
    'plain @A # comment \xe9\xff',
    '\xe9\xff @A',
    'plain @B\nplain @A',
    'plain @A\x00 more',
    'plain 1024 35 1234567890',
    '|1|damaged @A',
    '|1|AAAA|BBBB @A',
    '|1|c2FsdA==|aGFzaA== @A',
    '|2|AAAA|BBBB @A',
    '| @A',
]
HOSTS = [
    ('plain', 22),
    ('plain', 2222),
    ('Plain', 22),
    ('other', 22),
    ('plain.example', 22),
    ('::1', 22),
    ('::1', 2222),
    ('192.0.2.1', 22),
]


def found_by_keygen(path: Path, host: str, port: int) -> list[int]:
    name = host.lower() if port == 22 else f'[{host.lower()}]:{port}'
    result = subprocess.run(
        ['ssh-keygen', '-F', name, '-f', path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    lines = result.stdout.decode('latin-1').split('\n')
    return [int(line.split()[5]) for line in lines if ' found: line ' in line]


@pytest.mark.parametrize('template', LINES)
def test_the_lines_that_ssh_keygen_finds_are_found(
    template: str, keys: dict[str, str], tmp_path: Path
) -> None:
    text = template.replace('@A', keys['a']).replace('@B', keys['b'])
    path = tmp_path / 'known_hosts'
    path.write_bytes((text + '\n').encode('latin-1'))
    for host, port in HOSTS:
        files = [('known_hosts', path.read_bytes())]
        found = knownhosts.entries(files, host, port)
        assert [entry.line for entry in found] == found_by_keygen(
            path, host, port
        ), (host, port)


def test_hashed_names_are_found(keys: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / 'known_hosts'
    path.write_text(
        f'plain,[other]:2222 {keys["a"]}\nthird {keys["b"]}\n', 'ascii'
    )
    subprocess.run(['ssh-keygen', '-q', '-H', '-f', path], check=True)
    text = path.read_text('ascii')
    assert 'plain' not in text
    assert state(text, 'plain', 22, keys['a']) == 'known'
    assert state(text, 'PLAIN', 22, keys['a']) == 'known'
    assert state(text, 'other', 2222, keys['a']) == 'known'
    assert state(text, 'other', 22, keys['a']) == 'unknown'
    assert state(text, 'third', 22, keys['a']) == 'changed'
    assert state(text, 'third', 22, keys['b']) == 'known'


def test_a_damaged_hash_makes_no_other_line_unusable(
    keys: dict[str, str],
) -> None:
    text = f'|1|x|y {keys["b"]}\nplain {keys["a"]}\n'
    assert state(text, 'plain', 22, keys['a']) == 'known'


def test_of_several_keys_of_one_type_each_is_known(
    keys: dict[str, str],
) -> None:
    text = f'plain {keys["a"]}\nplain {keys["b"]}\n'
    assert state(text, 'plain', 22, keys['a']) == 'known'
    assert state(text, 'plain', 22, keys['b']) == 'known'
    assert state(text, 'plain', 22, keys['c']) == 'changed'


def test_a_key_of_another_type_makes_a_host_changed(
    keys: dict[str, str],
) -> None:
    text = f'plain {keys["rsa"]}\n'
    assert state(text, 'plain', 22, keys['a']) == 'changed'


def test_the_line_of_the_same_type_is_named_as_changed(
    keys: dict[str, str],
) -> None:
    text = f'plain {keys["rsa"]}\nplain {keys["b"]}\nplain {keys["ecdsa"]}\n'
    files = [('first', b''), ('second', text.encode('ascii'))]
    verdict = knownhosts.judge(files, 'plain', 22, key(keys['a']))
    assert verdict.state == 'changed'
    assert verdict.entry is not None
    assert (verdict.entry.path, verdict.entry.line) == ('second', 2)


@pytest.mark.parametrize('order', ['ar', 'ra'])
def test_a_revoked_key_is_refused_though_it_is_known(
    order: str, keys: dict[str, str]
) -> None:
    lines = {'a': f'plain {keys["a"]}\n', 'r': f'@revoked * {keys["a"]}\n'}
    text = ''.join(lines[name] for name in order)
    assert state(text, 'plain', 22, keys['a']) == 'revoked'
    assert state(text, 'plain', 2222, keys['a']) == 'revoked'
    assert state(text, 'plain', 22, keys['b']) == 'changed'


def test_a_key_revoked_for_the_plain_name_is_so_on_every_port(
    keys: dict[str, str],
) -> None:
    text = f'@revoked plain {keys["a"]}\n'
    assert state(text, 'plain', 2222, keys['a']) == 'revoked'


def test_a_key_revoked_for_another_host_is_known(keys: dict[str, str]) -> None:
    text = f'@revoked other {keys["a"]}\nplain {keys["a"]}\n'
    assert state(text, 'plain', 22, keys['a']) == 'known'


def test_a_tab_after_the_marker_does_not_undo_a_revocation(
    keys: dict[str, str],
) -> None:
    # Here ssh skips the line; to refuse is the safer reading.
    text = f'@revoked\tplain {keys["a"]}\nplain {keys["a"]}\n'
    assert state(text, 'plain', 22, keys['a']) == 'revoked'


def test_a_certificate_authority_says_nothing_of_a_plain_key(
    keys: dict[str, str],
) -> None:
    text = f'@cert-authority * {keys["a"]}\n'
    assert state(text, 'plain', 22, keys['a']) == 'unknown'
    assert state(text, 'plain', 22, keys['b']) == 'unknown'


def test_a_host_on_another_port_may_be_known_by_its_plain_name(
    keys: dict[str, str],
) -> None:
    text = f'plain {keys["a"]}\n'
    assert state(text, 'plain', 2222, keys['a']) == 'known'
    assert state(text, 'plain', 2222, keys['b']) == 'unknown'


def test_the_plain_name_does_not_count_where_the_port_is_named(
    keys: dict[str, str],
) -> None:
    text = f'plain {keys["a"]}\n[plain]:2222 {keys["b"]}\n'
    assert state(text, 'plain', 2222, keys['a']) == 'changed'
    assert state(text, 'plain', 2222, keys['b']) == 'known'


def test_the_types_of_known_keys_are_told_and_others_are_not(
    keys: dict[str, str],
) -> None:
    text = (
        f'plain {keys["rsa"]}\n@revoked plain {keys["ecdsa"]}\n'
        f'plain {keys["a"]}\nplain {keys["b"]}\nother {keys["ecdsa"]}\n'
    )
    files = [('known_hosts', text.encode('ascii'))]
    types = knownhosts.keytypes(files, 'plain', 22)
    assert types == ['ssh-rsa', 'ssh-ed25519']


def test_a_fingerprint_is_that_of_ssh_keygen(
    folder: Path, keys: dict[str, str]
) -> None:
    for name, line in keys.items():
        said = subprocess.check_output(
            ['ssh-keygen', '-l', '-f', folder / f'{name}.pub']
        )
        assert key(line).fingerprint == said.split()[1].decode('ascii')


def test_a_key_that_is_cut_short_anywhere_is_damaged(
    keys: dict[str, str],
) -> None:
    for line in keys.values():
        type_, data = line.split()
        blob = base64.b64decode(data)
        for size in range(len(blob)):
            short = base64.b64encode(blob[:size])
            text = type_.encode('ascii') + b' ' + short
            assert knownhosts.parse_key(text) is None


def test_a_key_under_the_name_of_another_type_is_damaged(
    keys: dict[str, str],
) -> None:
    data = keys['ecdsa'].split()[1]
    for type_ in ('ssh-rsa', 'ssh-ed25519', 'ecdsa-sha2-nistp384', 'other'):
        assert knownhosts.parse_key(f'{type_} {data}'.encode('ascii')) is None


@pytest.fixture(scope='module')
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loopback.Sshd]:
    server = loopback.Sshd(tmp_path_factory.mktemp('sshd'))
    yield server
    server.close()


# @H is the host key that sshd shows, @W another one; @N is the name and port.
FILES = [
    ('@N @H', True),
    ('127.0.0.1 @H', True),
    ('127.0.0.1 @W', False),
    ('@N @W', False),
    ('@N @W\n@N @H', True),
    ('127.0.0.1 @H\n@N @W', False),
    ('127.0.0.1 @W\n@N @H', True),
    ('* @H', True),
    ('*,!@N @H', True),
    ('*,!@N,!127.0.0.1 @H', False),
    ('@revoked * @H\n@N @H', False),
    ('@revoked 127.0.0.1 @H\n@N @H', True),
    ('@revoked 127.0.0.1 @H\n127.0.0.1 @H', False),
    ('@cert-authority @N @H', False),
    ('damaged\n@N ssh-ed25519 AAAA\n@N @H\r', True),
    ('', False),
]


@pytest.mark.parametrize(('template', 'accepted'), FILES)
def test_what_ssh_accepts_is_known_and_what_it_refuses_is_not(
    template: str,
    accepted: bool,
    sshd: loopback.Sshd,
    keys: dict[str, str],
    tmp_path: Path,
) -> None:
    text = template.replace('@N', sshd.name).replace('@W', keys['a'])
    text = text.replace('@H', sshd.hostkey())
    path = tmp_path / 'known_hosts'
    path.write_bytes((text + '\n').encode('latin-1'))
    ssh = subprocess.run(
        [
            *('ssh', '-F', 'none', '-i', sshd.identity),
            *('-o', f'UserKnownHostsFile={path}'),
            *('-o', 'GlobalKnownHostsFile=none', '-o', 'BatchMode=yes'),
            *('-o', 'StrictHostKeyChecking=yes'),
            *('-o', 'HostKeyAlgorithms=ssh-ed25519'),
            *('-p', str(sshd.port), sshd.address, 'true'),
        ],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    sshd.settle()
    files = [('known_hosts', path.read_bytes())]
    verdict = knownhosts.judge(
        files, sshd.address, sshd.port, key(sshd.hostkey())
    )
    assert (ssh.returncode == 0) == accepted
    assert (verdict.state == 'known') == accepted


def test_the_tools_of_openssh_are_there() -> None:
    assert shutil.which('ssh') and shutil.which('ssh-keygen')
