"""hg delegate-receive --box: a script cannot keep the account."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import protocols
import pytest
from accounts import ROOT
from receivers import Receiver, commit, new_id, read_until
from repositories import Clone, Repository
from setups import LINE, pasted, setup, url
from waiting import until
from world import World

from hgext_delegate.receiver import landlock

pytestmark = pytest.mark.once

# Connects to the socket that it is named; '@' stands for an abstract one.
CONNECT = """\
import socket, sys
name = sys.argv[1].replace('@', '\\0', 1)
socket.socket(socket.AF_UNIX).connect(name)
"""
# Ignores TERM; the last of it has left the session.
FAMILY = """\
#!/bin/bash
setsid sh -c 'trap "" TERM; while :; do sleep 0.1; done' &
(trap '' TERM; while :; do sleep 0.1; done) &
trap 'echo told to end; told=$SECONDS' TERM
sleep 0.3
echo begun
while :; do
    sleep 0.1
    [ -z "$told" ] || [ $((SECONDS - told)) -lt 4 ] || echo 4 s later
done
"""
# What a script would do to keep the account, each line by itself.
KEEP = """\
#!/bin/sh
cd "$(dirname "$0")"
exec 2>/dev/null
h=HOME_OF_ACCOUNT
echo "home: $(ls -A ~ | tr '\\n' ' ')"
mkdir -p $h/.ssh
cat $h/.ssh/id_secret
cat .hg/hgrc .hg/delegate-source
echo kept >>$h/.ssh/authorized_keys
echo kept >>$h/.profile
printf '[hooks]\\npre-update = touch %s/kept\\n' $h >>$h/.hgrc
printf '[hooks]\\npre-update = touch %s/kept\\n' $h >>.hg/hgrc
mv .hg old
rm -rf .hg
unshare -Urm sh -c 'umount .hg; mount -o remount,bind,rw .hg;
    mount --bind . /tmp; echo kept >>/tmp/.hg/hgrc; echo kept >>.hg/requires'
echo kept >>.hg/requires
find / -xdev -path /proc -prune -o -name journal -path '*hg-delegate*' -print
echo '* * * * * touch '$h/kept | crontab - && echo cron
echo "touch $h/kept" | at now && echo at
systemctl --user list-units && echo systemctl
ls /proc/VICTIM/environ && echo seen
python3 -c 'import ctypes
ctypes.CDLL(None).ptrace(0x4206, VICTIM, 0, 0) or print("traced")'
python3 -c 'import ctypes, platform
number = 248 if platform.machine() == "x86_64" else 217
ctypes.CDLL(None).syscall(number, b"user", b"kept", b"x", 1, -3) > 0 and (
    print("keyring"))'
kill -9 VICTIM && echo killed
for name in SOCKETS; do
    python3 connect.py $name && echo reached $name
done
grep -c 1 /proc/self/fdinfo/[3-9]* && echo descriptors
grep NoNewPrivs /proc/self/status
echo "object: $(cat "$DELEGATE_JSON")"
echo made >made-in-clone
echo made >"WRITABLE/made"
echo "$(hg --version -q 2>/dev/null)" >/dev/null
exit 3
"""


@pytest.fixture
def receiver(world: World, repository: Repository) -> Receiver:
    return Receiver(world, repository)


def install(receiver: Receiver, last: str = '--box', **options: str) -> None:
    receiver.install(last=last, run='./deploy.sh', **options)


def deployable(clone: Clone, script: str, **files: str) -> str:
    """Deliver SCRIPT as deploy.sh; the node."""
    clone.commit(files={'deploy.sh': script, **files})
    (clone.path / 'deploy.sh').chmod(0o755)
    return commit(clone)


# Makes files with the setuid or setgid bit by each system call that can.
BITS = """\
#!/usr/bin/env python3
import ctypes, os, platform, stat, struct, subprocess
libc = ctypes.CDLL(None, use_errno=True)
x86 = platform.machine() == 'x86_64'

def call(*args):
    if libc.syscall(*args) < 0:
        raise OSError(ctypes.get_errno(), 'refused')

def plain(name):
    open(name, 'w').close()
    os.chmod(name, 0o755)
    return name

def tmpfile():
    fd = os.open('.', os.O_TMPFILE | os.O_WRONLY, 0o4755)
    os.link(f'/proc/self/fd/{fd}', 'tmpfile', src_dir_fd=0)

def openat2():
    how = struct.pack('=QQQ', os.O_CREAT | os.O_WRONLY, 0o4755, 0)
    call(437, -100, b'openat2', how, len(how))

def nested():
    plain('nested')
    subprocess.run(['unshare', '-Ur', 'chmod', '4755', 'nested'], check=True)

def i386():
    # int 0x80: chmod(name, 04755), with the name below 4 GB
    import mmap
    plain('i386')
    libc.mmap.restype = ctypes.c_void_p
    low = libc.mmap(0x10000, 4096, 7, 0x32, -1, 0)
    code = b'\\x53\\xb8\\x0f\\0\\0\\0\\xbb\\0\\x08\\x01\\0\\xb9\\xed\\x09\\0\\0'
    ctypes.memmove(low, code + b'\\xcd\\x80\\x5b\\xc3', len(code) + 4)
    ctypes.memmove(low + 0x800, b'i386\\0', 5)
    if os.fork() == 0:
        ctypes.CFUNCTYPE(ctypes.c_long)(low)()
        os._exit(0)
    os.wait()

ways = {
    'chmod': lambda: os.chmod(plain('chmod'), 0o4755),
    'setgid': lambda: os.chmod(plain('setgid'), 0o2755),
    'fchmod': lambda: os.fchmod(os.open(plain('fchmod'), 0), 0o4755),
    'fchmodat': lambda: os.chmod(plain('fchmodat'), 0o4755, dir_fd=3),
    'fchmodat2': lambda: call(452, -100, plain('at2').encode(), 0o4755, 0),
    'open': lambda: os.open('open', os.O_CREAT | os.O_WRONLY, 0o4755),
    'mknod': lambda: os.mknod('mknod', stat.S_IFREG | 0o4755),
    'openat2': openat2,
    'nested': nested,
}
if x86:
    ways['open2'] = lambda: call(2, b'open2', 0o101, 0o4755)
    ways['creat'] = lambda: call(85, b'creat', 0o4755)
    ways['mknod2'] = lambda: call(133, b'mknod2', 0o104755, 0)
    ways['x32'] = lambda: call(0x4000005A, plain('x32').encode(), 0o4755)
    ways['i386'] = i386
ways['tmpfile'] = tmpfile
os.umask(0)
os.open('.', os.O_RDONLY)
for name, way in ways.items():
    if os.fork() == 0:
        try:
            way()
        except Exception as exc:
            print(name, exc, flush=True)
        os._exit(0)
    os.wait()
# io_uring opens files as well
print('io_uring', libc.syscall(425, 1, bytes(120)))
found = [n for n in os.listdir('.') if os.lstat(n).st_mode & 0o6000]
print('made:', *sorted(found))
plain('plain')
os.chmod('plain', 0o1777)
"""


@pytest.fixture
def victim(receiver: Receiver) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the deploy account's that is not in the box."""
    process = receiver.account.popen(['sleep', '3600'])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def sockets(receiver: Receiver) -> Iterator[list[str]]:
    """Sockets on which somebody listens, who would do what they are told."""
    account = receiver.account
    places = [account.home]
    with ExitStack() as stack:
        if ROOT:
            runtime = Path(f'/run/user/{account.uid}')
            runtime.mkdir(parents=True)
            stack.callback(runtime.rmdir)
            elsewhere = Path('/srv', account.name)
            elsewhere.mkdir()
            stack.callback(elsewhere.rmdir)
            places += [runtime, elsewhere, Path('/run')]
        names = [str(place / f'{account.name}.sock') for place in places]
        names.append(f'@{account.name}')
        for name in names:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(name.replace('@', '\0', 1))
            stack.callback(listening.close)
            if name.startswith('/'):
                stack.callback(os.unlink, name)
                os.chmod(name, 0o777)
            listening.listen(99)
        yield names


def test_a_script_in_a_box_cannot_keep_the_account(
    receiver: Receiver,
    clone: Clone,
    victim: subprocess.Popen[bytes],
    sockets: list[str],
) -> None:
    account = receiver.account
    writable = account.mkdir('cache')
    account.write('.ssh/id_secret', 'the secret key\n', 0o600)
    account.write('.profile', '')
    script = KEEP.replace('HOME_OF_ACCOUNT', str(account.home))
    script = script.replace('VICTIM', str(victim.pid))
    script = script.replace('SOCKETS', ' '.join(sockets))
    script = script.replace('WRITABLE', str(writable))
    node = deployable(clone, script, **{'connect.py': CONNECT})
    # without the network no socket could be reached in any case
    alone = '' if landlock.is_there() else '--no-network'
    install(receiver, f'--box {alone} --writable {writable}')
    keys = account.read('.ssh/authorized_keys')
    request, data = protocols.deploy(node)
    done = receiver.ask(request, data)
    assert done.returncode == 3, done
    lines = done.stdout.decode().splitlines()
    told = [line for line in lines if line.startswith('object: ')]
    assert json.loads(told[0][8:]) == json.loads(data)
    assert [line for line in lines if line not in told] == [
        'home: cache clone ',
        'NoNewPrivs:\t1',
    ]
    assert (receiver.clone / 'made-in-clone').exists()
    assert (writable / 'made').read_text() == 'made\n'
    assert account.read('.ssh/authorized_keys') == keys
    assert account.read('.profile') == ''
    assert not (account.home / '.hgrc').exists()
    assert 'kept' not in (receiver.clone / '.hg/hgrc').read_text()
    assert victim.poll() is None
    # Nor has it left anything that the receiver's own hg would obey.
    assert receiver.deploy(node).returncode == 3
    assert not (account.home / 'kept').exists()
    # All of that was there to be had.
    install(receiver, '')
    done = receiver.deploy(node)
    said = done.stdout.decode()
    account.run(['sh', '-c', 'crontab -r; atrm $(atq | cut -f 1)'], check=False)
    for name in sockets:
        assert f'reached {name}\n' in said, done
    # (where Linux's yama lets it, 'traced' as well)
    for word in (
        *('the secret key', 'killed', 'seen', 'cron', 'at', 'keyring'),
    ):
        assert f'{word}\n' in said, done
    assert 'kept' in account.read('.ssh/authorized_keys')


def test_a_script_in_a_box_makes_nothing_setuid(
    receiver: Receiver, clone: Clone
) -> None:
    node = deployable(clone, BITS)
    made = {}
    for box in ('--box', ''):
        install(receiver, box)
        done = receiver.deploy(node)
        assert done.returncode == 0, done
        (line,) = re.findall(rb'^made:(.*)', done.stdout, re.MULTILINE)
        made[box] = line.decode().split(), done.stdout.decode()
        for path in receiver.clone.iterdir():
            if path.is_file() and path.name not in ('deploy.sh', 'file'):
                path.unlink()
    assert made['--box'][0] == [], made
    assert 'io_uring -1\n' in made['--box'][1]
    # All of that makes one elsewhere, but for what this kernel has not.
    usual = {'chmod', 'setgid', 'fchmod', 'fchmodat', 'open', 'mknod'}
    usual |= {'openat2', 'nested', 'tmpfile'}
    if os.uname().machine == 'x86_64':
        usual |= {'open2', 'creat', 'mknod2', 'i386'}
    assert usual <= {*made[''][0]}, made


def test_it_ends_as_it_would_without_a_box(
    receiver: Receiver, clone: Clone
) -> None:
    for text, end, said in [
        ('exit 143', (143, None), b''),
        ('kill -TERM $$', (None, 'TERM'), b''),
        ('kill -KILL $$', (None, 'KILL'), b''),
        ('exec >&2; printf half', (0, None), b'half'),
        ('exec > >(sleep 0.3; cat); echo late', (0, None), b'late\n'),
    ]:
        shell = '/bin/bash' if '>(' in text else '/bin/sh'
        node = deployable(clone, f'#!{shell}\n{text}\n')
        for box in ('--box', ''):
            install(receiver, box)
            id = new_id()
            done = receiver.deploy(node, id=id)
            assert done.stdout == said, (text, box, done)
            told = receiver.status(id)
            assert (told['status'], told['signal']) == end, (text, box)
    for text, status, why in [
        ('#!/nowhere/there\n', 127, b'what its first line names after #!'),
        ('#!/bin/sh\r\n', 127, b'its first line ends with CR'),
        ('echo\n', 126, b'it must begin with #!'),
    ]:
        node = deployable(clone, text)
        for box in ('--box', ''):
            install(receiver, box)
            done = receiver.deploy(node)
            assert done.returncode == status, done
            assert why in done.stdout, done


def test_cancel_and_limits_reach_all_that_is_in_the_box(
    receiver: Receiver, clone: Clone
) -> None:
    node = deployable(clone, FAMILY)
    for how, status in ('cancel', 125), ('time', 124), ('signal', 125):
        install(receiver, '--box', timeout='6s' if how == 'time' else '1h')
        id = new_id()
        process = receiver.start(*protocols.deploy(node, id=id))
        out = read_until(process, b'begun')
        (supervisor,) = receiver.supervisors()
        began = time.monotonic()
        if how == 'cancel':
            assert receiver.status(id, 'cancel')['state'] == 'cancelled'
        elif how == 'signal':
            os.kill(supervisor, signal.SIGTERM)
        out += process.communicate(timeout=60)[0]
        assert process.returncode == status, out
        assert b'told to end\n' in out
        # its five seconds, and then all are gone
        assert b'4 s later\n' in out
        assert how == 'time' or time.monotonic() - began > 4.9
        assert not receiver.processes('while :')


def test_a_receiver_that_is_killed_leaves_nothing_of_its_box(
    receiver: Receiver, clone: Clone
) -> None:
    node = deployable(clone, FAMILY)
    install(receiver)
    id = new_id()
    process = receiver.start(*protocols.deploy(node, id=id))
    read_until(process, b'begun')
    (supervisor,) = receiver.supervisors()
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not receiver.processes('while :'))
    process.communicate(timeout=60)
    assert process.returncode == 120
    assert receiver.status(id)['state'] == 'lost'


def test_what_a_script_leaves_running_ends_with_its_box(
    receiver: Receiver, clone: Clone
) -> None:
    left = 'setsid sh -c "while :; do sleep 0.1; done"'
    node = deployable(clone, f'#!/bin/sh\n{left} >/dev/null 2>&1 &\necho x\n')
    install(receiver)
    done = receiver.deploy(node)
    assert done.returncode == 0, done
    assert done.stdout.startswith(
        b'x\ndelegate-receive: what it has left running has ended with the box'
    )
    assert not receiver.processes('while :')


def test_what_would_open_the_box_is_refused(
    receiver: Receiver, clone: Clone
) -> None:
    node = deployable(clone, '#!/bin/sh\necho ran\n', **{'live/x': ''})
    account = receiver.account
    account.mkdir('.ssh')
    account.mkdir('.cache/pip')
    link = account.home / 'link'
    link.symlink_to('.ssh')
    account.mkdir('repos')
    account.mkdir('live/new')
    (account.home / 'way').symlink_to('live/new')
    cases = {
        '--writable ~': b'cannot be writable in a box',
        '--writable /': b'cannot be writable in a box',
        '--writable ~/.ssh': b'by %s/.ssh a script could leave it',
        '--writable ~/link': b'by %s/.ssh a script could leave it',
        '--writable ~/.local/state': b'by %s/.local/state/hg-delegate a script',
        '--writable ~/clone/.hg': b'by %s/clone/.hg a script could leave it',
        '--writable /run/user': b'cannot be writable in a box',
        '--writable ~/nowhere': b'/nowhere: No such file or directory',
        # the next run would follow a link that a script leaves there
        '--writable ~/live/new --writable ~/live': b'live, which is writable',
        '--writable ~/live --writable ~/way': b'live, which is writable',
        '--writable ~/clone/live': b'/clone, which is writable',
    }
    for last, why in cases.items():
        last = last.replace('~', str(account.home))
        install(receiver, f'--box {last}')
        done = receiver.deploy(node)
        assert done.returncode == 126, (last, done)
        why = why.replace(b'%s', bytes(account.home))
        assert why in done.stdout and b'ran' not in done.stdout, (last, done)
    for last, why in {
        '--writable /srv': b'--writable is for a box',
        '--no-network': b'--no-network is for a box',
        '--box --subrepos': b'--box and --subrepos do not go together',
    }.items():
        install(receiver, last)
        done = receiver.deploy(node)
        assert done.returncode == 255 and why in done.stderr, (last, done)
    install(receiver, f'--box --writable {account.home}/.cache/pip')
    assert receiver.deploy(node).stdout == b'ran\n'


def test_without_a_box_nothing_is_run(receiver: Receiver, clone: Clone) -> None:
    node = deployable(clone, '#!/bin/sh\necho ran\n')
    node_request, data = protocols.deploy(node)
    # no user namespace below this one, as on a host that forbids them
    forbid = (
        'unshare --user --map-current-user --keep-caps sh -c '
        '"echo 0 >/proc/sys/user/max_user_namespaces; '
        'exec setpriv --inh-caps=-all --ambient-caps=-all -- \\"\\$@\\"" sh '
    )
    command = shlex.join([*receiver.command(run='./deploy.sh'), '--box'])
    done = receiver.account.run(
        ['sh', '-c', forbid + command],
        input=data,
        env={'SSH_ORIGINAL_COMMAND': node_request},
        check=False,
    )
    assert done.returncode == 126, done
    assert b'there is no box: this host forbids user namespaces' in done.stdout
    assert b'sysctl -w user.max_user_namespaces' in done.stdout
    assert b'ran' not in done.stdout


def without_bubblewrap(command: list[str]) -> list[str]:
    """COMMAND where that program is not installed."""
    hide = ['--bind', '/dev/null', str(shutil.which('bwrap'))]
    return ['bwrap', '--dev-bind', '/', '/', *hide, *command]


def test_a_line_with_a_box_is_tried_before_it_is_installed(
    receiver: Receiver,
) -> None:
    account = receiver.account
    account.mkdir('cache')
    command = [*receiver.world.hg, '--config', 'extensions.hgext_delegate=']
    command += ['delegate-receive', '--install']
    # ~ is for the shell of the forced command
    for box, why in [
        ('', b''),
        ('--box', b'there is no box: bubblewrap is not installed'),
    ]:
        line = LINE.replace('hg x', f'hg x {box}')
        done = account.run(without_bubblewrap([*command, line]), check=False)
        assert why in done.stderr, done
        assert (done.returncode == 0) == (not why), done
        account.write('.ssh/authorized_keys', '')
    for more, why in [
        ('--writable ~/cache', b''),
        ('--writable ~/cache --writable=~/.ssh', b'cannot be writable in a'),
        ('--writable ~/nowhere', b'/nowhere: No such file or directory'),
    ]:
        line = LINE.replace('hg x', f'hg x --box {more}')
        done = account.run([*command, line], check=False)
        assert why in done.stderr, done
        assert (done.returncode == 0) == (not why), done
        assert (line in account.read('.ssh/authorized_keys')) == (not why)
        account.write('.ssh/authorized_keys', '')


def test_setup_prints_the_box_where_it_works(
    world: World, repository: Repository
) -> None:
    world.deploy.write('.ssh/authorized_keys', '')
    assert ' --run ./deploy.sh --box" ' in pasted(setup(world, repository))[0]
    words = [*repository.program, '-R', str(repository.path)]
    words += ['delegate-setup', 'blog', url(world)]
    done = repository.owner.run(without_bubblewrap(words))
    assert ' --run ./deploy.sh" ' in pasted(done)[0]
    assert (
        b'# without --box who may push can keep that account for good\n'
        b'# (there is no box: bubblewrap is not installed; as root: apt-get'
    ) in done.stdout


def test_check_says_who_can_keep_the_account(
    receiver: Receiver, clone: Clone
) -> None:
    deployable(clone, '#!/bin/sh\n')
    home = receiver.account.home
    receiver.serve()
    kept = b'who may push can keep the account %s: there is no box'
    kept %= receiver.account.name.encode()
    closed = b'what is run there is in a box, and cannot keep the account'
    if not landlock.is_there():
        closed = b'from the box abstract sockets of'
    for last, run, level, line in [
        ('', './deploy.sh', b'warning', kept),
        ('', f'{home}/script', b'ok', b'in no box, and can keep the account'),
        ('--box', './deploy.sh', None, closed),
        (
            '--box --no-network',
            './deploy.sh',
            b'ok',
            b'cannot keep the account',
        ),
        ('--box --writable /', './deploy.sh', b'error', b'cannot be writable'),
    ]:
        receiver.install(last=last, run=run)
        said = receiver.repository.hg('delegate-check', check=False).stdout
        (found,) = [each for each in said.splitlines() if line in each]
        assert level is None or found.startswith(level), said
    receiver.world.forced_command()
    receiver.repository.hgrc(
        f'[delegate]\nblog = ssh://{receiver.account.name}@localhost:'
        f'{receiver.world.port}\n'
    )
    said = receiver.repository.hg('delegate-check', check=False).stdout
    assert b'only a receiver tells if what is run can keep' in said


# Lets another account put another .hg into the clone, while it runs.
SWAP = """\
#!/bin/sh
cp -r .hg other
printf '[hooks]\\npre-pull = touch %s/kept\\n' HOME_OF_ACCOUNT >other/hgrc
chmod MODE .
echo ready
until [ -e go ]; do sleep 0.02; done
chmod 755 .
"""


@pytest.mark.skipif(not ROOT, reason='one account for all')
@pytest.mark.parametrize('mode', ['777', '700'])
def test_nobody_else_can_put_a_repository_into_the_clone(
    receiver: Receiver, clone: Clone, mode: str
) -> None:
    install(receiver)
    home = receiver.account.home
    text = SWAP.replace('HOME_OF_ACCOUNT', str(home)).replace('MODE', mode)
    node = deployable(clone, text)
    process = receiver.start(*protocols.deploy(node))
    read_until(process, b'ready\n')
    swap = f'cd {receiver.clone} && mv .hg old && mv other .hg && touch go'
    other = receiver.world.pusher.run(['sh', '-c', swap], check=False)
    assert (other.returncode == 0) == (mode == '777')
    receiver.account.write('clone/go', '')
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, (out, error)
    told = b'another .hg was put into the clone while the script ran'
    assert (told in out) == (mode == '777')
    ended = receiver.deploy(commit(clone))
    assert ended.returncode == (121 if mode == '777' else 0), ended
    assert not (home / 'kept').exists()


def test_a_clone_in_which_all_may_write_is_not_used(
    receiver: Receiver, clone: Clone
) -> None:
    install(receiver)
    assert receiver.deploy(deployable(clone, '#!/bin/sh\n')).returncode == 0
    receiver.clone.chmod(0o777)
    ended = receiver.deploy(commit(clone))
    assert ended.returncode == 121
    assert b'every account of this host can write in ' in ended.stdout
    receiver.clone.chmod(0o775)
    assert receiver.deploy(commit(clone)).returncode == 0
    assert receiver.clone.stat().st_mode & 0o777 == 0o755


# Says in the place of process 1 how it has ended, by its socket.
FORGE = """\
#!/usr/bin/env python3
import ctypes, os, socket
libc = ctypes.CDLL(None)
outer = os.pidfd_open(1)
for number in range(3, 64):
    fd = libc.syscall(438, outer, number, 0)  # pidfd_getfd
    try:
        control = socket.socket(fileno=max(fd, 0))
        # before it is sent, which ends this
        print('sent', flush=True)
        control.send(b'WORD\\n')
        break
    except OSError:
        pass
import time
time.sleep(3)
raise SystemExit(3)
"""


@pytest.mark.parametrize('word', ['S127', 'S' + '9' * 23, 'Sx', 'x'])
def test_an_impossible_end_is_a_failure(
    receiver: Receiver, clone: Clone, word: str
) -> None:
    install(receiver)
    node = deployable(clone, FORGE.replace('WORD', word))
    ended = receiver.deploy(node)
    assert ended.stdout == b'sent\n'
    assert ended.returncode not in (0, 120), ended
    assert ended.stderr == b''


ASK = """\
#!/usr/bin/env python3
import socket
socket.socketpair()
try:
    socket.socket(socket.AF_UNIX)
    print('a socket')
except PermissionError:
    print('a pair alone')
"""


def test_without_the_network_nobody_hands_in_a_descriptor(
    receiver: Receiver, clone: Clone
) -> None:
    node = deployable(clone, ASK)
    path = receiver.account.home / 'control'
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        for last, said in (
            ('--box', b'a socket\n'),
            ('--box --no-network', b'a pair alone\n'),
            (f'--box --no-network --writable {path}', b'a socket\n'),
        ):
            install(receiver, last)
            done = receiver.deploy(node)
            assert (done.returncode, done.stdout) == (0, said)
