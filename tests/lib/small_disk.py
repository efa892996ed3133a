"""A repository on a disk of two megabytes, which a hook fills at a chosen time.

The disk is a tmpfs in a mount namespace of its own, so that nothing is to be
taken down but a process, whatever happens to the test run. That needs root,
or a kernel that lets everybody have user namespaces. Elsewhere the hook lets
no file grow beyond a size, which stops hg and sqlite in the same places.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from accounts import PATH, ROOT, Account, Failed
from repositories import Clone, Completed
from world import World

SIZE = 2 * 1024  # KiB

# Leaves the KiB that are said in the file 'keep', if there is one.
FILL = """\
#!/bin/sh
[ -e {keep} ] || exit 0
free=$(($(stat -f -c '%a * %S' {disk}) / 1024 - $(cat {keep})))
[ $free -le 0 ] || head -c $((free * 1024)) /dev/zero >{disk}/filler
"""
LIMIT = """\
import resource
def limit(**kwargs):
    try:
        with open({keep!r}) as file:
            size = int(file.read()) * 1024
    except FileNotFoundError:
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
"""


class SmallDisk:
    """A repository and its clone; both belong to the server account, which
    pushes through an ssh that is none.

    HOLDER is a process in the namespace where there really is a disk.
    """

    def __init__(self, world: World, folder: Path, holder: int | None) -> None:
        self.world = world
        self.repository = folder / 'repository'
        self.is_real = holder is not None
        self._disk = folder
        self._holder = holder
        self._server: Account = world.server
        self._keep = self._server.home / 'keep'
        self._hook = self._write_hook()
        ssh = '#!/bin/sh\nshift\nexec sh -c "$*"\n'
        self._ssh = self._server.write('no-ssh', ssh, 0o755)
        hg = f'#!/bin/sh\nexec {shlex.join(world.hg)} "$@"\n'
        self._hg = self._server.write('hg', hg, 0o755)
        self.clone = self._server.home / 'clone'
        for path in (self.repository, self.clone):
            self._run(str(self._hg), 'init', str(path))
        self._count = 0

    def _write_hook(self) -> str:
        keep = str(self._keep)
        if self.is_real:
            text = FILL.format(keep=keep, disk=self._disk)
            return str(self._server.write('fill', text, 0o755))
        path = self._server.write('fill.py', LIMIT.format(keep=keep))
        return f'python:{path}:limit'

    def hgrc(self, text: str, hook: str) -> None:
        """Enable us with TEXT, and let HOOK of a push fill the disk."""
        lines = f'[extensions]\nhgext_delegate = {self.world.extension}\n'
        lines += f'{text}[hooks]\n{hook}.fill = {self._hook}\n'
        script = 'printf %s "$1" >"$2"'
        path = self.repository / '.hg' / 'hgrc'
        self._run('sh', '-c', script, 'sh', lines, str(path))

    def commit(self) -> str:
        """Commit some ten KiB that do not compress; the node's digits."""
        self._count += 1
        text = os.urandom(5 * 1024).hex()
        clone = Clone(self._server, self.clone, self.world.hg)
        return clone.commit('-u', 'me', files={f'file{self._count}': text})

    def push(self, keep: int | None = None) -> Completed:
        """Push, with the hook leaving KEEP KiB; then all room is back."""
        if keep is not None:
            self._server.write(self._keep, str(keep))
        pushed = self._run_hg(
            self.clone,
            'push',
            *('--config', f'ui.ssh={self._ssh}'),
            *('--config', f'ui.remotecmd={self._hg}'),
            f'ssh://nowhere/{self.repository}',
            check=False,
        )
        self._keep.unlink(missing_ok=True)
        self._run('rm', '-f', str(self._disk / 'filler'))
        return pushed

    def hg(self, *args: str, check: bool = True) -> Completed:
        return self._run_hg(self.repository, *args, check=check)

    def nodes(self) -> list[str]:
        said = self.hg('log', '-r', '0:', '-T', '{node}\n').stdout
        return said.decode('ascii').split()

    def log(self) -> dict[str, str]:
        """Node -> state, by hg delegate-log."""
        rows = json.loads(self.hg('delegate-log', '-Tjson').stdout)
        return {row['node']: row['state'] for row in rows}

    def _run_hg(self, path: Path, *args: str, check: bool = True) -> Completed:
        return self._run(str(self._hg), '-R', str(path), *args, check=check)

    def _run(self, *command: str, check: bool = True) -> Completed:
        if not self.is_real:
            return self._server.run(command, check=check)
        enter = ['nsenter', '-t', str(self._holder), '-m']
        if ROOT:
            uid, gid = str(self._server.uid), str(self._server.gid)
            enter += ['setpriv', '--reuid', uid, '--regid', gid]
            enter += ['--clear-groups']
        else:
            enter += ['-U', '--preserve-credentials']
        home = self._server.home
        enter += ['env', '-i', f'HOME={home}', f'PATH={PATH}', 'LANG=C.UTF-8']
        done = subprocess.run(
            [*enter, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd='/',
            timeout=120,
        )
        if check and done.returncode:
            status, args = done.returncode, done.args
            raise Failed(status, args, done.stdout, done.stderr)
        return done


@contextlib.contextmanager
def mounted(world: World) -> Iterator[SmallDisk]:
    """A SmallDisk in the server account's home."""
    folder = world.server.mkdir('disk')
    mount = f'mount -t tmpfs -o size={SIZE}k,mode=777 tmpfs {folder}'
    process = subprocess.Popen(
        [
            *('unshare', '-m' if ROOT else '-Urm'),
            *('--propagation', 'private'),
            *('sh', '-c', f'{mount} && echo mounted && exec cat'),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={'PATH': PATH + ':/usr/sbin:/sbin'},
    )
    assert process.stdout
    try:
        is_real = process.stdout.readline() == b'mounted\n'
        yield SmallDisk(world, folder, process.pid if is_real else None)
    finally:
        process.kill()
        process.communicate()
