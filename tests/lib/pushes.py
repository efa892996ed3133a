"""Pushes by clients that Mercurial does not have, and what is told of pushes.

What the tests of the context share.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from repositories import Clone, Completed, Push
from world import SERVE, World

# Commits one changeset for each branch, whatever bytes its name has.
COMMIT = """\
import sys
from mercurial import dispatch, context, hg, ui

repo = hg.repository(ui.ui.load(), b'.')
with repo.wlock(), repo.lock(), repo.transaction(b'crafted'):
    for branch in map(bytes.fromhex, sys.stdin):
        parents = repo[b'null'].node(), None
        context.memctx(
            repo, parents, b'crafted', [], lambda *args: None,
            b'me', b'0 0', {b'branch': branch},
        ).commit()
"""
# Extensions of the pusher's own.
BOOKMARKS = """\
import os
from mercurial import exchange

def crafted(pushop, bundler):
    node = pushop.repo[b'tip'].node()
    with open(os.path.expanduser('~/names')) as names:
        names = map(bytes.fromhex, names.read().split())
        pushop.outbookmarks += [(name, b'', node) for name in names]
    return exchange._pushb2bookmarks(pushop, bundler)

exchange.b2partsgenmapping[b'bookmarks'] = crafted
"""
PARTS = """\
from mercurial import changegroup, discovery, exchange

def crafted(pushop, bundler):
    pushop.stepsdone.add(b'changesets')
    common = pushop.outgoing.commonheads
    for node in pushop.outgoing.missing:
        outgoing = discovery.outgoing(pushop.repo, common, [node])
        stream = changegroup.makestream(
            pushop.repo, outgoing, b'02', b'push'
        )
        part = bundler.newpart(b'changegroup', data=stream)
        part.addparam(b'version', b'02')
        common = [node]
    pushop.cgresult = 1

exchange.b2partsgenmapping[b'changeset'] = crafted
"""


def serve(world: World, *assignments: str) -> None:
    """Let the server account serve with these variables set, in sh."""
    script = SERVE.format(hg=' '.join(world.hg))
    exports = ''.join(f'export {one}\n' for one in assignments)
    first, _, rest = script.partition('\n')
    world.server.write('serve', f'{first}\n{exports}{rest}', 0o755)


def told(world: World) -> Any:
    """The newest deploy's object, found to be as protocol 1 wants it."""
    deploy = world.deploys()[-1]
    line = deploy.input.decode('ascii')
    assert line.endswith('}\n') and line.count('\n') == 1
    context = json.loads(line)
    # all of it can be written in UTF-8 again
    json.dumps(context, ensure_ascii=False).encode()
    assert deploy.command == f'hg-delegate 1 blog {context["node"]}'
    assert re.fullmatch('[0-9a-f]{40}', context['node'])
    return context


def told_push(world: World) -> Any:
    (push,) = told(world)['pushes']
    return push


def as_extension(world: World, text: str) -> str:
    path = world.pusher.write('crafted.py', text)
    return f'extensions.crafted={path}'


def crafted_commits(world: World, clone: Clone, *branches: bytes) -> Completed:
    path = world.pusher.write('commit.py', COMMIT)
    return world.pusher.run(
        [world.python, str(path)],
        input=lines(branches).encode(),
        cwd=clone.path,
    )


def lines(names: Iterable[bytes]) -> str:
    return ''.join(name.hex() + '\n' for name in names)


def pushed_bookmarks(
    world: World, clone: Clone, *names: bytes, check: bool = True
) -> tuple[str, Push]:
    node = clone.commit()
    world.pusher.write('names', lines(names))
    extension = as_extension(world, BOOKMARKS)
    return node, clone.push('-f', '--config', extension, check=check)
