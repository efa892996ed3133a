# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate-log --stat: how long delegations take, and how many fail'''

from __future__ import annotations

from mercurial import error, pycompat
from mercurial.i18n import _

from ..report import wording
from ..state import statistics
from . import opened

_HEADING = b'%-*s  %5s  %6s  %8s  %8s  %8s\n'


def show(ui, repo, opts) -> int:
    '''one line for each target that anything was ever run for, or -t'''
    target = pycompat.sysstr(opts['target']) or None
    with opened.to_read(ui, repo) as dispatcher:
        found = statistics.of_all(dispatcher.journal, target)
        known = target in [each.name for each in dispatcher.targets]
    if target and not found and not known:
        raise error.InputError(
            _(b"there is no target '%s'") % opts['target'],
            hint=_(b'and nothing was ever delegated to one of that name'),
        )
    ui.pager(b'delegate-log')
    width = max([10, *(len(each.target) for each in found)])
    with ui.formatter(b'delegate-log', pycompat.byteskwargs(opts)) as fm:
        if found:
            names = b'run', b'failed', b'median', b'slowest', b'usually'
            fm.plain(_HEADING % (width, b'target', *names))
        for each in found:
            name = pycompat.sysbytes(each.target)
            fm.startitem()
            fm.write(b'target', b'%s', name)
            fm.plain(b' ' * (width - len(name)))
            fm.write(b'count', b'  %5d', each.count)
            label = b'delegate.state.failed' if each.failed else b''
            fm.write(b'failed', b'  %6d', each.failed, label=label)
            for keyword in ('median', 'slowest', 'usual'):
                seconds = getattr(each, keyword)
                fm.data(**{keyword: seconds})
                fm.plain(b'  %8s' % wording.duration(seconds))
            fm.plain(b'\n')
    return 0
