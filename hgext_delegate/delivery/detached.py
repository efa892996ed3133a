# SPDX-License-Identifier: GPL-2.0-or-later
'''a process of the server account that delegates what is pending

Where the process that receives a push may end before the delegation does: it
has a session of its own and inherits no file, which would keep a pusher's
connection open. It can be started before it is known what to delegate, and
then waits for the names of targets on its standard input.
'''

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence

from mercurial import extensions, ui as uimod

from .. import imports
from ..config import targets

# hg, with the modules that this process has found, and with what the host
# configures for it: as Mercurial reads its own files, before the repository's
_HG = '''
import json, os, sys; sys.path[:] = %r
import hgdemandimport; hgdemandimport.enable()
from mercurial import dispatch, ui
files = ui.ui.load
items = json.loads(os.environ.pop('HG_DELEGATE_PRIVATE', '[]'))
items = [[part.encode('latin-1') for part in item] for item in items]
def load():
    loaded = files()
    for item in %r + items:
        loaded._tcfg.set(*item)
        loaded._ucfg.set(*item)
        loaded.fixconfig(section=item[0])
    return loaded
load.files = files
ui.ui.load = load
dispatch.run()
'''
# the configuration that decides whether and where it delegates
_SECTIONS = (b'extensions', b'revsetalias', b'trusted', targets.SECTION)
# what it tells others by; it may have a password, so it is in no command line
_PRIVATE = (b'hooks', b'email', b'smtp')

# Alone: the names are still to come, or with --dry-run a question of
# evaluation's; before names: nobody follows.
STANDARD_INPUT = b'-'


def stand_by(repo) -> None:
    '''start it for a push to ``repo``, to which start() then tells the rest'''
    with contextlib.suppress(OSError):
        # else it is started later
        names = [os.fsdecode(STANDARD_INPUT)]
        repo._delegate_process = _spawn(repo, names, subprocess.PIPE)


def let_go(repo) -> None:
    '''end the one that stands by, if nothing was to delegate'''
    process = vars(repo).pop('_delegate_process', None)
    if process:
        process.stdin.close()


def start(
    repo, names: Sequence[str], followed: bool = True
) -> subprocess.Popen[bytes]:
    '''delegate what waits for the targets ``names``

    If it is not ``followed``, it ends at once where another such process will
    take along what waits.
    '''
    if not followed:
        names = [os.fsdecode(STANDARD_INPUT), *names]
    process = vars(repo).pop('_delegate_process', None)
    if process and process.poll() is None:
        with contextlib.suppress(OSError), process.stdin as pipe:
            pipe.write(' '.join(names).encode('ascii') + b'\n')
            pipe.flush()
            return process
    return _spawn(repo, names, subprocess.DEVNULL)


def _spawn(repo, names: Sequence[str], stdin: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(repo, 'delegate', '--pending', '--', *names),
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment(repo),
    )


def command(repo, *words: str) -> list[str]:
    '''what runs the hg command ``words`` in ``repo``, in another process'''
    host, overrides = _configured(repo.baseui)
    return [
        *(_python(), '-c', _HG % (sys.path, host)),
        *('-R', os.fsdecode(repo.root)),
        *overrides,
        *words,
    ]


def environment(repo) -> dict[str, str]:
    '''the environment for command(), which must have no other: what the host
    configures of _PRIVATE in no file that a new hg reads is in it'''
    again = _from_files()
    items = [
        [section, key, value, repo.baseui.configsource(section, key)]
        for section in _PRIVATE
        for key, value in repo.baseui.configitems(section)
        # what extensions have set is no text
        if isinstance(value, bytes) and again.config(section, key) != value
    ]
    texts = [[part.decode('latin-1') for part in item] for item in items]
    return {**os.environ, 'HG_DELEGATE_PRIVATE': json.dumps(texts)}


def _from_files() -> uimod.ui:
    '''what a new hg reads, also where this process was told more: see _HG'''
    return getattr(uimod.ui.load, 'files', uimod.ui.load)()


def _python() -> str:
    '''the interpreter of this process, also where a web server has it'''
    if re.match('python|pypy', os.path.basename(sys.executable or '')):
        return sys.executable
    # uWSGI for one names itself there
    return os.path.join(sys.prefix, 'bin', 'python3')


def _configured(ui) -> tuple[list[tuple[bytes, ...]], list[str]]:
    '''what no file says that a new hg reads: the host's items, and options

    The items stand in a file, such as a web server's own. They come before what
    the repository says, as they do here: a policy is told by that. Options
    are what was given with --config, and the extension itself, which the
    classic hook line does not enable. ``ui`` has nothing of the repository's.
    '''
    again = _from_files()
    items: list[tuple[bytes, ...]] = []
    options: list[str] = []
    for section in _SECTIONS:
        known = dict(again.configitems(section))
        for key, value in ui.configitems(section):
            source = ui.configsource(section, key)
            if known.get(key) == value:
                continue
            if re.search(rb':[0-9]+\Z', source):
                items.append((section, key, value, source))
            else:
                options += _config(section, key, value)
    ours = imports.extension()
    name = next((n for n, m in extensions.extensions() if m is ours), None)
    (folder,) = ours.__path__
    if name is None or again.config(b'extensions', name) is None:
        name = name or b'hgext_delegate'
        options += _config(b'extensions', name, os.fsencode(folder))
    return items, options


def _config(section: bytes, key: bytes, value: bytes) -> tuple[str, str]:
    return '--config', os.fsdecode(b'%s.%s=%s' % (section, key, value))
