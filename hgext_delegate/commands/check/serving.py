# SPDX-License-Identifier: GPL-2.0-or-later
'''whether the hg that a push meets has this extension, too

A push over ssh runs the hg that sshd's PATH has, or what a forced command
names; one over HTTP runs in a web server. Each may be another Mercurial than
the one of whoever types here: that in a venv, say. The only thing that is run
is ``hg version`` of it.
'''

from __future__ import annotations

import contextlib
import glob
import json
import os
import pwd
import re
import shlex
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass

import mercurial
from mercurial import extensions, pycompat, util
from mercurial.i18n import _
from mercurial.utils import procutil

from ... import imports
from ...report import wording
from ...ssh import programs
from . import finding

# Where sshd seeks a program that is named without a folder.
PATH = '/usr/local/bin:/usr/bin:/bin'

# the source of what is set for one command only, and not for a push
COMMAND_LINE = b'--config'

_ABOUT = finding.About(b'', b'hg')
# sshd(8), AUTHORIZED_KEYS FILE FORMAT: options, up to a space outside quotes
_OPTIONS = re.compile(r'(?:[^\s"]|"(?:\\"|[^"])*")+')
_COMMAND = re.compile(r'(?:^|,)command="((?:\\"|[^"])*)"', re.IGNORECASE)
_PYTHON = re.compile(r'python[0-9.]*\Z')
# hg-ssh runs Mercurial in its own process: the same Python is asked
_DISPATCH = 'import sys; from mercurial import dispatch; dispatch.run()'
_LOADED = re.compile(r' (/\S+)/mercurial/(?:cext|rustext)[./]')

Enabled = tuple[str, str, list[bytes]]


@dataclass(frozen=True)
class Road:
    '''a way in which pushes come: ``argv`` is hg there, None if unknown'''

    name: bytes
    program: str
    argv: tuple[str, ...] | None
    is_path: bool = False
    is_taken: bool = True  # or it is not known whether pushes come by it


def check(ui, repo) -> Iterator[finding.Finding]:
    for road in roads():
        yield _of_road(ui, repo, road)
    yield from _web_servers()


def roads() -> list[Road]:
    '''how pushes come to this account over ssh, each once'''
    home = pwd.getpwuid(os.geteuid()).pw_dir
    path = os.path.join(home, '.ssh', 'authorized_keys')
    lines = map(str.strip, _read(path).splitlines())
    keys = [line for line in lines if line and line[0] != '#']
    commands = [_forced_command(line) for line in keys]
    found = [
        _forced(command, home)
        for command in dict.fromkeys(filter(None, commands))
        if 'delegate-receive' not in command
    ]
    if None in commands or not commands:
        hg = shutil.which('hg', path=PATH)
        argv = _hg(hg) if hg else None
        name = _(b'ssh without a forced command')
        found.append(Road(name, hg or '', argv, True, bool(commands)))
    # Lines of many pushers lead to one program.
    return list({(road.program, road.argv): road for road in found}.values())


def _forced_command(line: str) -> str | None:
    '''that of a line of authorized_keys; None where it has none'''
    options = _OPTIONS.match(line)
    command = _COMMAND.search(options[0]) if options else None
    return command[1].replace('\\"', '"') if command else None


def _forced(command: str, home: str) -> Road:
    '''the road of a forced command, as far as its words tell'''
    name = _(b'the forced command of pushers in ~/.ssh/authorized_keys')
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    for before, word in zip(['', *words], words):
        kind = os.path.basename(word)
        if kind not in ('hg', 'hg-ssh'):
            continue
        path = shutil.which(word, path=PATH) or os.path.join(home, word)
        if _PYTHON.match(os.path.basename(before)):
            argv = _dispatch([shutil.which(before, path=PATH) or ''])
        else:
            argv = _hg(path) if kind == 'hg' else _of_script(path)
        return Road(name, path, argv)
    return Road(name, command, None)


def _hg(path: str) -> tuple[str, ...] | None:
    return (path,) if _is_safe(path) else None


def _of_script(path: str) -> tuple[str, ...] | None:
    '''Mercurial in the Python that the script ``path`` names'''
    if not _is_safe(path):
        return None
    with open(path, 'rb') as file:
        first = file.readline(256).decode('utf-8', 'replace')
    words = first.partition('#!')[2].split() or ['']
    if os.path.basename(words[0]) == 'env':
        words = [shutil.which(words[-1], path=PATH) or '']
    return _dispatch(words)


def _dispatch(words: list[str]) -> tuple[str, ...] | None:
    known = _PYTHON.match(os.path.basename(words[0])) and _is_safe(words[0])
    return (*words, '-c', _DISPATCH) if known else None


def _is_safe(path: str) -> bool:
    '''whether nobody but root and this account may change the program'''
    try:
        status = os.stat(path)
    except OSError:
        return False
    owned = status.st_uid in (0, os.geteuid())
    return owned and stat.S_ISREG(status.st_mode) and not status.st_mode & 0o022


def _of_road(ui, repo, road: Road) -> finding.Finding:
    program = wording.text(road.program)
    if not road.argv:
        if road.program:
            line = _(b'%s is %s: which hg it runs is not looked at')
            return _ABOUT.ok(line % (road.name, program))
        return _ABOUT.warning(_(b'%s finds no hg') % road.name, _mend(road))
    version, extension = _ask(ui, repo, road)
    if b'(paramiko ' in extension:
        line = _(b'%s runs %s, Mercurial %s, which has this extension')
        return _ABOUT.ok(line % (road.name, program, version))
    line = _(b'%s runs %s, Mercurial %s, which lacks this extension')
    if extension:
        line = _(b'%s runs %s, Mercurial %s, which lacks paramiko')
    make = _ABOUT.error if road.is_taken else _ABOUT.warning
    line %= road.name, program, version or b'?'
    return make(line, _mend(road))


def _ask(ui, repo, road: Road) -> tuple[bytes, bytes]:
    '''the versions of Mercurial and of this extension there; b'' for none'''
    assert road.argv
    user = pwd.getpwuid(os.geteuid())
    environ = {
        'HGPLAIN': '1',
        'HOME': user.pw_dir,
        'LOGNAME': user.pw_name,
        'PATH': PATH,
        'USER': user.pw_name,
    }
    words = ['-R', os.fsdecode(repo.root), 'version', '-v', '-Tjson']
    name, value, files = enabled(ui)
    if not files or 'mercurial-server' in road.program:
        # By the classic line, or by files that this one may not read; whether
        # it can be loaded is what can be found out.
        words += ['--config', 'extensions.%s=%s' % (name, value)]
    clean = ['env', '-i', *('%s=%s' % item for item in environ.items())]
    try:
        _status, said, _lines = programs.run([*clean, *road.argv, *words])
        (told,) = json.loads(said)
        known = {each['name']: each['ver'] for each in told['extensions']}
        version = str(told['ver'])
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return b'', b''
    ours = known.get(name) or known.get('hgext_delegate') or ''
    return wording.text(version), wording.text(ours)


def _mend(road: Road) -> bytes:
    ours = procutil.hgexecutable()
    if road.is_path:
        line = _(b'install hg-delegate for it; or as root: ln -s %s %s')
        return line % (ours, b'/usr/local/bin/hg')
    if road.argv and _DISPATCH in road.argv:
        line = _(b'install hg-delegate and paramiko for %s')
        return line % os.fsencode(road.argv[0])
    return _(b'install hg-delegate for it; or write %s in its place') % ours


def enabled(ui) -> Enabled:
    '''by which name and value this extension is enabled, and by which files

    None where that is the command line.
    '''
    found = [
        name
        for name, module in extensions.extensions(ui)
        if module is imports.extension()
    ]
    files = [file_of(ui, b'extensions', name) for name in found]
    value = util.expandpath(ui.config(b'extensions', found[0]) or b'')
    return (
        pycompat.sysstr(found[0]),
        os.fsdecode(value),
        [file for file in files if file != COMMAND_LINE],
    )


def file_of(ui, section: bytes, item: bytes, untrusted: bool = False) -> bytes:
    '''the file that sets ``item``; COMMAND_LINE is none'''
    source = ui.configsource(section, item, untrusted=untrusted)
    return re.sub(rb':[0-9]+\Z', b'', source)


def _web_servers() -> Iterator[finding.Finding]:
    '''those of this account that have loaded another Mercurial'''
    ours = os.path.dirname(os.path.dirname(mercurial.__file__))
    found: dict[str, str] = {}
    for process in glob.glob('/proc/[0-9]*'):
        # another account's cannot be read
        loaded = _LOADED.search(_read(process + '/maps'))
        # a command server is no web server
        is_other = 'cmdserver' not in _read(process + '/cmdline')
        if loaded and is_other and _listens(process):
            name = _read(process + '/comm').strip()
            found[loaded[1]] = '%s, %s' % (os.path.basename(process), name)
    for place, process in found.items():
        if os.path.realpath(place) == os.path.realpath(ours):
            line = _(b'the process %s serves by the same Mercurial')
            yield _ABOUT.ok(line % wording.text(process))
        elif not os.path.isdir(os.path.join(place, 'hgext_delegate')):
            line = _(b'the process %s serves by the Mercurial in %s')
            remedy = _(b'install hg-delegate there, and start it again')
            told = line % (wording.text(process), wording.text(place))
            yield _ABOUT.warning(told, remedy)


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, errors='replace') as file:
        return file.read()
    return ''


def _listens(folder: str) -> bool:
    '''whether a process has a socket that takes connections. proc_net(5)'''
    sockets = set()
    for path in glob.glob(folder + '/fd/*'):
        with contextlib.suppress(OSError):
            sockets.add(os.readlink(path))
    for name, listens, inode in (
        ('tcp', '0A', 9),
        ('tcp6', '0A', 9),
        ('unix', '00010000', 6),
    ):
        for line in _read('%s/net/%s' % (folder, name)).splitlines():
            fields = line.split()
            if fields[3:4] == [listens]:
                if 'socket:[%s]' % fields[inode] in sockets:
                    return True
    return False
