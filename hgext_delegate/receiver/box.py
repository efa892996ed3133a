# SPDX-License-Identifier: GPL-2.0-or-later
'''the box: what a script finds in it, as options for bubblewrap

All of the system is there, read-only. Empty are the places where an account
can be kept, or where others listen. Writable are the clone without its .hg,
for what stands there decides what the receiver's own hg runs, and what
--writable names. It starts nothing: that is done by boxed.
'''

from __future__ import annotations

import dataclasses
import os
import pwd
import stat
import sys
from collections.abc import Iterator, Sequence

from .. import errors
from . import clone as clonemod, seccomp

# Where the script finds what the server has told.
OBJECT = '/run/delegate.json'
# The program that is process 1.
INIT = '/run/box_init.py'
_INIT = os.path.join(os.path.dirname(__file__), 'box_init.py')

# Empty in the box. In /run are the sockets of whatever serves this host.
_PRIVATE = ('/tmp', '/var/tmp', '/run')
_RESOLVER = '/etc/resolv.conf'
# Who can write there, or ask there, is no longer in a box.
_NEVER = (
    *('/dev', '/proc', '/sys', '/etc', '/var/spool', '/run/user', '/run/dbus'),
    *('/run/systemd', '/run/docker.sock', '/run/docker', '/run/containerd'),
    *('/run/podman', '/run/snapd.socket', '/var/lib/docker'),
    *('/var/snap/lxd', '/var/lib/lxd', '/var/lib/incus', '/tmp/.X11-unix'),
)
# The same, in a home: what is read when somebody logs in or runs hg.
_NEVER_AT_HOME = (
    *('.ssh', '.hgrc', '.config/hg', '.config/systemd', '.config/autostart'),
    *('.config/environment.d', '.config/fish', '.local/lib', '.local/bin'),
    *('.local/share/systemd', '.local/share/dbus-1', '.profile', '.bashrc'),
    *('.bash_profile', '.bash_login', '.bash_logout', '.zshenv', '.zshrc'),
    *('.zprofile', '.zlogin', '.kshrc', '.pam_environment', '.forward', 'bin'),
    *('.procmailrc', '.gitconfig', '.config/git', '.gnupg', '.k5login'),
)

_UNSHARE = ('user', 'ipc', 'pid', 'uts', 'cgroup-try')


class BoxError(errors.DelegateError):
    '''nothing can be run in the box'''


@dataclasses.dataclass(frozen=True)
class Box:
    '''what the deploy account has said; ``state`` is where its receivers keep
    what they know, or ''
    '''

    state: str
    writable: Sequence[str] = ()
    network: bool = True


@dataclasses.dataclass(frozen=True)
class Inside:
    '''what is in the box for one run: paths, '' for none

    With ``tree``, what a gate has laid out, that is writable, and the clone and
    the bundle beside ``tree`` can be read.
    '''

    program: str
    clone: str = ''
    object: str = ''
    tree: str = ''


class Plan:
    '''the options for bubblewrap; it needs the descriptors ``fds``

    Raises BoxError for a place that must not be writable. close() it.
    '''

    def __init__(self, box: Box, inside: Inside):
        self.fds: list[int] = []
        self._box = box
        self._writable: list[str] = []
        self._clone = os.path.realpath(inside.clone) if inside.clone else ''
        self._tree = os.path.realpath(inside.tree) if inside.tree else ''
        self._empty = list(_empty(box.state))
        try:
            self.options = [
                *_first(box.network),
                *self._filter(),
                *self._places(inside),
            ]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.pop())

    def _filter(self) -> Iterator[str]:
        machine = os.uname().machine
        with_sockets = self._box.network or any(
            _is_socket(path) for path in self._box.writable
        )
        program = seccomp.program(machine, with_sockets)
        if not program:
            raise BoxError(
                'there is no box: it knows no system calls of %s' % machine,
                'x86_64 and aarch64 have one',
            )
        reading, writing = os.pipe()
        self.fds.append(reading)
        # it is much smaller than a pipe
        os.write(writing, program)
        os.close(writing)
        yield from ('--seccomp', str(reading))

    def _places(self, inside: Inside) -> Iterator[str]:
        '''in this order: what comes later is on top'''
        for place in self._empty:
            yield from ('--tmpfs', place)
        for home in sorted(homes()):
            yield from ('--tmpfs', home)
        runtime = '/run/user/%d' % os.geteuid()
        yield from ('--perms', '0700', '--dir', runtime)
        yield from ('--setenv', 'XDG_RUNTIME_DIR', runtime)
        for path in (_RESOLVER, inside.program, sys.base_prefix):
            real = os.path.realpath(path)
            is_hidden = any(_is_in(real, place) for place in self._empty)
            if is_hidden and os.path.isabs(path) and os.path.exists(real):
                shown = real if path == _RESOLVER else os.path.abspath(path)
                yield from ('--ro-bind', real, shown)
        own = self._clone if not self._tree else ''
        paths = [*filter(None, [own, *self._box.writable])]
        for path in paths:
            yield from self._bind(path)
        for path, real in zip(paths, self._writable):
            self._check_above(path, real)
        if self._tree:
            for path in (self._clone, os.path.dirname(self._tree)):
                yield from ('--ro-bind', path, path)
            yield from ('--bind', self._tree, self._tree)
        if self._clone:
            yield from self._repository()
        for path in _sockets():
            if not any(_is_in(path, p) for p in self._empty + self._writable):
                yield from ('--ro-bind', '/dev/null', path)
        yield from ('--ro-bind', _INIT, INIT)
        if inside.object:
            yield from ('--ro-bind', inside.object, OBJECT)
            yield from ('--setenv', 'DELEGATE_JSON', OBJECT)
        # What a script writes there would be gone: it shall hear of that.
        for home in homes():
            yield from ('--remount-ro', home)
        if self._tree or self._clone:
            yield from ('--chdir', self._tree or self._clone)

    def _bind(self, path: str) -> Iterator[str]:
        '''``path``, as it is at this moment, whatever is a link in it'''
        try:
            fd = os.open(path, os.O_PATH)
        except OSError as exc:
            raise BoxError(
                '--writable %s: %s' % (path, exc.strerror),
                'make it, or take it out of the line',
            ) from None
        self.fds.append(fd)
        real = os.readlink('/proc/self/fd/%d' % fd)
        self._check(path, real)
        self._writable.append(real)
        yield from ('--bind', '/proc/self/fd/%d' % fd, real)

    def _check(self, path: str, real: str) -> None:
        '''raise BoxError if who can write there can leave the box'''
        for place in _never(self._box.state):
            if _is_in(place, real) or _is_in(real, place):
                break
        else:
            place = _repository_of(real, self._clone)
            if not place:
                return
        raise BoxError(
            '%s cannot be writable in a box: by %s a script could leave it'
            % (path, place),
            'name a folder that has nothing else in it',
        )

    def _check_above(self, path: str, real: str) -> None:
        '''raise BoxError if a script could put a link in the place of ``path``,
        which the next run would follow'''
        above = {os.path.dirname(real)}
        folder = os.path.abspath(path)
        while folder != '/':
            folder = os.path.dirname(folder)
            above.add(os.path.realpath(folder))
        for place in self._writable:
            if any(_is_in(each, place) for each in above):
                raise BoxError(
                    '--writable %s is in %s, which is writable' % (path, place),
                    'take it out of the line',
                )

    def _repository(self) -> Iterator[str]:
        '''.hg, which can be read, but for what may hold a password'''
        folder = os.path.join(self._clone, '.hg')
        yield from ('--ro-bind', folder, folder)
        for name in ('hgrc', clonemod.MARK):
            path = os.path.join(folder, name)
            if os.path.lexists(path):
                fd = os.open(os.devnull, os.O_RDONLY)
                self.fds.append(fd)
                yield from ('--ro-bind-data', str(fd), path)


def _first(network: bool) -> Iterator[str]:
    yield from ('--unshare-%s' % kind for kind in _UNSHARE)
    if not network:
        yield '--unshare-net'
    # Our process 1 tells a signal from an exit status, and hands TERM on.
    yield from ('--as-pid-1', '--die-with-parent', '--new-session')
    yield from ('--cap-drop', 'ALL', '--ro-bind', '/', '/')
    yield from ('--dev', '/dev', '--proc', '/proc')


def homes() -> set[str]:
    '''the home by $HOME, and the one that sshd goes by'''
    known = {os.path.expanduser('~'), pwd.getpwuid(os.geteuid()).pw_dir}
    return {os.path.realpath(home) for home in known if os.path.isdir(home)}


def _empty(state: str) -> Iterator[str]:
    '''the folders that are empty in the box, none of them in another'''
    found = {os.path.realpath(p) for p in _PRIVATE if os.path.isdir(p)}
    found |= homes()
    if os.path.isdir(state):
        found.add(os.path.realpath(state))
    for place in sorted(found):
        if _is_in('/usr', place):
            raise BoxError(
                'the home of this account is %s' % place,
                'give it one of its own: usermod -m -d FOLDER ACCOUNT',
            )
        if not any(_is_in(place, other) for other in found - {place}):
            yield place


def _never(state: str) -> Iterator[str]:
    '''places that must not be writable, nor what is in them'''
    # what the receiver itself imports
    code = [os.path.dirname(os.path.dirname(__file__)), *sys.path]
    for place in [*_NEVER, state, *code]:
        if os.path.isabs(place) and place != '/':
            yield os.path.realpath(place)
    for home in homes():
        yield from (os.path.join(home, name) for name in _NEVER_AT_HOME)


def _repository_of(real: str, clone: str) -> str:
    '''the .hg of a receiver's clone that who writes ``real`` can write'''
    folder = real
    while True:
        repository = os.path.join(folder, '.hg')
        if os.path.lexists(os.path.join(repository, clonemod.MARK)) and (
            folder != clone or _is_in(real, repository)
        ):
            return repository
        if folder == '/':
            break
        folder = os.path.dirname(folder)
    if clone not in ('', real) and _is_in(clone, real):
        return os.path.join(clone, '.hg')
    return ''


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip('/') + '/')


def _sockets() -> set[str]:
    '''the sockets with a name on disk that this account can connect to'''
    found: set[str] = set()
    try:
        with open('/proc/net/unix', encoding='utf-8', errors='replace') as file:
            names = [line.split(None, 7)[7:] for line in file]
    except OSError:
        return found
    for name in names:
        path = name[0].rstrip('\n') if name else ''
        if path.startswith('/'):
            real = os.path.realpath(path)
            if _is_socket(real) and os.access(real, os.W_OK):
                found.add(real)
    return found


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
