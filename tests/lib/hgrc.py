"""What the tests write into hgrc files."""

from __future__ import annotations

from world import World

CLASSIC = '[hooks]\nchangegroup.autopush = python:hgext_delegate.hook\n'
PUSHVARS = '[push]\npushvars.server = yes\n'
# A server that dies when it has the push and has delegated nothing.
KILLED = '[hooks]\nchangegroup.a = kill -9 $PPID\n'


def targets(world: World, *names: str, more: str = '') -> str:
    """[delegate] with NAMES (blog), all of them the world's deploy account."""
    lines = [
        f'{name} = ssh://{world.deploy.name}@localhost:{world.port}\n'
        for name in names or ['blog']
    ]
    return '[delegate]\n' + ''.join(lines) + more


def unreachable(world: World, *options: str) -> str:
    """[delegate] with a deploy account that cannot be reached."""
    lines = ''.join(f'blog:{option}\n' for option in options)
    return f'[delegate]\nblog = ssh://{world.deploy.name}@localhost:1\n{lines}'


def host_says(world: World, text: str) -> None:
    """The server account's own hgrc, which no repository can change."""
    world.server.write('.hgrc', '[delegate]\n' + text)
