"""Who should know of an end is told: by hooks, and by mail."""

from __future__ import annotations

import contextlib
import email
import email.policy
import http.server
import json
import re
import shlex
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from functools import partial
from typing import Any

import pytest
import servers
from aiosmtpd.controller import Controller
from delegations import log
from hgrc import KILLED, targets, unreachable
from repositories import Clone, Repository
from sources import CHECKOUT
from waiting import until
from world import World

FAILS = 'cat >/dev/null\necho no space\nexit 3\n'
# Writes a line with what a hook may know, whatever else it is told.
HOOK = 'env | grep ^HG_ | sort | tr "\\n" " " >> $HOME/told; echo >> $HOME/told'
OURS = ('TARGET', 'STATE', 'NODE', 'PREVIOUS', 'ID', 'WAS')


def told(world: World) -> list[dict[str, str]]:
    """What the hook was told, time by time."""
    with contextlib.suppress(FileNotFoundError):
        return [
            dict(word.split('=', 1) for word in line.split(' ') if word)
            for line in world.server.read('told').splitlines()
        ]
    return []


def hooked(world: World, *more: str) -> str:
    lines = '\n'.join(more)
    return targets(world) + f'[hooks]\ndelegated = {HOOK}\n{lines}\n'


def check(repository: Repository) -> bytes:
    form = '{target}: {level}: {message}\n'
    return repository.hg('delegate-check', '-T', form, check=False).stdout


class Mailbox:
    """A real SMTP server, which keeps what it gets."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        self.recipients.append(envelope.rcpt_tos)
        policy = email.policy.default
        self.mails.append(
            email.message_from_bytes(envelope.content, policy=policy)
        )
        return '250 OK'

    def subjects(self) -> list[str]:
        return [str(mail['Subject']) for mail in self.mails]


@pytest.fixture(name='mailbox')
def with_a_mail_server() -> Iterator[tuple[Mailbox, int]]:
    mailbox = Mailbox()
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname='127.0.0.1', port=port)
    controller.start()
    yield mailbox, port
    controller.stop()


def mailed(port: int, *more: str) -> str:
    lines = '\n'.join(more)
    return (
        'blog:notify = ops@example.org, dev@example.org\nblog:retries = 0\n'
        f'{lines}\n[email]\nfrom = Deploys <hg@example.org>\nmethod = smtp\n'
        f'[smtp]\nhost = 127.0.0.1\nport = {port}\n'
    )


def test_each_end_runs_the_hooks_with_words_that_nobody_chose(
    world: World, repository: Repository, ready: Clone
) -> None:
    script = world.server.write(
        'hook.py',
        'import json, os\n'
        'def told(ui, repo, **kwargs):\n'
        '    words = {k: v.decode() for k, v in kwargs.items()'
        ' if isinstance(v, bytes)}\n'
        '    with open(os.path.expanduser("~/python"), "a") as file:\n'
        '        file.write(json.dumps([words, repo.root.decode()]) + "\\n")\n',
    )
    repository.hgrc(hooked(world, f'delegated.py = python:{script}:told'))
    first = ready.commit()
    ready.push()
    world.forced_command(FAILS)
    second = ready.commit()
    ready.push()
    until(lambda: len(told(world)) == 2 and world.server.read('python'))
    one, two = ({k: t.get(f'HG_{k}', '') for k in OURS} for t in told(world))
    assert one == {
        'TARGET': 'blog', 'STATE': 'succeeded', 'NODE': first,
        'PREVIOUS': '', 'ID': '1', 'WAS': '',
    }  # fmt: skip
    assert two == {
        'TARGET': 'blog', 'STATE': 'failed', 'NODE': second,
        'PREVIOUS': first, 'ID': '2', 'WAS': 'succeeded',
    }  # fmt: skip
    until(lambda: world.server.read('python').count('\n') == 2)
    words, root = json.loads(world.server.read('python').splitlines()[1])
    assert root == str(repository.path)
    assert {k: words[k.lower()] for k in OURS} == two


def test_a_hook_that_hangs_or_fails_delays_and_harms_nothing(
    world: World, repository: Repository, ready: Clone
) -> None:
    bad = 'delegated.a = echo $$ > $HOME/hangs; exec sleep 300'
    later = 'delegated.0 = (sleep 1; touch $HOME/later) >/dev/null 2>&1 &'
    failing = 'delegated.b = echo why >&2; exit 3'
    repository.hgrc(hooked(world, later, bad, failing))
    ready.commit()
    push = ready.push()
    assert b'delegate: blog: deployed' in push.remote[-1]
    until(lambda: len(told(world)) == 1)
    until(lambda: (world.server.home / 'hangs').exists())
    pid = world.server.read('hangs').strip()
    world.server.run(['kill', pid])
    untold = repository.path / '.hg/delegate/untold'
    until(untold.exists)
    until(lambda: world.server.read(untold).count('\n') == 3)
    checked = check(repository)
    assert b': warning: delegation 1: hook delegated.a: ' in checked
    assert b': warning: delegation 1: hook delegated.b: ' in checked
    assert b'delegated.b hook exited with status 3' in checked
    assert checked.count(b': warning: delegation ') == 2
    # as a member of a group can leave it
    with open(untold, 'ab') as file:
        file.write(b'9 \xff\n' + b'9 x\n' * 20000)
    assert check(repository).count(b': delegation 9: ') == 3
    ready.commit()
    repository.hgrc(hooked(world, later))
    (world.server.home / 'later').unlink(missing_ok=True)
    ready.push()
    until((world.server.home / 'later').exists)
    until(lambda: len(told(world)) == 2 and not untold.exists())


@pytest.mark.once
def test_what_a_killed_process_left_is_told_once_by_who_comes_next(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(hooked(world) + KILLED)
    ready.commit()
    ready.push(check=False)
    repository.hgrc(hooked(world))
    world.forced_command(FAILS)
    ready.commit()
    ready.push()
    until(lambda: len(told(world)) == 2)
    repository.hg('delegate-log')
    repository.hg('delegate', 'blog', check=False)
    until(lambda: len(told(world)) == 3)
    found = sorted((t['HG_ID'], t['HG_STATE']) for t in told(world))
    assert [state for _id, state in found] == ['superseded', 'failed', 'failed']
    assert len({id for id, _state in found}) == 3


def push(
    world: World, repository: Repository, ready: Clone, script: str | None
) -> None:
    """Push, and wait until nobody is about to tell how that ended."""
    world.forced_command(*([script] if script else []))
    ready.commit()
    ready.push()
    number = log(repository)[0]['id']
    done = 'SELECT count(*) FROM notice WHERE told AND number = ?'
    path = repository.path / '.hg/delegate/journal'
    ask = (
        'import sqlite3, sys; print(sqlite3.connect(sys.argv[1])'
        f'.execute({done!r}, [sys.argv[2]]).fetchone()[0])'
    )
    command = [world.python, '-c', ask, str(path), str(number)]
    until(lambda: world.server.run(command).stdout.strip() == b'1')
    lock = repository.path / '.hg/delegate/-told.lock'
    free = ['flock', '-n', str(lock), 'true']
    until(lambda: world.server.run(free, check=False).returncode == 0)


@pytest.mark.once
def test_a_mail_that_could_not_be_sent_goes_at_the_next_end(
    world: World,
    repository: Repository,
    ready: Clone,
    mailbox: tuple[Mailbox, int],
) -> None:
    box, port = mailbox
    refused = b': delegation 1: mail: Connection refused'
    repository.hgrc(targets(world, more=mailed(1)))
    push(world, repository, ready, FAILS)
    assert refused in check(repository)
    repository.hgrc(targets(world, more=mailed(port)))
    push(world, repository, ready, FAILS)
    push(world, repository, ready, FAILS)
    (subject,) = box.subjects()
    assert 'blog: failed' in subject
    assert b'warning: delegation' not in check(repository)
    # likewise the one that says that it works again
    repository.hgrc(targets(world, more=mailed(1)))
    push(world, repository, ready, None)
    assert b'mail: Connection refused' in check(repository)
    repository.hgrc(targets(world, more=mailed(port)))
    push(world, repository, ready, None)
    push(world, repository, ready, None)
    assert ['after it had' in each for each in box.subjects()] == [False, True]


@pytest.mark.once
@pytest.mark.parametrize('hooks', ['', f'[hooks]\ndelegated = {HOOK}\n'])
def test_the_next_outage_is_mailed_where_notify_was_away_between(
    world: World,
    repository: Repository,
    ready: Clone,
    mailbox: tuple[Mailbox, int],
    hooks: str,
) -> None:
    box, port = mailbox
    repository.hgrc(targets(world, more=mailed(port) + hooks))
    push(world, repository, ready, FAILS)
    repository.hgrc(targets(world, more=hooks))
    world.forced_command()
    ready.commit()
    ready.push()
    if hooks:
        until(lambda: len(told(world)) == 2)
    repository.hgrc(targets(world, more=mailed(port) + hooks))
    push(world, repository, ready, FAILS)
    push(world, repository, ready, FAILS)
    assert ['failed' in each for each in box.subjects()] == [True, True]


@pytest.mark.once
def test_mail_and_other_hooks_wait_for_no_hook_that_hangs(
    world: World,
    repository: Repository,
    ready: Clone,
    mailbox: tuple[Mailbox, int],
) -> None:
    box, port = mailbox
    hangs = 'echo . >> $HOME/hangs; until test -e $HOME/go; do sleep 0.1; done'
    hooks = f'[hooks]\ndelegated = {hangs}\ndelegated.z = {HOOK}\n'
    repository.hgrc(targets(world, more=mailed(port) + hooks))
    began = time.monotonic()
    for script in (FAILS, None, FAILS):
        world.forced_command(*([script] if script else []))
        ready.commit()
        ready.push()
    until(lambda: len(box.mails) == 3 and len(told(world)) == 3)
    assert world.server.read('hangs').count('.') == 1
    assert time.monotonic() - began < 50
    assert [t['HG_ID'] for t in told(world)] == ['1', '2', '3']
    world.server.write('go', '')
    until(lambda: world.server.read('hangs').count('.') == 3)


def test_one_mail_when_it_goes_wrong_and_one_when_it_works_again(
    world: World,
    repository: Repository,
    ready: Clone,
    mailbox: tuple[Mailbox, int],
) -> None:
    box, port = mailbox
    repository.hgrc(targets(world, more=mailed(port)))

    for script in (None, FAILS, FAILS, None, None):
        push(world, repository, ready, script)
    until(lambda: len(box.mails) == 2)
    name = repository.path.name
    wrong, again = box.mails
    assert wrong['Subject'].startswith(
        f'{name}: blog: failed: exit status 3 after '
    )
    assert again['Subject'].startswith(f'{name}: blog: deployed ')
    assert again['Subject'].endswith(', after it had gone wrong')
    assert wrong['From'] == 'Deploys <hg@example.org>'
    assert wrong['To'] == 'ops@example.org, dev@example.org'
    assert box.recipients == [['ops@example.org', 'dev@example.org']] * 2
    body = wrong.get_content()
    assert '\n  no space' in body and "'hg delegate-log 2'" in body
    assert str(repository.path) in body


@pytest.mark.once
def test_a_push_that_stays_pending_is_mailed_once(
    world: World,
    repository: Repository,
    ready: Clone,
    mailbox: tuple[Mailbox, int],
) -> None:
    box, port = mailbox
    repository.hgrc(unreachable(world) + mailed(port))
    ready.commit()
    ready.push()
    until(lambda: len(box.mails) == 1)
    repository.hg('delegate', '--pending', check=False)
    repository.hgrc(targets(world, more=mailed(port)))
    repository.hg('delegate', '--pending')
    until(lambda: len(box.mails) == 2)
    pending, again = box.subjects()
    assert 'blog: pending: connection refused' in pending
    assert 'blog: deployed ' in again


def test_mail_goes_through_a_program_and_its_failure_is_seen(
    world: World, repository: Repository, ready: Clone
) -> None:
    program = world.server.write(
        'sendmail', '#!/bin/sh\necho "$@" > ~/args; cat > ~/mail\n', 0o755
    )
    options = 'blog:notify = ops@example.org\n[email]\n'
    with_program = f'{options}method = {program}\n'
    repository.hgrc(targets(world, more=with_program))
    checked = check(repository)
    assert b'blog: ok: ops@example.org is told by mail' in checked
    world.forced_command(FAILS)
    ready.commit()
    ready.push()
    until(lambda: (world.server.home / 'mail').exists())
    until(lambda: 'no space' in world.server.read('mail'))
    assert world.server.read('args').split()[-1] == 'ops@example.org'
    for method, words in (
        ('/no/such/program', b'specified as email transport, but not in PATH'),
        ('smtp\n[smtp]\nhost = 127.0.0.1\nport = 1', b'Connection refused'),
    ):
        repository.hgrc(targets(world, more=f'{options}method = {method}\n'))
        world.forced_command()
        repository.hg('delegate', 'blog')
        world.forced_command(FAILS)
        repository.hg('delegate', 'blog', check=False)
        until(partial(_says, repository, words))


def _says(repository: Repository, words: bytes) -> bool:
    return words in check(repository)


@pytest.mark.once
def test_a_mail_server_that_hangs_delays_nothing(
    world: World, repository: Repository, ready: Clone
) -> None:
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen()
        silent.settimeout(60)
        options = mailed(silent.getsockname()[1])
        repository.hgrc(targets(world, more=options))
        world.forced_command(FAILS)
        ready.commit()
        pushed = ready.push()
        assert b'delegate: blog: failed' in b'\n'.join(pushed.remote)
        connection, _address = silent.accept()
        with connection:
            until(partial(_says, repository, b'mail: ended after 60 s'))
    # it may have gone: neither is it sent again, nor is that forgotten
    repository.hgrc(targets(world, more=mailed(1)))
    push(world, repository, ready, FAILS)
    assert b'1: mail: ended after 60 s' in check(repository)


def test_an_address_that_is_none_is_named(
    world: World, repository: Repository, ready: Clone
) -> None:
    for wrong in (
        'ops', 'ops@example.org\\n x', 'a b@c', '"x y"@example.org',
        '-oQ/tmp@example.org', 'zoë@example.org',
    ):  # fmt: skip
        repository.hgrc(targets(world, more=f'blog:notify = {wrong}\n'))
        checked = check(repository)
        assert b'is not a list of mail addresses' in checked


def test_the_recipes_of_the_manual_work(
    world: World, repository: Repository, ready: Clone
) -> None:
    asked: list[tuple[str, str | None, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers['Content-Length'])
            token = self.headers['PRIVATE-TOKEN']
            asked.append((self.path, token, self.rfile.read(size)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f'http://127.0.0.1:{server.server_address[1]}'
    text = (CHECKOUT / 'docs/watching.rst').read_text('utf-8')
    recipes = re.findall(
        r'^   (delegated\.\w+ = .*\n(?:     .*\n)+)', text, re.M
    )
    assert len(recipes) == 2
    hooks = re.sub(r'https://\w+\.example\.org', here, ''.join(recipes))
    # the one hg of the test, and no variable of ours in the way
    hooks = hooks.replace(
        'hg delegate-log', f'{shlex.join(world.hg)} delegate-log'
    )
    world.server.write('.gitlab-token', 'PRIVATE-TOKEN: secret\n', 0o600)
    repository.hgrc(targets(world) + f'[hooks]\n{hooks}')
    node = ready.commit()
    ready.push()
    until(lambda: len(asked) == 2)
    server.shutdown()
    server.server_close()
    found = {path: (token, body) for path, token, body in asked}
    token, body = found[f'/api/v4/projects/17/statuses/{node}']
    assert (token, body) == ('secret', b'state=success&name=deploy/blog')
    (told_of,) = json.loads(found['/deploys'][1])
    assert (told_of['node'], told_of['state']) == (node, 'succeeded')


@pytest.mark.once
def test_what_the_web_server_alone_reads_counts_too(
    world: World, repository: Repository, ready: Clone
) -> None:
    repository.hgrc(targets(world))
    ready.commit()
    with world.hgweb([repository], f'hooks.delegated={HOOK}') as url:
        ready.push(f'{url}/{repository.path.name}')
        until(lambda: len(told(world)) == 1)
    web = world.server.write('hooks.rc', f'[hooks]\ndelegated = {HOOK}\n')
    conf = world.web_conf([repository])
    world.server.write(conf, world.server.read(conf) + world.server.read(web))
    port = servers.free_port()
    command = [*world.hg, 'serve', '--web-conf', str(conf)]
    command += ['--address', '127.0.0.1', '--port', str(port)]
    ready.commit()
    with world.http(command, port) as url:
        ready.push(f'{url}/{repository.path.name}')
        until(lambda: len(told(world)) == 2)


def _is_told(world: World, times: int) -> bool:
    return len(told(world)) == times


@pytest.mark.once
def test_what_a_client_sets_in_its_environment_is_no_configuration(
    world: World, repository: Repository, ready: Clone
) -> None:
    forged = [
        ['hooks', f'delegated{name}', f'touch $HOME/forged{name}', 'x']
        for name in ('', '.forged')
    ]
    # sshd takes what the client sends, and so has it whoever starts hg
    folder = world.base / 'accepting'
    more = 'AcceptEnv HG_DELEGATE*\n'
    sshd = servers.Sshd(folder, world.accounts, more=more)
    try:
        known = f'[localhost]:{sshd.port} {sshd.host_keys[0]}\n'
        world.pusher.write('.ssh/known_hosts', known)
        seen = 'echo "$HG_DELEGATE_PRIVATE" >> $HOME/seen'
        url = repository.url.replace(f':{world.port}/', f':{sshd.port}/')
        ssh = shlex.join([*world.ssh(world.pusher), '-o', 'SendEnv=HG_*'])
        for count, waits in enumerate(('yes', 'no'), 1):
            # the server itself has it
            hooks = f'changegroup = {seen}\ndelegated.told = {HOOK}\n'
            options = f'blog:wait = {waits}\n[hooks]\n{hooks}'
            repository.hgrc(targets(world, more=options))
            ready.commit()
            private = {'HG_DELEGATE_PRIVATE': json.dumps(forged)}
            config = ('--config', f'ui.ssh={ssh}')
            ready.start_push(url, *config, env=private).finish()
            until(partial(_is_told, world, count))
        assert world.server.read('seen').count('forged.forged') == 2
        assert not list(world.server.home.glob('forged*'))
    finally:
        sshd.stop()
        shutil.rmtree(folder)


@pytest.mark.once
def test_a_mail_that_cannot_be_composed_harms_no_hook_and_is_seen(
    world: World, repository: Repository, ready: Clone
) -> None:
    options = (
        'blog:notify = ops@example.org\n[email]\nmethod = cat\nfrom = <@\n'
        f'[hooks]\ndelegated = {HOOK}\n'
    )
    repository.hgrc(targets(world, more=options))
    wrong = b"mail: email.from is not an address: '<@'"
    assert b'cannot be told by ' + wrong in check(repository)
    world.forced_command(FAILS)
    ready.commit()
    push = ready.push()
    assert b'delegate: blog: failed' in b'\n'.join(push.remote)
    until(lambda: len(told(world)) == 1)
    until(partial(_says, repository, b'delegation 1: ' + wrong))
