"""The tutorial works: its commands are run as they stand on the page.

The names of the accounts are mapped to those of the test run, and the port of
sshd to its own. 'pip' is a stand-in that installs the checkout.
"""

from __future__ import annotations

import pwd
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import accounts
import pytest
import verdict
from accounts import ROOT, Account
from console import Command, Shell, commands, pattern
from sources import CHECKOUT
from world import World

pytestmark = pytest.mark.once


COMMANDS = list(
    commands((CHECKOUT / 'docs' / 'tutorial.rst').read_text('utf-8'))
)
ROLES = {'hg': 'server', 'hg-blog': 'deploy', 'alice': 'pusher'}
CHECK = 'hg delegate-check'
SSH = 'ssh without a forced command'

PIP = """\
#!/bin/sh
[ "$*" = 'install .' ] && echo {package} >>{path}
"""


def new_account(base: Path, role: str) -> Account:
    """Make the account of ROLE by the command of the page, if there is one
    and this is root."""
    if not ROOT or role not in ROLES.values():
        return accounts.make(base, role)
    home = base / 'home' / role
    home.parent.mkdir(0o755, exist_ok=True)
    (command,) = [
        shlex.split(command.text)
        for command in COMMANDS
        if command.text.startswith('useradd ')
        and ROLES[command.text.split()[-1]] == role
    ]
    name = f'hgd-{role}-{base.name.removeprefix("hgd-")}'
    command = [command[0], '--home-dir', str(home), *command[1:-1], name]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    user = pwd.getpwnam(name)
    return Account(name, home, user.pw_uid, user.pw_gid)


class Tutorial:
    """The machine that the page begins with, and shells of its accounts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._accounts: dict[str, Account] = {
            name: getattr(world, role) for name, role in ROLES.items()
        }
        self._bin = Path(world.python).parent
        self._printed: list[str] = []
        self._shells: dict[str, Shell] = {}
        for account in self._accounts.values():
            _empty(account.home)
            account.home.chmod(0o700)
        self._install_programs()
        self._know_the_host()

    def _install_programs(self) -> None:
        """hg that has no such extension, and pip to get it."""
        (path,) = self._bin.parent.glob('lib/python3*/site-packages/world.pth')
        package = str(self._world.extension.parent)
        lines = path.read_text('utf-8').splitlines()
        lines.remove(package)
        path.write_text(''.join(f'{line}\n' for line in lines), 'utf-8')
        _, script = Path(self._world.hg[1]).read_text('utf-8').split('\n', 1)
        programs = {
            'hg': f'#!{self._world.python}\n{script}',
            'pip': PIP.format(package=package, path=path),
        }
        for name, text in programs.items():
            (self._bin / name).write_text(text, 'utf-8')
            (self._bin / name).chmod(0o755)

    def _know_the_host(self) -> None:
        """What the page leaves to the machine's own host keys, and to ssh."""
        server, alice = self._accounts['hg'], self._accounts['alice']
        known = self._world.known_hosts()
        record = server.write('.config/hg-delegate/known_hosts', known, 0o600)
        record.parent.chmod(0o700)
        alice.write('.known_hosts', known)
        ssh = 'ssh -F none -o BatchMode=yes'
        ssh += f' -o UserKnownHostsFile={alice.home}/.known_hosts'
        ssh += f' -i {alice.home}/.ssh/id_ed25519'
        hg = self._bin / 'hg'
        alice.write('.hgrc', f'[ui]\nssh = {ssh}\nremotecmd = {hg}\n')

    def run(self, command: Command) -> tuple[list[str], int]:
        """Run COMMAND in its account's shell: what it prints, and its status.

        An argument with '...' is what a command before it has printed."""
        text = re.sub(
            r"'([^'\n]*\.\.\.[^'\n]*)'",
            lambda quoted: shlex.quote(self._copied(quoted[1])),
            self.mapped(command.text),
        )
        lines, status = self._shell(command.account).run(text)
        self._printed += lines
        if not ROOT:
            for account in self._accounts.values():
                _lead_home(account)
        return lines, status

    def mapped(self, text: str) -> str:
        """TEXT of the page with this run's names, homes and port."""
        names = '(?P<name>hg-blog|hg|alice)'
        port = self._world.port
        text = text.replace('localhost port 22', f'localhost port {port}')
        text = re.sub(
            rf'(?:/home/|~){names}(?=/)',
            lambda found: str(self._accounts[found['name']].home),
            text,
        )
        text = re.sub(
            rf'\b{names}(?=@localhost)',
            lambda found: self._accounts[found['name']].name,
            text,
        )
        text = re.sub(r'(?<=@localhost)\b', f':{port}', text)
        hg = self._accounts['hg']
        text = text.replace('-o hg -g hg', f'-o {hg.uid} -g {hg.gid}')
        # No program is called so.
        return re.sub(
            r'(?<![\w/-])hg-blog\b', self._accounts['hg-blog'].name, text
        )

    def _copied(self, elided: str) -> str:
        wanted = pattern(elided)
        program = str(self._bin / 'hg')
        (found,) = {
            line
            for line in self._printed
            if wanted.fullmatch(line.replace(program, 'hg'))
        }
        return found

    def is_in(self, shown: str, printed: list[str]) -> bool:
        wanted = pattern(self.mapped(shown))
        program = str(self._bin / 'hg')
        lines = [line.replace(program, 'hg') for line in printed]
        return any(wanted.fullmatch(line) for line in lines)

    def _shell(self, name: str) -> Shell:
        if name not in self._shells:
            pipe = subprocess.PIPE
            path = f'{self._bin}:{accounts.PATH}:/usr/sbin:/sbin'
            if name == 'root':
                process = subprocess.Popen(
                    ['sh'], env={'PATH': path}, cwd='/', stdin=pipe, stdout=pipe
                )
            else:
                process = self._accounts[name].popen(
                    ['sh'], env={'PATH': path}, stdin=pipe, stdout=pipe
                )
            self._shells[name] = Shell(process)
        return self._shells[name]

    def close(self) -> None:
        for shell in self._shells.values():
            shell.close()


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _lead_home(account: Account) -> None:
    """sshd goes by the real home of the one account that there is."""
    path = account.home / '.ssh' / 'authorized_keys'
    lead = f'HOME={account.home}; export HOME; cd; '
    if path.exists() and lead not in path.read_text('utf-8'):
        text = path.read_text('utf-8').replace('command="', f'command="{lead}')
        if lead not in text:
            text = f'command="{lead}eval $SSH_ORIGINAL_COMMAND" {text}'
        path.write_text(text, 'utf-8')


@pytest.fixture
def tutorial() -> Iterator[Tutorial]:
    world = World(new_account)
    try:
        tutorial = Tutorial(world)
        yield tutorial
        tutorial.close()
    finally:
        world.close()


def test_the_tutorial_leads_to_a_deploy(tutorial: Tutorial) -> None:
    printed: dict[str, list[str]] = {}
    for command in COMMANDS:
        if command.text.startswith('useradd '):
            continue  # done
        lines, status = tutorial.run(command)
        said = '\n'.join([command.text, *lines])
        # Without root there is but one account, and no boundary. And sshd's
        # PATH has the machine's own hg, in place of which Alice names ours.
        may_be_wrong = command.text == CHECK and (not ROOT or SSH in said)
        assert status == 0 or may_be_wrong, said
        for shown in command.shown:
            assert tutorial.is_in(shown, lines), f'no {shown!r} in {said}'
        printed[command.text] = lines
    end = verdict.read(printed['hg push'][-1].encode())
    assert end.state == 'deployed'
    wrong = [
        line
        for line in printed[CHECK]
        if not line.startswith(('ok ', '(install hg-delegate'))
        if SSH not in line
    ]
    assert not ROOT or wrong == []
