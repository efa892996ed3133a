"""Where a session leads by the ssh_config: aliases, proxies, jump hosts."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import loopback
import pytest
import sshhome


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


@pytest.mark.parametrize('text', ['nonsense\n', 'Port x\n', 'Port 0\n'])
def test_a_damaged_ssh_config_is_named(home: Path, text: str) -> None:
    sshhome.configure(home, text)
    error = sshhome.failure('127.0.0.1')
    assert error.reason == 'ssh config file config is damaged'
    assert str(home / '.ssh' / 'config') in error.detail


def test_an_ssh_config_that_others_may_write_is_refused(home: Path) -> None:
    sshhome.configure(home, '')
    (home / '.ssh' / 'config').chmod(0o664)
    error = sshhome.failure('127.0.0.1')
    assert error.reason == 'ssh config file config may be written by others'


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
    'command', ['false', 'echo nonsense >&2', 'no-such-command-anywhere']
)
def test_a_proxy_command_that_fails_is_told(
    sshd: loopback.Sshd,
    home: Path,
    command: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    sshhome.configure(home, sshhome.alias(sshd) + f'  ProxyCommand {command}\n')
    sshhome.know(home, sshd)
    error = sshhome.failure('alias')
    assert error.reason.startswith('connection closed while')
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
    before = log.stat().st_size
    sshhome.status(host)
    return log.read_bytes()[before:]


def test_jump_hosts_are_passed_through_one_after_the_other(
    sshd: loopback.Sshd, home: Path
) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    second = f'ssh://{user}@{sshd.address}:{sshd.port}'
    sshhome.configure(
        home,
        sshhome.alias(sshd, 'one')
        + '  ProxyJump none\n'
        + sshhome.alias(sshd, 'final')
        + f'  ProxyJump one,{second}\n'
        + f'Host *\n  IdentityFile {sshd.identity}\n',
    )
    sshhome.know(home, sshd)
    assert debug(sshd, 'final').count(b'Accepted publickey') == 3


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
    assert error.reason.endswith('is not known')


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
    where = f'{sshd.address} port {sshd.port}'
    assert error.reason == f'the jump host does not connect to {where}'


def test_jump_hosts_that_lead_in_circles_are_refused(
    sshd: loopback.Sshd, home: Path
) -> None:
    sshhome.configure(home, sshhome.alias(sshd) + '  ProxyJump alias\n')
    sshhome.know(home, sshd)
    assert sshhome.failure('alias').reason == 'more than 8 jump hosts'


def test_a_damaged_jump_is_named(sshd: loopback.Sshd, home: Path) -> None:
    sshhome.configure(home, sshhome.alias(sshd) + '  ProxyJump a:b:c\n')
    assert 'ProxyJump' in sshhome.failure('alias').reason


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
