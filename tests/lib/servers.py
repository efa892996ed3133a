"""The servers that the tests start: OpenSSH's sshd, and web servers."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from accounts import PATH, ROOT, Account

SBIN = f'{PATH}:/usr/local/sbin:/usr/sbin:/sbin'
KEY_TYPES = ('ed25519', 'ecdsa', 'rsa')
LOOPBACK = ('127.0.0.1', '::1')

CONFIG = """\
PidFile {folder}/pid
UsePAM no
StrictModes {strict}
AllowUsers {users}
AuthorizedKeysFile {keys}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitUserEnvironment no
LogLevel VERBOSE
MaxStartups {startups}
MaxSessions 500
"""


class Sshd:
    """An sshd on a free port of the loopback addresses, in a clean
    environment, to which only ACCOUNTS can log in, by their own keys.

    Its host keys, configuration, log and PID are in FOLDER. STARTUPS is its
    MaxStartups, and MORE further lines.
    """

    def __init__(
        self,
        folder: Path,
        accounts: Sequence[Account],
        startups: str = '500',
        more: str = '',
    ) -> None:
        self.folder = folder
        folder.mkdir(0o755)
        # A container may have no ::1.
        self.addresses = [host for host in LOOPBACK if _usable(host)]
        self.host_keys = [_host_key(folder / kind, kind) for kind in KEY_TYPES]
        self._write_config(accounts, startups, more)
        if ROOT:
            # Where the host's own sshd has never run, ours finds none.
            Path('/run/sshd').mkdir(0o755, exist_ok=True)
        for _ in range(10):
            self.port = free_port(self.addresses)
            if self._start():
                return
        raise OSError(f'sshd does not start: {self.log()}')

    def log(self) -> str:
        return (self.folder / 'log').read_text('utf-8', 'replace')

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def _write_config(
        self, accounts: Sequence[Account], startups: str, more: str
    ) -> None:
        keys = '.ssh/authorized_keys'
        text = CONFIG.format(
            folder=self.folder,
            startups=startups,
            users=' '.join({account.name for account in accounts}),
            # Not root: all three are one user, whose homes sshd knows nothing
            # of, and /var/tmp on the way to them is open to everybody.
            keys=keys
            if ROOT
            else ' '.join(f'{account.home}/{keys}' for account in accounts),
            strict='yes' if ROOT else 'no',
        )
        text += more
        for kind in KEY_TYPES:
            text += f'HostKey {self.folder}/{kind}\n'
        config = self.folder / 'config'
        config.write_text(text, 'utf-8')
        # OpenSSH 9.8 and later would shut out 127.0.0.1 after some refusals.
        penalties = 'PerSourcePenalties no\n'
        test = [_sshd(), '-t', '-f', str(config), '-o', penalties.strip()]
        if subprocess.run(test, capture_output=True).returncode == 0:
            config.write_text(text + penalties, 'utf-8')

    def _start(self) -> bool:
        """Whether it listens at all addresses; else somebody has the port."""
        listen = [f'ListenAddress={_at(a, self.port)}' for a in self.addresses]
        # The kernel ends it with us even if we are killed.
        command = ['setpriv', '--pdeathsig', 'KILL', _sshd(), '-D']
        command += ['-E', str(self.folder / 'log')]
        command += ['-f', str(self.folder / 'config')]
        for option in listen:
            command += ['-o', option]
        self.process = subprocess.Popen(
            command, env={'PATH': PATH}, stdin=subprocess.DEVNULL, cwd='/'
        )
        while self.process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                listening = self.log().count(f' port {self.port}.')
                if listening == len(self.addresses):
                    return True
                if f'port {self.port} on' in self.log():  # 'Bind to ... failed'
                    break
            time.sleep(0.01)
        self.stop()
        return False


@contextlib.contextmanager
def http(
    account: Account, command: Sequence[str], port: int, log: Path
) -> Iterator[str]:
    """Run COMMAND as ACCOUNT while it answers on PORT; yield its URL.

    Raises OSError with what it printed to LOG if it ends before it answers.
    """
    with log.open('ab') as stream:
        process = account.popen(command, stdout=stream, stderr=stream)
    try:
        while not _answers(port):
            if process.poll() is not None:
                raise OSError(log.read_text('utf-8', 'replace'))
            time.sleep(0.01)
        yield f'http://127.0.0.1:{port}'
    finally:
        process.terminate()
        process.wait(30)


def free_port(addresses: Sequence[str] = LOOPBACK[:1]) -> int:
    """A port that nobody listens at on any of ADDRESSES just now."""
    while True:
        with contextlib.ExitStack() as stack:
            port = 0
            try:
                for address in addresses:
                    listener = stack.enter_context(_socket(address))
                    listener.bind((address, port))
                    port = listener.getsockname()[1]
            except OSError:
                continue
            return port


def make_key(path: Path, kind: str, comment: str) -> str:
    """Make a key pair without a passphrase; return its public line."""
    command = ['ssh-keygen', '-q', '-t', kind, '-N', '', '-C', comment]
    subprocess.run([*command, '-f', path], stdin=subprocess.DEVNULL, check=True)
    return Path(f'{path}.pub').read_text('ascii').strip()


def _host_key(path: Path, kind: str) -> str:
    return make_key(path, kind, '')


def _sshd() -> str:
    # sshd starts itself anew for each connection, by its absolute path.
    program = shutil.which('sshd', path=SBIN)
    if not program:
        raise FileNotFoundError('no sshd here (apt-get install openssh-server)')
    return program


def _usable(address: str) -> bool:
    try:
        with _socket(address) as listener:
            listener.bind((address, 0))
    except OSError:
        return False
    return True


def _socket(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)


def _at(address: str, port: int) -> str:
    return f'[{address}]:{port}'


def _answers(port: int) -> bool:
    try:
        socket.create_connection(('127.0.0.1', port), 5).close()
    except ConnectionRefusedError:
        return False
    return True
