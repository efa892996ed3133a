"""hg delegate-receive: what a script gets, and what becomes of what it says."""

from __future__ import annotations

import shlex

import protocols
import pytest
from receivers import Receiver, commit, new_id, read_until
from repositories import Clone, Repository
from world import World

VARIABLES = {
    'HG_NODE',
    'HG_PREVIOUS',
    'DELEGATE_ID',
    'DELEGATE_TARGET',
    'DELEGATE_PUSHER',
    'DELEGATE_JSON',
}
# The last two are those of any sh.
OTHERS = {
    *('HOME', 'LANG', 'LOGNAME', 'PATH', 'SHELL', 'USER', 'PWD', '_'),
    *('PYTHONUNBUFFERED', 'TERM'),
}


@pytest.fixture
def receiver(world: World, repository: Repository) -> Receiver:
    receiver = Receiver(world, repository)
    receiver.install()
    return receiver


def test_it_clones_then_pulls_and_runs_the_script(
    receiver: Receiver, clone: Clone
) -> None:
    nodes = [commit(clone, {'page': f'version {n}\n'}) for n in range(2)]
    receiver.todo('cat page\necho to stderr >&2\n')
    for number, node in enumerate(nodes):
        ended = receiver.deploy(node)
        said = b'version %d\nto stderr\n' % number
        assert (ended.returncode, ended.stdout) == (0, said)
        assert ended.stderr == b''
    assert receiver.runs() == nodes
    assert (receiver.clone / 'page').read_text() == 'version 1\n'
    again = receiver.deploy(nodes[0])
    assert again.stdout.startswith(b'version 0\n')


def test_a_script_finds_its_variables_and_nothing_of_the_session(
    receiver: Receiver, clone: Clone
) -> None:
    account = receiver.account
    line = account.read('.ssh/authorized_keys')
    noise = 'export HGUSER=x LC_ALL=C LANGUAGE=de PYTHONPATH=/x SECRET=x; '
    account.write(
        '.ssh/authorized_keys', line.replace('command="', f'command="{noise}')
    )
    node = commit(clone)
    receiver.todo('cat "$DELEGATE_JSON"\nls -l "$DELEGATE_JSON" >~/mode\ncat\n')
    request, data = protocols.deploy(node, previous='9' * 40)
    ended = receiver.ask(request, data)
    assert (ended.returncode, ended.stdout) == (0, data)
    environ = receiver.environment()
    assert set(environ) - {'XDG_RUNTIME_DIR'} <= VARIABLES | OTHERS
    assert environ['HG_NODE'] == node
    assert environ['HG_PREVIOUS'] == '9' * 40
    assert environ['DELEGATE_TARGET'] == 'blog'
    assert environ['DELEGATE_PUSHER'] == 'alice'
    assert environ['HOME'] == str(account.home)
    assert environ['PATH'] == '/usr/local/bin:/usr/bin:/bin'
    assert environ['PWD'] == str(receiver.clone)
    assert account.read('mode').startswith('-rw------- ')


@pytest.mark.once
def test_its_line_can_set_more_variables(
    receiver: Receiver, clone: Clone
) -> None:
    line = ('--env', 'STAGE=a b=$c', '--env', 'PATH=/bin', '--env', 'HG_NODE=x')
    receiver.account.authorize(
        receiver.world.key(receiver.world.server),
        'exec ' + shlex.join([*receiver.command(), *line]),
    )
    node = commit(clone)
    assert receiver.deploy(node).returncode == 0
    environ = receiver.environment()
    assert (environ['STAGE'], environ['PATH']) == ('a b=$c', '/bin')
    # which the server tells
    assert environ['HG_NODE'] == node


def test_a_secret_that_its_line_sets_is_not_shown(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.account.authorize(
        receiver.world.key(receiver.world.server),
        'exec ' + shlex.join([*receiver.command(), '--env', 'DB_TOKEN=s3cret']),
    )
    receiver.todo('printf s3; sleep 0.3; echo "cret $DB_TOKEN."\n')
    said = receiver.deploy(commit(clone))
    assert said.returncode == 0
    assert b'*** ***.' in said.stdout and b's3' not in said.stdout


@pytest.mark.once
def test_what_is_not_known_is_an_empty_variable(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.deploy(commit(clone), pushes=[])
    environ = receiver.environment()
    assert environ['HG_PREVIOUS'] == environ['DELEGATE_PUSHER'] == ''


@pytest.mark.once
def test_what_a_pusher_names_is_in_no_command_and_no_file_name(
    receiver: Receiver, clone: Clone
) -> None:
    name = '$(touch ~/oops)`touch ~/oops`;\n\x1b[2J\u202e\0"é'
    pushes = [{**protocols.PUSH, 'pusher': name, 'variables': {name: name}}]
    receiver.todo('touch ready; tr "\\0" " " </proc/$PPID/cmdline >~/parent\n')
    assert receiver.deploy(commit(clone), pushes=pushes).returncode == 0
    told = receiver.environment()['DELEGATE_PUSHER']
    assert told == '$(touch ~/oops)`touch ~/oops`;??[2J??"é'
    assert 'oops' not in receiver.account.read('parent')
    home = receiver.account.home
    names = [path.name for path in home.rglob('*')]
    assert 'ready' in names
    assert not [name for name in names if 'oops' in name or 'alice' in name]


def test_a_script_comes_from_the_changeset(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.install(run='./tools/deploy.sh --fast "a b"')
    script = clone.path / 'tools' / 'deploy.sh'
    clone.owner.write(script, '#!/bin/sh\necho one "$@"\n', 0o755)
    one = commit(clone)
    clone.owner.write(script, '#!/bin/sh\necho two "$2"\n', 0o755)
    two = commit(clone)
    assert receiver.deploy(two).stdout == b'two a b\n'
    assert receiver.deploy(one).stdout == b'one --fast a b\n'


@pytest.mark.once
@pytest.mark.parametrize(
    ('status', 'mode', 'text', 'remedy'),
    [
        (127, None, '', 'it is not in this changeset'),
        (127, 0o755, '#!/bin/sh\r\n', 'its first line ends with CR: '),
        (126, 0o644, '#!/bin/sh\n', 'make it executable: chmod +x'),
        (126, 0o755, 'no interpreter\n', 'it must begin with #!'),
        (127, 0o755, '#!/no/such/program\n', 'what its first line names'),
    ],
)
def test_a_script_that_cannot_run_is_named(
    receiver: Receiver,
    clone: Clone,
    status: int,
    mode: int | None,
    text: str,
    remedy: str,
) -> None:
    receiver.install(run='./deploy.sh')
    if mode:
        clone.owner.write(clone.path / 'deploy.sh', text, mode)
    ended = receiver.deploy(commit(clone))
    assert ended.returncode == status
    assert ended.stdout.startswith(
        b'delegate-receive: cannot run ./deploy.sh: '
    )
    assert f'\n({remedy}' in ended.stdout.decode()


@pytest.mark.once
def test_a_script_that_is_a_folder_is_named(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.install(run='./tools')
    ended = receiver.deploy(commit(clone, {'tools/a': 'a'}))
    assert ended.returncode == 126
    assert b'\n(it is a folder; --run names a program)\n' in ended.stdout


@pytest.mark.once
def test_its_exit_status_is_passed_on(receiver: Receiver, clone: Clone) -> None:
    node = commit(clone)
    for status in (3, 255):
        receiver.todo(f'echo oops\nexit {status}\n')
        ended = receiver.deploy(node)
        assert (ended.returncode, ended.stdout) == (status, b'oops\n')


@pytest.mark.once
def test_output_comes_while_it_is_printed(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo(
        'for i in 1 2 3; do\nprintf "step $i"\n'
        'until [ -e ~/go$i ]; do sleep 0.01; done\ndone\n'
    )
    process = receiver.start(*protocols.deploy(commit(clone)))
    for step in (b'1', b'2', b'3'):
        assert read_until(process, b'step ' + step)
        receiver.account.write(f'go{step.decode()}', '')
    assert process.communicate(timeout=60) == (b'', b'')
    assert process.returncode == 0


@pytest.mark.once
def test_all_of_a_long_output_comes_in_order(
    receiver: Receiver, clone: Clone
) -> None:
    receiver.todo('seq 300000\necho last >/dev/stderr\n')
    ended = receiver.deploy(commit(clone))
    numbers = b''.join(b'%d\n' % n for n in range(1, 300001))
    assert ended.stdout == numbers + b'last\n'


@pytest.mark.once
def test_what_a_script_leaves_running_goes_on(
    receiver: Receiver, clone: Clone
) -> None:
    # with the script's own output, which nobody reads any more
    receiver.todo(
        '(until [ -e ~/go ]; do echo tick; sleep 0.01; done; echo >~/gone) &\n'
        'echo started\n'
    )
    node = commit(clone)
    ended = receiver.deploy(node)
    assert ended.returncode == 0
    said, hint = ended.stdout.replace(b'tick\n', b'').split(b'\n', 1)
    assert said == b'started'
    assert hint.startswith(
        b'delegate-receive: something that it has left running keeps its '
        b'output open\n('
    )
    receiver.todo('')
    assert receiver.deploy(node).returncode == 0
    receiver.account.write('go', '')
    while not (receiver.account.home / 'gone').exists():
        pass


@pytest.mark.once
def test_status_tells_what_became_of_an_id(
    receiver: Receiver, clone: Clone
) -> None:
    node, id = commit(clone), new_id()
    told = receiver.status(id)
    assert (told['id'], told['state'], told['began']) == (id, 'unknown', None)
    receiver.todo('exit 3\n')
    receiver.deploy(node, id=id)
    told = receiver.status(id)
    assert (told['state'], told['status'], told['node']) == ('failed', 3, node)
    assert told['target'] == 'blog' and told['signal'] is None
    receiver.todo('kill -USR1 $$\n')
    id = new_id()
    receiver.deploy(node, id=id)
    told = receiver.status(id)
    assert (told['state'], told['status']) == ('failed', None)
    assert told['signal'] == 'USR1'
    other = receiver.ask(*protocols.named('status', id, target='other'))
    assert (other.returncode, other.stdout) == (2, b'')


def test_paramiko_is_not_loaded(receiver: Receiver, clone: Clone) -> None:
    account = receiver.account
    # the extension's own name, so that it is loaded last
    account.write(
        'guard.py',
        'import os, sys\n'
        'def uisetup(ui):\n'
        '    end = os._exit\n'
        '    def note(status):\n'
        '        with open(os.path.expanduser("~/loaded"), "a") as out:\n'
        '            out.write(str(sorted(sys.modules)))\n'
        '        end(status)\n'
        '    os._exit = note\n',
    )
    guard = f'extensions.guard={account.home}/guard.py'
    receiver.install('--config', guard)
    assert receiver.deploy(commit(clone)).returncode == 0
    loaded = account.read('loaded')
    assert "'hgext_delegate.receiver.supervisor'" in loaded
    for name in ('paramiko', 'hgext_delegate.ssh.session'):
        assert f"'{name}'" not in loaded


def test_a_folder_that_cannot_be_used_is_named(receiver: Receiver) -> None:
    receiver.install(state='/proc/state')
    ended = receiver.deploy('1' * 40)
    assert (ended.returncode, ended.stdout) == (121, b'')
    assert ended.stderr.startswith(b'delegate-receive: cannot receive: ')
    assert ended.stderr.endswith(b'\n(see /proc/state)\n')


@pytest.mark.once
@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'clone': ''}, b'abort: --clone is missing'),
        ({'run': ''}, b'abort: --run is missing'),
        ({'run': '"'}, b'abort: --run: no closing quotation'),
        ({'timeout': '0'}, b"abort: '0' is not a duration"),
        ({'timeout': '1 day'}, b"abort: '1 day' is not a duration"),
        ({'env': 'A-B=c'}, b"abort: --env: 'A-B=c' is not NAME=VALUE"),
        ({'install': 'x'}, b'abort: --install takes no other option'),
    ],
)
def test_a_mistake_on_the_command_line_is_named(
    receiver: Receiver, options: dict[str, str], said: bytes
) -> None:
    command = receiver.command(**options)
    ended = receiver.account.run(command, check=False)
    assert ended.returncode != 0
    assert ended.stderr.startswith(said)
