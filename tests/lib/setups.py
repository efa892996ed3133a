"""hg delegate-setup, and what its output is pasted into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from repositories import Completed, Repository
from world import World

FOLDER = Path('.config', 'hg-delegate')
# A key, and a line for authorized_keys with it.
KEY = (
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0mZQ2y0cPcmvyGx2yqNZ0v7Hn9nOZ6'
    'vKqk3d1s8Xb2'
)
LINE = f'restrict,from="127.0.0.1,::1",command="hg x" {KEY} delegate:blog@r'


def url(world: World, host: str = 'localhost') -> str:
    return f'ssh://{world.deploy.name}@{host}:{world.port}'


def setup(
    world: World, repository: Repository, *args: str, **how: Any
) -> Completed:
    """hg delegate-setup blog for the world's deploy account, with ARGS."""
    return repository.hg('delegate-setup', 'blog', url(world), *args, **how)


def refused(done: Completed) -> str:
    """What the command said as it aborted; and it printed nothing to paste."""
    said = done.stderr.decode()
    assert done.returncode == 255 and 'Traceback' not in said
    assert b'ssh-ed25519 AAAA' not in done.stdout
    assert '\nabort: ' in '\n' + said
    return said[said.index('abort: ') :]


def pasted(done: Completed) -> tuple[str, str]:
    """The line for authorized_keys and those for the hgrc, as printed."""
    head, line, hgrc = done.stdout.decode().split('\n\n', 2)
    assert all(text.startswith('# ') for text in head.splitlines())
    return line + '\n', hgrc


def paste(world: World, repository: Repository, done: Completed) -> None:
    line, hgrc = pasted(done)
    world.deploy.write('.ssh/authorized_keys', line, 0o600)
    repository.hgrc(hgrc)


def script(world: World) -> str:
    """The forced command of the world, which finds its home by itself."""
    return f'cd {world.deploy.home} && ./forced'
