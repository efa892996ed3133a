"""Where a session leads by the ssh_config: aliases, proxies, jump hosts."""

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


def test_an_alias_leads_where_the_ssh_config_says(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(home, sshhome.alias(sshd))
    sshhome.know(home, sshd)
    assert sshhome.status('alias') == 0


def test_what_is_asked_for_wins_over_the_ssh_config(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(
        home,
        f'Host alias\n  HostName {sshd.address}\n  Port 1\n  User nobody\n'
        f'  IdentityFile {home}/none\n  UserKnownHostsFile {home}/none\n',
    )
    user = pwd.getpwuid(os.getuid()).pw_name
    assert (
        sshhome.status(
            'alias',
            port=sshd.port,
            user=user,
            identity=str(sshd.identity),
            hostkeys=[sshd.hostkey()],
        )
        == 0
    )


def test_the_user_is_that_of_the_ssh_config(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(home, sshhome.alias(sshd) + '  User some-body\n')
    sshhome.know(home, sshd)
    error = sshhome.failure('alias')
    assert error.reason == f'{sshd.address} refused the key as some-body'


def test_known_hosts_files_of_the_ssh_config_count_instead_of_the_default(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.know(home, sshd)
    (home / 'empty').touch()
    sshhome.configure(
        home, sshhome.alias(sshd) + '  UserKnownHostsFile ~/empty ~/none\n'
    )
    assert sshhome.failure('alias').reason.endswith('is not known')
    (home / '.ssh' / 'known_hosts').rename(home / 'moved')
    sshhome.configure(
        home, sshhome.alias(sshd) + '  UserKnownHostsFile ~/empty ~/moved\n'
    )
    assert sshhome.status('alias') == 0


def test_the_host_key_is_looked_up_by_its_alias(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(home, sshhome.alias(sshd) + '  HostKeyAlias some-name\n')
    sshhome.know(home, sshd)
    assert sshhome.failure('alias').reason.endswith('is not known as some-name')
    known = home / '.ssh' / 'known_hosts'
    known.write_text(f'[some-name]:{sshd.port} {sshd.hostkey()}\n', 'ascii')
    assert sshhome.failure('alias').reason.endswith('is not known as some-name')
    known.write_text(f'some-name {sshd.hostkey()}\n', 'ascii')
    assert sshhome.status('alias') == 0


def test_the_second_default_file_of_known_hosts_counts_too(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(home, sshhome.alias(sshd))
    sshhome.know(home, sshd)
    (home / '.ssh' / 'known_hosts').rename(home / '.ssh' / 'known_hosts2')
    assert sshhome.status('alias') == 0


def test_of_several_keys_the_one_that_is_accepted_is_used(
    sshd: loopback.Sshd, home: Path
) -> None:
    other = loopback.keygen(home / 'other')
    sshhome.configure(
        home,
        f'Host alias\n  IdentityFile {home}/none\n  IdentityFile {other}\n'
        + sshhome.alias(sshd),
    )
    sshhome.know(home, sshd)
    assert sshhome.status('alias') == 0


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('nonsense\n', 'line 1: no argument after keyword "nonsense"'),
        ('nonsense x\n', 'line 1: Bad configuration option: nonsense'),
        ('\nPort x\n', "line 2: Bad port 'x'."),
        ('Port 0\n', "line 1: Bad port '0'."),
        ('ProxyJump a:b:c\n', 'line 1: Invalid ProxyJump "a:b:c"'),
        ('User "hg\n', 'line 1: invalid quotes'),
        ('Match \x1bx y\n', 'line 1: Bad Match condition'),
    ],
)
def test_a_damaged_ssh_config_is_named(
    home: Path, text: str, said: str
) -> None:
    # the file does not end with what was configured
    (home / '.ssh' / 'config').write_text(text, 'utf-8')
    error = sshhome.failure('127.0.0.1')
    config = home / '.ssh' / 'config'
    # some lines have no colon
    reason = error.whole[0].replace(f'{config} line', f'{config}: line')
    assert reason == f'ssh -G 127.0.0.1 fails: {config}: {said}'
    # where that is, no pusher reads
    reason = error.reason.replace('config line', 'config: line')
    assert reason == f'ssh -G 127.0.0.1 fails: config: {said}'
    assert isinstance(error, session.ConfigurationError)


def test_an_ssh_config_in_latin_1_is_read(
    sshd: loopback.Sshd, home: Path
) -> None:
    text = '# \xe9\xff\n' + sshhome.alias(sshd)
    (home / '.ssh' / 'config').write_bytes(text.encode('latin-1'))
    sshhome.know(home, sshd)
    assert sshhome.status('alias') == 0


def test_a_match_with_a_program_runs_it(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(
        home,
        f'Match originalhost alias exec "test -e {home}/there"\n'
        f'  HostName {sshd.address}\n  IdentityFile {sshd.identity}\n'
        f'  Port {sshd.port}\nHost alias\n  HostName 127.0.0.1\n  Port 1\n'
        f'  IdentityFile {sshd.identity}\n',
    )
    sshhome.know(home, sshd)
    assert (
        sshhome.failure('alias').reason
        == 'connection refused by 127.0.0.1 port 1'
    )
    (home / 'there').touch()
    assert sshhome.status('alias') == 0


def test_known_hosts_files_that_were_asked_for_must_be_there(
    sshd: loopback.Sshd, home: Path
) -> None:
    error = sshhome.failure(
        sshd.address,
        port=sshd.port,
        identity=str(sshd.identity),
        knownhosts=[str(home / 'none')],
    )
    assert error.reason.startswith('known_hosts file none cannot be read')


def test_a_proxy_command_is_the_way(sshd: loopback.Sshd, home: Path) -> None:
    sshhome.configure(
        home, sshhome.alias(sshd) + f'  ProxyCommand {proxy(home)} %h %p\n'
    )
    sshhome.know(home, sshd)
    assert sshhome.status('alias') == 0
    # The port that is asked for is the one it gets.
    sshhome.configure(
        home,
        f'Host alias\n  HostName {sshd.address}\n'
        f'  IdentityFile {sshd.identity}\n'
        f'  ProxyCommand {proxy(home)} %h %p\n',
    )
    assert sshhome.status('alias', port=sshd.port) == 0


def proxy(home: Path) -> Path:
    path = home / 'proxy'
    path.write_text(loopback.PROXY, 'ascii')
    path.chmod(0o700)
    return path


@pytest.mark.parametrize(
    ('command', 'ended', 'said'),
    [
        ('false', 'ended with status 1', 'it said nothing'),
        ('echo non\x1bsense >&2', 'ended with status 0', 'it said: non?sense'),
        ('sh -c "echo one >&2; echo >&2 two; kill -9 $$"',
         'was killed by signal 9', 'it said: two'),
        ('echo none here', 'ended with status 0', 'it said: none here'),
        ('no-such-command-anywhere', 'ended with status 127', 'not found'),
        ('sh -c "seq 999999 >&2; exit 3"',
         'ended with status 3', 'it said: 999999'),
    ],
)  # fmt: skip
def test_a_proxy_command_that_fails_is_told(
    sshd: loopback.Sshd,
    home: Path,
    command: str,
    ended: str,
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    sshhome.configure(home, sshhome.alias(sshd) + f'  ProxyCommand {command}\n')
    sshhome.know(home, sshd)
    error = sshhome.failure('alias')
    where = f'{sshd.address} port {sshd.port}'
    assert error.reason == f'ProxyCommand to {where} {ended}'
    assert error.remedy.endswith(said)
    assert capfd.readouterr().err == ''


def test_a_proxy_command_that_ignores_everything_is_ended(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(
        home,
        sshhome.alias(sshd)
        + "  ProxyCommand sh -c 'trap : TERM HUP; sleep 60; sleep 60'\n",
    )
    sshhome.know(home, sshd)
    error = sshhome.failure('alias', connect_timeout=1)
    assert error.reason.startswith('timed out after 1 s while waiting')


def test_a_jump_host_is_passed_through(sshd: loopback.Sshd, home: Path) -> None:
    sshhome.configure(
        home,
        sshhome.alias(sshd, 'jump')
        + sshhome.alias(sshd, 'final')
        + '  ProxyJump jump\n',
    )
    sshhome.know(home, sshd)
    assert sshhome.status('final') == 0
    assert b'direct-tcpip' in debug(sshd, 'final')


def debug(sshd: loopback.Sshd, host: str) -> bytes:
    """What sshd logs of a session."""
    sshd.settings = 'LogLevel DEBUG\n'
    log = sshd.folder / 'log'
    before = log.stat().st_size if log.exists() else 0
    sshhome.status(host)
    return log.read_bytes()[before:]


def test_jump_hosts_are_passed_through_one_after_the_other(
    sshd: loopback.Sshd, home: Path
) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    # by another name, or ssh would see a circle
    second = f'ssh://{user}@localhost:{sshd.port}'
    sshhome.configure(
        home,
        sshhome.alias(sshd, 'one')
        + '  ProxyJump none\n'
        + sshhome.alias(sshd, 'final')
        + f'  ProxyJump one,{second}\n'
        + f'Host *\n  IdentityFile {sshd.identity}\n',
    )
    sshhome.know(home, sshd)
    with open(home / '.ssh' / 'known_hosts', 'a', encoding='ascii') as file:
        file.write(f'[localhost]:{sshd.port} {sshd.hostkey()}\n')
    assert debug(sshd, 'final').count(b'Accepted publickey') == 3


def test_four_jump_hosts_are_passed_through(
    sshd: loopback.Sshd, home: Path
) -> None:
    hops = ['one', 'two', 'three', 'four']
    sshhome.configure(
        home,
        ''.join(sshhome.alias(sshd, name) for name in hops)
        + sshhome.alias(sshd, 'final')
        + f'  ProxyJump {",".join(hops)}\n',
    )
    sshhome.know(home, sshd)
    assert debug(sshd, 'final').count(b'Accepted publickey') == 5


def test_the_host_key_of_a_jump_host_is_judged_as_well(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(
        home,
        sshhome.alias(sshd, 'jump')
        + sshhome.alias(sshd, 'final')
        + '  ProxyJump jump\n',
    )
    # The pinned key is the last host's alone.
    error = sshhome.failure('final', hostkeys=[sshd.hostkey()])
    assert error.reason == through(sshd)
    assert error.remedy == 'it said: Host key verification failed.'


def through(sshd: loopback.Sshd) -> str:
    """What is said of a jump host that leads to SSHD no more."""
    where = f'{sshd.address} port {sshd.port}'
    return f'the jump host to {where} ended with status 255'


def test_a_jump_host_that_may_not_connect_is_told(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(
        home,
        sshhome.alias(sshd, 'jump')
        + sshhome.alias(sshd, 'final')
        + '  ProxyJump jump\n',
    )
    sshhome.know(home, sshd)
    sshd.settings = 'AllowTcpForwarding no\n'
    error = sshhome.failure('final')
    assert error.reason == through(sshd)
    assert 'open failed: administratively prohibited' in error.remedy


def test_a_jump_host_takes_the_key_of_the_target_and_no_agent(
    sshd: loopback.Sshd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = f'  HostName {sshd.address}\n  Port {sshd.port}\n'
    sshhome.configure(
        home,
        f'Host jump\n{at}  IdentityFile none\nHost final\n{at}'
        f'  IdentityFile {sshd.identity}\n  ProxyJump jump\n',
    )
    sshhome.know(home, sshd)
    agent = subprocess.run(
        ['ssh-agent', '-s'], stdout=subprocess.PIPE, text=True, check=True
    )
    found = re.findall(r'(SSH_A\w+)=([^;]+)', agent.stdout)
    for name, value in found:
        monkeypatch.setenv(name, value)
    try:
        add = ['ssh-add', '-q', str(sshd.identity)]
        subprocess.run(add, check=True, stderr=subprocess.DEVNULL)
        error = sshhome.failure('final')
    finally:
        subprocess.run(['ssh-agent', '-k'], stdout=subprocess.DEVNULL)
    assert error.remedy.endswith('Permission denied (publickey).')
    assert sshhome.status('final', identity=str(sshd.identity)) == 0


def test_a_jump_host_that_leads_back_to_itself_is_refused(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(home, sshhome.alias(sshd) + '  ProxyJump alias\n')
    sshhome.know(home, sshd)
    reason = sshhome.failure('alias').reason
    assert reason == 'ProxyJump of alias leads back to alias'


def test_of_jump_and_command_the_first_counts(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(
        home,
        sshhome.alias(sshd)
        + f'  ProxyCommand {proxy(home)} %h %p\n'
        + '  ProxyJump no-such-host\n',
    )
    sshhome.know(home, sshd)
    assert sshhome.status('alias') == 0


def test_without_ssh_the_options_of_the_target_count_alone(
    sshd: loopback.Sshd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sshhome.configure(home, sshhome.alias(sshd) + '  User nobody\n')
    monkeypatch.setenv('PATH', str(home))
    how = {'identity': str(sshd.identity), 'hostkeys': [sshd.hostkey()]}
    assert sshhome.status(sshd.address, port=sshd.port, **how) == 0
    error = sshhome.failure('no-such-alias', **how)
    assert error.reason == 'the name no-such-alias cannot be resolved'
    assert error.remedy == 'if it is a Host of the ssh config, install ssh'
    found = session.find('blog', None, None)
    me = pwd.getpwuid(os.getuid())
    assert (found.port, found.user, found.proxy) == (22, me.pw_name, ())
    assert found.knownhosts[0] == f'{me.pw_dir}/.ssh/known_hosts'


def test_a_line_that_trusts_certificates_is_told(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(home, sshhome.alias(sshd))
    line = f'@cert-authority {sshd.name} {loopback.public(sshd.identity)}\n'
    (home / '.ssh' / 'known_hosts').write_text(line, 'ascii')
    error = sshhome.failure('alias')
    assert error.reason.endswith(' is known only by a certificate')
    assert '; known_hosts:1 is not used here: if the key is' in error.remedy
    assert error.remedy.endswith(f'NAME:hostkey = {sshd.hostkey()}')


def test_what_narrows_the_choice_is_refused_if_it_cannot_be_done(
    sshd: loopback.Sshd, home: Path
) -> None:
    for line, words in [
        ('BindInterface lo', 'BindInterface lo in the ssh config is not'),
        ('Ciphers chacha20-poly1305@openssh.com', 'Ciphers in the ssh config'),
        ('KnownHostsCommand /x', 'KnownHostsCommand in the ssh config is not'),
        ('PubkeyAuthentication no', 'PubkeyAuthentication false in the ssh'),
    ]:
        sshhome.configure(home, sshhome.alias(sshd) + f'  {line}\n')
        sshhome.know(home, sshd)
        assert sshhome.failure('alias').reason.startswith(words)


def test_a_match_exec_that_hangs_is_ended(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(home, 'Match exec "sleep 900"\n')
    error = sshhome.failure('alias', connect_timeout=1)
    assert error.reason == 'timed out after 1 s while asking ssh -G about alias'
