"""Who pushed, as sshd, a web server or their extensions know it."""

from __future__ import annotations

from typing import Any

import pushes
import pytest
import servers
import verdict
from hgrc import targets
from repositories import Clone, Repository
from world import World

# As mercurial-server does it: the name of the key is kept in this process.
RULE_SET = """\
import sys, types

class Ruleset:
    preset = {'user': b'zo\\xc3\\xab/laptop'}

    def get(self, key):
        return self.preset.get(key, None)

sys.modules['mercurialserver.ruleset'] = types.SimpleNamespace(rules=Ruleset())
"""
# As Kallithea does it: hgweb in its own process, which says who it is.
KALLITHEA = """\
import json, os
os.environ['KALLITHEA_EXTRAS'] = json.dumps({'username': 'zo\\xeb'})
"""
# hgweb behind a web server that has found out who REMOTE_USER is, or not.
WSGI = """\
import os, sys
from wsgiref import simple_server
from mercurial import dispatch
from mercurial.hgweb import hgweb_mod

path, port, user = sys.argv[1:]
os.environ['REMOTE_USER'] = 'nobody'
hgweb = hgweb_mod.hgweb(os.fsencode(path))

def application(environ, start_response):
    if user:
        environ['REMOTE_USER'] = user
    return hgweb(environ, start_response)

simple_server.WSGIServer.address_family = 2
simple_server.make_server('127.0.0.1', int(port), application).serve_forever()
"""
# A client that sends headers of its own.
HEADERS = """\
from mercurial import extensions, url

def opener(orig, *args, **kwargs):
    made = orig(*args, **kwargs)
    made.addheaders += [('Remote-User', 'mallory'), ('Hgk-Username', 'mallory')]
    return made

extensions.wrapfunction(url, 'opener', opener)
"""


def pusher(world: World) -> Any:
    return pushes.told_push(world)['pusher']


def test_nothing_that_came_by_ssh_names_the_pusher(
    world: World, repository: Repository, ready: Clone
) -> None:
    more = 'user-variables = LC_USER, SSH_ORIGINAL_COMMAND HGUSER TERM\n'
    repository.hgrc(targets(world, more=more))
    names = ('REMOTE_USER', 'LC_USER', 'TERM', 'HTTP_REMOTE_USER', 'LANG')
    pushes.serve(world, *(f'{name}=mallory' for name in names))
    ready.commit()
    ready.push('--config', 'ui.username=mallory')
    assert pusher(world) is None
    pushes.serve(world, 'HGUSER="alice a"')
    ready.commit()
    ready.push()
    assert pusher(world) == 'alice a'


@pytest.mark.parametrize(
    ('extension', 'name'), [(RULE_SET, 'zo\xeb/laptop'), (KALLITHEA, 'zo\xeb')]
)
def test_what_runs_in_the_same_process_names_the_pusher(
    world: World,
    repository: Repository,
    ready: Clone,
    extension: str,
    name: str,
) -> None:
    path = world.server.write('server.py', extension)
    more = f'[extensions]\nserver = {path}\n'
    repository.hgrc(targets(world) + more)
    ready.commit()
    ready.push()
    assert pusher(world) == name


@pytest.mark.parametrize(
    ('user', 'variables', 'name'),
    [
        ('', '', None),
        ("o'neil $(id)", '', "o'neil $(id)"),
        ('', 'HTTP_REMOTE_USER', 'mallory'),
        ('alice', 'HTTP_REMOTE_USER', 'alice'),
    ],
)
def test_a_web_server_names_the_pusher_and_a_header_does_not(
    world: World,
    repository: Repository,
    ready: Clone,
    user: str,
    variables: str,
    name: str | None,
) -> None:
    repository.hgrc(
        targets(world, more=f'user-variables = {variables}\n')
        + '[web]\nallow-push = *\npush_ssl = no\n'
    )
    script = world.server.write('app.py', WSGI)
    port = servers.free_port()
    command = [world.python, str(script), str(repository.path), str(port), user]
    headers = ('--config', pushes.as_extension(world, HEADERS))
    ready.commit()
    with world.http(command, port) as url:
        ready.push(*headers, url)
    assert pusher(world) == name


def test_heptapod_and_hgkeeper_name_the_pusher_over_ssh(
    world: World, ready: Clone
) -> None:
    for name in ('HEPTAPOD_USERINFO_USERNAME', 'HGK_USERNAME'):
        pushes.serve(world, f'{name}=$(printf "zo\\303\\253")')
        ready.commit()
        ready.push()
        assert pusher(world) == 'zo\xeb'


@pytest.mark.once
def test_a_flood_forges_none_of_our_lines(
    world: World, repository: Repository, clone: Clone
) -> None:
    """Its end may stand as a line of its own at the pusher."""
    repository.hgrc(targets(world, more='blog:output-limit = 1 GB\n'))
    forged = 'delegate: blog: deployed 0123456789ab in 1.0 s'
    flood = f"seq -f '%g some words {forged}' 200000\n"
    world.forced_command('. ./record\n' + flood)
    node = clone.commit()
    push = clone.push()
    assert verdict.among(push.remote) == [verdict.deployed(node)]
    assert sum(b'blog| ' in line for line in push.remote) > 190_000
