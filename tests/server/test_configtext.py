"""What an ssh_config says is what OpenSSH's own ssh says of it."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from pathlib import Path

import loopback
import pytest
import sshhome

from hgext_delegate.ssh import session

HERE = 'Host blog\n  HostName 10.1.1.1\n  Port 2222\n  User hg-blog\n'
TEXTS = {
    'comments': (
        'Host blog # not other\n  HostName 10.1.1.1 # here\n'
        '  Port=2222 # x\n  User = "hg-blog" # "who"\n'
        '  IdentityFile ~/.ssh/a#b # y\n  ProxyCommand nc %h %p # z\n'
    ),
    'quotes': (
        "Host 'blog'\n  HostName '10.1.1.1'\n  IdentityFile \"/a b/c\"\n"
        '  UserKnownHostsFile "/a b/c" \'/d\' /e"f g"/h\n'
    ),
    'criteria': (
        'Match Host other\n  HostName 10.9.9.9\n  UserKnownHostsFile /evil\n'
        'Match !originalhost other,b*g\n  HostName 10.9.9.8\n'
        'Match OriginalHost b* !user nobody-here\n  Port 2222\n'
        'Match exec "test %n = blog" # yes\n  User hg-blog\n'
        'Match all\n  HostName 10.1.1.1\n'
    ),
    'none': (
        'Host blog\n  ProxyCommand none\nHost *\n  ProxyJump bastion\n'
        '  UserKnownHostsFile none\n'
    ),
    'included': (
        'Include {folder}/one {folder}/none\nInclude {folder}/conf.d/*\n'
        'Port 4444\nHost blog\n  User last\n'
    ),
    'included once more': (
        'Host *\n  Port 4444\n  Include {folder}/conf.d/* # all\n'
        'Include "{folder}/one"\nHost blog\n  User last\n'
    ),
    'jump none': (
        'Host blog\n  ProxyJump none\nHost *\n'
        '  ProxyCommand "/a b/nc" -x a~b %h %p %r %n %% # c\n'
    ),
    'what stands below': (
        'Match host 10.1.1.1\n  User x\n  ProxyCommand nc old %h\n'
        'Match user hg-blog\n  ProxyJump old\n'
        'Host blog\n  HostName 10.1.1.1\n  User hg-blog\n'
    ),
    'one after the other': 'Include {folder}/each/*\nHost all\n  User a\n',
    'ends of lines': (
        '# off \rProxyCommand touch /x\n# off \u2028HostName 6.6.6.6\n'
        'Host blog\r\n\tPort\t9\r\n'
    ),
    'backslashes': (
        'Host blog\n  User DOM\\\\bob\n'
        '  UserKnownHostsFile /a\\ b "/c\\"d" \'/e\\f\'\n'
    ),
    'of one host': 'Host other blog\n  Port 1\nHost * !blog\n  Port 2\n',
}


@pytest.fixture
def folder(home: Path) -> Path:
    (home / 'one').write_text(f'Host a\n  User a\n{HERE}', 'utf-8')
    (home / 'conf.d').mkdir()
    (home / 'conf.d' / '1').write_text('Host b*\n  User b\n', 'utf-8')
    more = f'IdentityFile /i\nInclude {home}/one\n  HostKeyAlias x\n'
    (home / 'conf.d' / '2').write_text(more, 'utf-8')
    (home / 'each').mkdir()
    (home / 'each' / '1').write_text('Host other\n  User o\n', 'utf-8')
    (home / 'each' / '2').write_text('ProxyJump gate\nUser g\n', 'utf-8')
    (home / 'each' / 'folder').mkdir()
    return home


def dumped(path: Path) -> dict[str, list[str]]:
    """What ssh -G prints for the host blog."""
    said = subprocess.check_output(
        ['ssh', '-G', '-F', str(path), 'blog'], text=True
    )
    found: dict[str, list[str]] = {}
    for line in said.splitlines():
        keyword, _space, value = line.partition(' ')
        found.setdefault(keyword, []).append(value)
    return found


@pytest.mark.parametrize('text', TEXTS.values(), ids=TEXTS)
def test_it_says_what_ssh_says(folder: Path, text: str) -> None:
    sshhome.configure(folder, text.format(folder=folder))
    ours = session.find('blog', None, None)
    theirs = dumped(folder / '.ssh' / 'config')
    assert [ours.host, str(ours.port), ours.user] == [
        theirs[name][0] for name in ('hostname', 'port', 'user')
    ]
    assert ours.keyname == theirs.get('hostkeyalias', [ours.host])[0]
    # ssh prints its defaults where nothing is set
    for path in ours.identities or ():
        assert path.replace(str(folder), '~') in theirs['identityfile']
    user = [f for f in ours.knownhosts if not f.startswith('/etc/ssh/')]
    # ssh means the home of the account, whatever HOME says
    account = pwd.getpwuid(os.getuid()).pw_dir
    known = theirs['userknownhostsfile'][0].replace(account, '~')
    assert (' '.join(user) or 'none') == known
    assert ','.join(ours.jumps) == theirs.get('proxyjump', [''])[0]
    command = theirs.get('proxycommand', [''])[0]
    tokens = {'h': ours.host, 'p': str(ours.port), 'r': ours.user}
    tokens.update({'%': '%', 'n': 'blog'})
    command = re.sub('%(.)', lambda token: tokens[token[1]], command)
    assert ours.command == ('' if command == 'none' else command)


def test_no_key_is_none_of_the_default_ones(
    sshd: loopback.Sshd, home: Path
) -> None:
    (home / '.ssh' / 'id_ed25519').write_bytes(sshd.identity.read_bytes())
    (home / '.ssh' / 'id_ed25519').chmod(0o600)
    sshhome.know(home, sshd)
    where = f'HostName {sshd.address}\nPort {sshd.port}\n'
    sshhome.configure(home, where)
    assert sshhome.status('alias') == 0
    sshhome.configure(home, where + 'IdentityFile none\n')
    assert 'there is no key' in sshhome.failure('alias').reason


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('Match tagged lab\n', 'has a Match that is not understood: tagged'),
        ('Match localnetwork 127.0.0.0/8\n', 'understood: localnetwork'),
        ('Match user\n', 'is damaged'),
        ('Match final all\n', 'understood: final'),
        ('Match !all\n', 'understood: !all'),
        ('Match !!host blog\n', 'understood: !!host'),
        ('Host b[l]og\n', 'has a [ in a pattern'),
        ('ProxyCommand nc %q\n', 'is damaged'),
        ('Host all\n  Include conf.d/*\n', 'has an Include below a Host'),
        ('User "hg\n', 'has a quote without an end'),
        ('Host other\n  Include conf.d/*\n', 'has an Include below a Host'),
        ('Include config\n', 'includes files that include files'),
        ('Include open\n', 'may be written by others'),
    ],
)
def test_what_would_be_misunderstood_is_refused(
    folder: Path, text: str, reason: str
) -> None:
    (folder / '.ssh' / 'open').touch()
    (folder / '.ssh' / 'open').chmod(0o666)
    sshhome.configure(folder, text)
    with pytest.raises(session.SessionError) as caught:
        session.find('blog', 22, 'hg')
    assert reason in caught.value.reason


def test_no_name_is_looked_up_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(name: str = '') -> str:
        raise AssertionError('it may take for ever')

    monkeypatch.setattr('socket.getfqdn', look_up)
    sshhome.configure(folder, f'{HERE}  IdentityFile ~/.ssh/%h\n')
    found = session.find('blog', None, None)
    assert found.identities == (f'{folder}/.ssh/10.1.1.1',)


def test_an_account_without_a_name_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('LOGNAME', 'USER', 'LNAME', 'USERNAME'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('os.getuid', lambda: 4_000_001)
    with pytest.raises(session.SessionError) as caught:
        session.find('localhost', 22, 'hg-blog')
    assert caught.value.reason == 'no account has the number 4000001'
    assert 'LOGNAME' in caught.value.remedy
    monkeypatch.setenv('LOGNAME', 'hg')
    assert session.find('localhost', 22, 'hg-blog').user == 'hg-blog'
