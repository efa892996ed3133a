"""What ssh_config says counts for us as it counts for ssh.

Each config is tried by OpenSSH's ssh and by a session, of the same account in
the same home: both get through, or neither does.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import accounts
import loopback
import pytest
from world import World

pytestmark = pytest.mark.skipif(
    not accounts.ROOT, reason='ssh goes by the home of the real account'
)

TRY = """\
import sys
from hgext_delegate.ssh import session
def ignore(*args):
    pass
try:
    with session.open('blog', connect_timeout=20) as opened:
        end = opened.execute('x', b'', ignore, ignore,
                             idle_timeout=60, timeout=60)
        print('ended with', end.status)
except session.SessionError as error:
    print(error.reason, '|', error.remedy)
    sys.exit(1)
"""
# What leads to the deploy account, for the host blog.
THERE = 'HostName localhost\n  Port {port}\n  User {user}\n'
BLOG = 'Host blog\n  ' + THERE
PROXY = '  ProxyCommand {python} {home}/proxy'

GOOD = {
    'an alias': BLOG,
    'an include below a host': 'Host b*\n  Include {home}/there\n',
    'an include by a relative name': 'Include more/*\n',
    'match exec': 'Match exec "test %n = blog"\n  ' + THERE,
    'match localuser': 'Match localuser {me}\n  ' + THERE,
    'match final': 'Match final host localhost\n  Port {port}\n'
                   'Host blog\n  HostName localhost\n  User {user}\n',
    'canonical names': 'Host blog\n  HostName localhost\n'
        '  CanonicalizeHostname always\n'
        'Match canonical host localhost\n  Port {port}\n  User {user}\n',
    'quotes and comments': 'Host "blog" # x\n  HostName=localhost # y\n'
                           '  Port = {port}\n  User "{user}"\n',
    'an address to come from': BLOG + '  BindAddress 127.0.0.1\n',
    'a family of addresses': BLOG + '  AddressFamily inet\n',
    'an alias of the host key': 'Host blog\n  HostName 127.0.0.1\n'
        '  HostKeyAlias [localhost]:{port}\n  Port {port}\n  User {user}\n',
    'tokens of a key': BLOG + '  IdentityFile %d/.ssh/%u-%n-%h-%p-%r-%k-%%\n',
    'the hash of a connection': BLOG + '  IdentityFile ~/.ssh/%C\n',
    'the name of this host': BLOG + '  IdentityFile ~/.ssh/%l-%L-%i\n',
    'a variable': BLOG + '  IdentityFile ${{HOME}}/.ssh/id_ed25519\n',
    'several keys': BLOG + '  IdentityFile ~/none\n  IdentityFile ~/other\n'
                           '  IdentityFile ~/.ssh/id_ed25519\n',
    'known hosts with tokens': BLOG + '  UserKnownHostsFile ~/%n-hosts\n',
    'known hosts with spaces': BLOG + '  UserKnownHostsFile "{home}/a b" /x\n',
    'known hosts of the system': BLOG + '  UserKnownHostsFile none\n'
                                        '  GlobalKnownHostsFile ~/blog-hosts\n',
    'a list of revoked keys': BLOG + '  RevokedHostKeys {home}/revoked-blog\n',
    'a krl': BLOG + '  RevokedHostKeys {home}/krl\n',
    'one type of host key': BLOG + '  HostKeyAlgorithms rsa-sha2-256\n',
    'one cipher': BLOG + '  Ciphers aes192-ctr\n  MACs hmac-sha2-512\n',
    'one key exchange': BLOG + '  KexAlgorithms curve25519-sha256\n',
    'types of keys': BLOG + '  PubkeyAcceptedAlgorithms ssh-ed25519\n',
    'a proxy': BLOG + PROXY + ' %h %p # x\n',
    'no proxy': BLOG + '  ProxyJump none\n  ProxyCommand none\n',
}  # fmt: skip
BAD = {
    'a wrong port': 'Host blog\n  Port 1\n' + BLOG,
    'a wrong user': 'Host blog\n  User nobody\n' + BLOG,
    'an include that is damaged': 'Include {home}/damaged\n' + BLOG,
    'an unknown option': 'Nonsense x\n' + BLOG,
    'an unknown match': 'Match nonsense x\n' + BLOG,
    'a file that others may write': BLOG + '# others\n',
    'an address that is not ours': BLOG + '  BindAddress 192.0.2.1\n',
    'no address of the family': 'Host blog\n  HostName 127.0.0.1\n'
                                '  AddressFamily inet6\n' + BLOG,
    'an unknown alias of the host key': BLOG + '  HostKeyAlias other\n',
    'an unknown token': BLOG + '  ProxyCommand nc %q\n',
    'a variable that is not set': BLOG + '  IdentityFile ${{NOT_SET}}/x\n',
    'no key': BLOG + '  IdentityFile none\n',
    'another key': BLOG + '  IdentityFile ~/other\n',
    'no known hosts': BLOG + '  UserKnownHostsFile none\n',
    'a revoked key in a list': BLOG + '  RevokedHostKeys {home}/revoked\n'
                                      '  HostKeyAlgorithms ssh-ed25519\n',
    'a revoked key in a krl': BLOG + '  RevokedHostKeys {home}/krl\n'
                                     '  HostKeyAlgorithms ecdsa*256\n',
    'a list that is not there': BLOG + '  RevokedHostKeys {home}/none\n',
    'an rsa key that is too short': BLOG + '  RequiredRSASize 8192\n'
                                           '  HostKeyAlgorithms rsa-*\n',
    'a type of host key that is not there':
        BLOG + '  HostKeyAlgorithms ecdsa-sha2-nistp521\n',
    'a type of key that is not accepted':
        BLOG + '  PubkeyAcceptedAlgorithms rsa-sha2-512\n',
    'no login by key': BLOG + '  PubkeyAuthentication no\n',
    'another way to log in': BLOG + '  PreferredAuthentications password\n',
    'a proxy that fails': BLOG + '  ProxyCommand exit 3\n',
    'a jump host that is not there': BLOG + '  ProxyJump localhost:1\n',
}  # fmt: skip


@pytest.fixture
def home(world: World) -> Path:
    """The home of the server account, with the files that configs name."""
    account = world.server
    text = (account.home / '.ssh/id_ed25519').read_text('ascii')
    said = account.run(['ssh', '-G', '-p', str(world.port), '-l',
                        world.deploy.name, '-o', 'ControlPath=%C',
                        'localhost']).stdout.decode()  # fmt: skip
    (unique,) = [
        line.partition(' ')[2]
        for line in said.splitlines()
        if line.startswith('controlpath ')
    ]
    here = subprocess.check_output(['hostname'], text=True).strip()
    for name in (
        unique,
        f'{here}-{here.partition(".")[0]}-{account.uid}',
        f'{account.name}-blog-localhost-{world.port}-{world.deploy.name}-blog-%',
    ):
        account.write(f'.ssh/{name}', text, 0o600)
    there = THERE.format(port=world.port, user=world.deploy.name)
    account.write('there', there, 0o600)
    account.write('.ssh/more/one', f'Host blog\n  {there}', 0o600)
    account.write('damaged', 'Port x\n', 0o600)
    account.write('proxy', loopback.PROXY)
    hosts = account.read('.ssh/known_hosts')
    account.write('blog-hosts', hosts)
    account.write('a b', hosts)
    keys = {key.split()[0]: key for key in world.sshd.host_keys}
    account.write('revoked-blog', f'# none\n{world.key(account)}\n')
    account.write('revoked', f'# x\n{keys["ssh-ed25519"]} comment\n')
    account.write('ecdsa', keys['ecdsa-sha2-nistp256'] + '\n')
    account.run(['ssh-keygen', '-q', '-k', '-f', 'krl', 'ecdsa'])
    make = ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', 'other']
    account.run(make)
    return account.home


def outcomes(world: World, text: str, mode: int = 0o600) -> tuple[int, int]:
    """The exit status of ssh by the config TEXT, and that of a session."""
    account = world.server
    text = text.format(
        port=world.port,
        user=world.deploy.name,
        me=account.name,
        home=account.home,
        python=world.python,
    )
    account.write('.ssh/config', text, mode)
    ssh = ['ssh', '-o', 'BatchMode=yes', 'blog', 'x']
    theirs = account.run(ssh, check=False)
    ours = account.run([world.python, '-c', TRY], check=False)
    print(theirs.stderr.decode(), ours.stdout.decode(), ours.stderr.decode())
    assert not ours.stderr
    return min(theirs.returncode, 1), ours.returncode


@pytest.mark.parametrize('text', GOOD.values(), ids=GOOD)
def test_what_leads_ssh_there_leads_us_there(
    world: World, home: Path, text: str
) -> None:
    assert outcomes(world, text) == (0, 0)
    assert len(world.deploys()) == 2


@pytest.mark.parametrize('text', BAD.values(), ids=BAD)
def test_what_stops_ssh_stops_us(world: World, home: Path, text: str) -> None:
    mode = 0o666 if '# others' in text else 0o600
    assert outcomes(world, text, mode) == (1, 1)
    assert not world.deploys()
