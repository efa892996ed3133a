"""make demo: a push that is deployed and one that fails, as a pusher sees them.

All of it is in one temporary folder: a virtual environment, an SSH server
(demo_ssh.py) and the homes of three accounts, all played by the current user:
'you' push; 'hg' owns the repository on the server; 'hg-blog' deploys. The
exit status is 0 only if the pushes went as the demo says, and if each line of
a deploy was seen before its next step was done.

Uses the standard library alone: it runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

CHECKOUT = Path(__file__).resolve().parent.parent
# What pip needs; it gets a copy, for it leaves a build folder behind.
SOURCES = ['setup.py', 'pyproject.toml', 'README.rst', 'man', 'hgext_delegate']
INSTALL = 'venv/bin/pip install mercurial ./hg-delegate'
QUIETLY = '-q --no-input --no-cache-dir --prefer-binary'
# These make pip install elsewhere. Others may be what it needs to install.
ELSEWHERE = ['PIP_TARGET', 'PIP_PREFIX', 'PIP_ROOT', 'PIP_USER']
# How long all that follows may take, in seconds.
LIMIT = 120
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REPORT = 'please report it, with all that is printed above'

HGRC = """\
[extensions]
hgext_delegate =

[delegate]
blog = ssh://hg-blog@127.0.0.1:{port}
# here all accounts are one, which may have a home and keys of its own
blog:identity = ~/.ssh/id_ed25519
blog:knownhosts = ~/.ssh/known_hosts
"""
STEP = 1  # seconds
DEPLOY = f"""\
# hg asked for: hg-delegate 1 blog NODE
read -r json
exec </dev/null
node=${{SSH_ORIGINAL_COMMAND##* }}
rm -rf new
hg -R ../hg/blog archive -r "$node" new || exit 1
for page in new/*.txt; do
    sleep {STEP}
    grep -q '^# ' "$page" || {{ echo "$page has no title" >&2; exit 3; }}
    echo "built $page"
done
rm -rf live
mv new live && echo 'copied to the web server'
"""
PAGES = {'about.txt': 'About', 'contact.txt': 'Contact', 'index.txt': 'Blog'}
RELAYED = 'remote: blog| '
VERDICT = 'remote: delegate: blog: '
NEXT = """
# That was all, and the folder is gone. README.rst says how to set this up,
# docs/ is the manual, and 'hg help delegate.config' explains each option."""


class Line(NamedTuple):
    time: float  # time.monotonic()
    text: str


class Broken(Exception):
    """What went wrong, and in the second argument what to do about it."""


def main() -> int:
    signal.signal(signal.SIGALRM, expire)
    for number in ENDINGS:
        signal.signal(number, interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix='hg-delegate-demo-') as folder:
            try:
                Demo(Path(folder).resolve()).run()
            finally:
                ignore_signals()
        say(NEXT)
    except Broken as broken:
        print('demo: {}\n({})'.format(*broken.args), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('demo: interrupted', file=sys.stderr)
        return 130
    return 0


def interrupt(*_: object) -> NoReturn:
    ignore_signals()
    raise KeyboardInterrupt


def expire(*_: object) -> NoReturn:
    raise Broken(f'not done after {LIMIT} s', REPORT)


def ignore_signals() -> None:
    # Nothing is to keep us from cleaning up.
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    signal.alarm(0)


def say(text: str) -> None:
    print(text, flush=True)


class Demo:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = str(folder / 'venv' / 'bin' / 'python')
        program = str(CHECKOUT / 'contrib' / 'demo_ssh.py')
        self.ssh = [self.python, '-I', program]

    def run(self) -> None:
        self.install()
        signal.alarm(LIMIT)
        self.write('hg/serve', 'exec hg -R blog serve --stdio\n')
        self.write('hg-blog/deploy', DEPLOY)
        # The first line of pip's hg cannot name a path that is long or has
        # blanks, as a temporary folder's may be.
        hg = shlex.join([self.python, str(self.folder / 'venv' / 'bin' / 'hg')])
        self.write('bin/hg', f'#!/bin/sh\nexec {hg} "$@"\n')
        (self.folder / 'bin' / 'hg').chmod(0o755)
        ssh = shlex.join(self.ssh)
        self.write('you/.hgrc', f'[ui]\nusername = you\nssh = {ssh}\n')
        with self.server() as port:
            self.configure(port)
            self.succeed(port)
            self.fail()

    def install(self) -> None:
        # Debian has ensurepip in a package of its own.
        for module in ('venv', 'ensurepip'):
            if not importlib.util.find_spec(module):
                raise Broken(
                    f'{sys.executable} has no module {module}',
                    'on Debian and Ubuntu: apt-get install python3-venv',
                )
        source = self.folder / 'hg-delegate'
        source.mkdir()
        for name in SOURCES:
            if (CHECKOUT / name).is_dir():
                shutil.copytree(CHECKOUT / name, source / name)
            elif (CHECKOUT / name).exists():
                shutil.copy(CHECKOUT / name, source)
        say('# In a temporary folder:\n$ python3 -m venv venv')
        self.set_up([sys.executable, '-I', '-m', 'venv', 'venv'])
        say(f'$ {INSTALL}')
        self.set_up([*INSTALL.split(), *QUIETLY.split()])

    def set_up(self, command: list[str]) -> None:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ELSEWHERE and not name.startswith('PYTHON')
        }
        environment['TMPDIR'] = str(self.folder)
        with self.started(command, env=environment) as process:
            status = process.wait()
        if status:
            raise Broken(
                f'{shlex.join(command)} ended with status {status}',
                'what it printed says why; pip knows an index or a proxy of '
                'yours by PIP_INDEX_URL and HTTPS_PROXY',
            )

    @contextlib.contextmanager
    def server(self) -> Iterator[int]:
        """Run the SSH server; its port."""
        with self.started(
            [*self.ssh, 'serve'],
            env=self.environment('hg'),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            port = process.stdout.readline()
            if not port:
                raise Broken('the SSH server did not start', REPORT)
            yield int(port)

    def configure(self, port: int) -> None:
        self.show('hg', '.', 'hg init blog', quiet=True)
        self.write('hg/blog/.hg/hgrc', HGRC.format(port=port))
        say('\n# On the server, the account hg has this repository:')
        self.show('hg', 'blog', 'cat .hg/hgrc')
        say('\n# When its key logs in as hg-blog this runs, whatever is asked:')
        self.show('hg-blog', '.', 'cat deploy')

    def succeed(self, port: int) -> None:
        say('\n# You push. hg-blog is heard while it works.')
        url = f'ssh://hg@127.0.0.1:{port}/blog'
        self.show('you', '.', f'hg clone -q {url} && cd blog')
        for name, title in PAGES.items():
            self.write(f'you/blog/{name}', f'# {title}\n')
        self.show('you', 'blog', "hg commit -q -A -m 'three pages'")
        (node,) = self.show('you', 'blog', 'hg id -i', quiet=True)
        self.push(rf'deployed {node.text} in [0-9.]+ s')

    def fail(self) -> None:
        say('\n# A page loses its title. The push is accepted all the same.')
        self.show('you', 'blog', 'echo Contact >contact.txt')
        self.show('you', 'blog', "hg commit -q -m 'no title'")
        self.push(r'failed: exit status 3 after [0-9.]+ s')
        say('\n# On the server:')
        self.show('hg', 'blog', 'hg delegate-log')

    def push(self, verdict: str) -> None:
        """Push, and hold what is seen against what should be."""
        noted = self.folder / 'printed'
        noted.unlink(missing_ok=True)
        lines = self.show('you', 'blog', 'hg push')
        ours = [line.text for line in lines if line.text.startswith(VERDICT)]
        if not re.fullmatch(VERDICT + verdict, ours[-1] if ours else ''):
            raise Broken(f'the last line is not: {verdict}', REPORT)
        seen = [line for line in lines if line.text.startswith(RELAYED)]
        printed = [
            line.split(' ', 1) for line in noted.read_text().splitlines()
        ]
        if [line.text for line in seen] != [
            RELAYED + two for _, two in printed
        ]:
            raise Broken('the output is not what was printed', REPORT)
        times = [float(one) for one, _ in printed]
        late = max(line.time - time for line, time in zip(seen, times))
        if late >= STEP:
            raise Broken(f'a line came {late:.1f} s late', REPORT)
        say(f'# You saw what hg-blog printed within {1000 * late:.0f} ms.')

    def show(
        self, account: str, folder: str, command: str, quiet: bool = False
    ) -> list[Line]:
        """Run COMMAND, for sh, and show it; the lines that it prints."""
        if not quiet:
            say(f'$ {command}')
        lines = []
        with self.started(
            ['sh', '-c', command],
            cwd=self.folder / account / folder,
            env=self.environment(account),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            for text in process.stdout:
                lines.append(Line(time.monotonic(), text.decode().rstrip()))
                if not quiet:
                    say(lines[-1].text)
            status = process.wait()
        if status:
            raise Broken(f'{command} ended with status {status}', REPORT)
        return lines

    @contextlib.contextmanager
    def started(self, command: list[str], **keywords: Any) -> Iterator[Any]:
        """Run COMMAND while the block does; it has ended afterwards."""
        keywords = {'cwd': self.folder, 'stdin': subprocess.DEVNULL, **keywords}
        # A group of its own, or ^C would end what is still to be told to.
        process = subprocess.Popen(command, start_new_session=True, **keywords)
        try:
            yield process
        finally:
            if process.stdin:
                process.stdin.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def environment(self, account: str) -> dict[str, str]:
        home = self.folder / account
        environment = {
            'HGRCPATH': str(home / '.hgrc'),
            'HOME': str(home),
            'LANG': 'C.UTF-8',
            'LOGNAME': account,
            'PATH': f'{self.folder}/bin:{os.environ.get("PATH", os.defpath)}',
            'TMPDIR': str(self.folder),
            'USER': account,
        }
        if account == 'you':
            # hg prints to a pipe here, and would keep what it prints back.
            environment['PYTHONUNBUFFERED'] = '1'
        return environment

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, 'utf-8')


if __name__ == '__main__':
    sys.exit(main())
