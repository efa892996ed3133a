# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate-receive: what the deploy account has set on its command line'''

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from mercurial import error, pycompat, util
from mercurial.i18n import _
from mercurial.utils import urlutil

from ..config import parsers
from . import (
    authorized_keys,
    box,
    boxed,
    clone,
    run as runmod,
    server,
    supervisor,
)

_STATE = '~/.local/state/hg-delegate'
_TIMEOUT = b'1h'
_VARIABLE = re.compile('([A-Za-z_][A-Za-z0-9_]*)=([^\0]*)', re.DOTALL)

# of the session, or of whatever hg runs in; HGRCPATH may be the account's own
_FOREIGN = ('SSH_', 'HG', 'LC_', 'LANG')
_OWN = ('HGRCPATH',)


def run(ui, opts, in_chg: bool) -> int:
    '''the command; it exits as the script does'''
    if os.geteuid() == 0 and not opts['allow_root']:
        server.say(
            'this account is root: what is deployed could do anything',
            'use an account of its own, or add --allow-root',
        )
        return runmod.EXIT_REFUSED
    if opts['install']:
        _install(ui, opts)
        return 0
    _set_title()
    folder = _path(opts['state'] or _STATE.encode('ascii'))
    status = server.serve(folder, _work(ui, opts, folder))
    if not in_chg:
        _leave(status)
    # chg hands a status on by itself, and has no way to tell a signal
    return status if status >= 0 else 128 - status


def _leave(status: int) -> NoReturn:
    '''end with ``status``; if negative, by the signal of that number'''
    if status < 0:
        # sshd then says which one it was; a core of ours would help nobody
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # KILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    # not by way of the interpreter's own end, which takes as long as the rest
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _install(ui, opts) -> None:
    others = ['clone', 'source', 'run', 'timeout', 'state', 'env']
    others += ['clean', 'clean_ignored', 'subrepos', 'box', 'writable']
    others += ['no_network']
    if any(opts[name] for name in others):
        raise error.InputError(_(b'--install takes no other option'))
    line = os.fsdecode(opts['install'])
    try:
        authorized_keys.parse(line)
        _try_box(authorized_keys.command_of(line))
        path, new = authorized_keys.install(line)
    except authorized_keys.InstallError as exc:
        raise error.InputError(
            pycompat.sysbytes(exc.reason), hint=pycompat.sysbytes(exc.remedy)
        ) from None
    told = _(b'added to %s\n') if new else _(b'already in %s\n')
    ui.status(told % os.fsencode(path))


def _try_box(words: Sequence[str]) -> None:
    '''raise InstallError if nothing could be run by a boxed line'''
    if '--box' not in words:
        return
    writable = []
    for word, following in zip(words, [*words[1:], '']):
        name, _equals, value = word.partition('=')
        if name == '--writable':
            # a session begins at the home
            path = os.path.expanduser(value or following)
            writable.append(os.path.join(os.path.expanduser('~'), path))
    network = '--no-network' not in words
    state = _path(_STATE.encode('ascii'))
    if problem := boxed.problem(box.Box(state, writable, network)):
        raise authorized_keys.InstallError(*problem)


def _work(ui, opts, state: str) -> supervisor.Work:
    for name in ('clone', 'source', 'run'):
        if not opts[name]:
            raise error.InputError(
                _(b'--%s is missing') % pycompat.sysbytes(name),
                hint=_(b"see 'hg help delegate-receive'"),
            )
    return supervisor.Work(
        clone=_clone(ui, opts),
        script=_script(opts['run']),
        timeout=_timeout(opts['timeout'] or _TIMEOUT),
        environ=dict(_variable(value) for value in opts['env']),
        box=_box(opts, state),
    )


def _box(opts, state: str) -> box.Box | None:
    for name, given in (
        (b'--writable', opts['writable']),
        (b'--no-network', opts['no_network']),
    ):
        if given and not opts['box']:
            raise error.InputError(
                _(b'%s is for a box') % name, hint=_(b'add --box')
            )
    if not opts['box']:
        return None
    if opts['subrepos']:
        # whose .hg a script could write, and our hg would obey it
        raise error.InputError(
            _(b'--box and --subrepos do not go together'),
            hint=_(b'take one of them out'),
        )
    writable = [_path(path) for path in opts['writable']]
    return box.Box(state, writable, not opts['no_network'])


def _variable(value: bytes) -> tuple[str, str]:
    match = _VARIABLE.fullmatch(os.fsdecode(value))
    if not match:
        raise error.InputError(
            _(b"--env: '%s' is not NAME=VALUE") % value,
            hint=_(b'a NAME has letters, digits and underscores'),
        )
    return match[1], match[2]


def _clone(ui, opts) -> clone.Clone:
    source = opts['source']
    if not urlutil.hasscheme(source):
        source = os.fsencode(_path(source))
    environ = {
        name: value
        for name, value in os.environ.items()
        if name in _OWN or not name.startswith(_FOREIGN)
    }
    return clone.Clone(
        path=_path(opts['clone']),
        source=os.fsdecode(source),
        name=os.fsdecode(urlutil.hidepassword(source)),
        config=list(_config(ui, opts['subrepos'])),
        environ={**environ, 'HGPLAIN': '1', 'LANG': 'C.UTF-8'},
        clean=_clean(opts),
        ignores=list(_ignores(ui, opts)),
        is_boxed=bool(opts['box']),
    )


def _ignores(ui, opts) -> Iterator[bytes]:
    '''the files with patterns that the account's own hgrc names, as hg does'''
    for name, path in ui.configitems(b'ui'):
        if name == b'ignore' or name.startswith(b'ignore.'):
            root = os.fsencode(_path(opts['clone']))
            yield os.path.join(root, util.expandpath(path))


def _clean(opts) -> str:
    if opts['clean_ignored']:
        return clone.CLEAN_IGNORED
    return clone.CLEAN if opts['clean'] else clone.KEEP


def _set_title() -> None:
    '''take our options out of what ``ps`` and ``pkill -f`` look at

    Or a deploy script's ``pkill -f blog`` ends the receiver, whose clone is
    so named. proc(5), stat: the fields 48 and 49 are where the words are.
    '''
    with contextlib.suppress(OSError), open('/proc/self/stat', 'rb') as file:
        fields = file.read().rpartition(b')')[2].split()
        start, end = int(fields[45]), int(fields[46])
        if 0 < start < end:
            size = end - start
            title = b'hg delegate-receive'[: size - 1].ljust(size, b'\0')
            ctypes.memmove(start, title, size)


def _config(ui, subrepos: bool) -> Iterator[str]:
    '''options for each hg that we run: ours, and what this one was given'''
    # Nobody answers; and that another account's hgrc does not count is as it
    # should be.
    yield from ('--config', 'ui.interactive=no')
    yield from ('--config', 'ui.report_untrusted=no')
    # A pusher's .hgsub names what is cloned, with the rights of this account.
    yield from ('--config', 'subrepos.allowed=%s' % bool(subrepos))
    for section, key, value in ui.walkconfig():
        if ui.configsource(section, key) == b'--config':
            item = b'%s.%s=%s' % (section, key, value)
            yield from ('--config', os.fsdecode(item))


def _script(value: bytes) -> list[str]:
    try:
        words = shlex.split(os.fsdecode(value))
    except ValueError as exc:
        raise error.InputError(
            _(b'--run: %s') % pycompat.sysbytes(str(exc).lower())
        ) from None
    if not words:
        raise error.InputError(_(b'--run names no program'))
    return [os.path.expanduser(words[0]), *words[1:]]


def _timeout(value: bytes) -> float:
    try:
        return parsers.duration(value)
    except parsers.InvalidValue as exc:
        problem, remedy = exc.args
        raise error.InputError(problem, hint=remedy) from None


def _path(value: bytes) -> str:
    return os.path.abspath(os.path.expanduser(os.fsdecode(value)))
