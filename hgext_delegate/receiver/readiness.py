# SPDX-License-Identifier: GPL-2.0-or-later
'''whether the next deploy could begin: what hg delegate-check asks for

Nothing is changed, and no script is run. What is found is what bring() and
the supervisor would meet.
'''

from __future__ import annotations

import getpass
import io
import os
import shutil
import signal

from . import (
    boxed,
    clone as clonemod,
    environment,
    failure,
    hg_command,
    landlock,
    supervisor,
)

# How long it may take, in seconds: pulling may hang, and nobody waits longer.
_LIMIT = 60


def told(work: supervisor.Work) -> dict[str, str]:
    '''what is run, if in a box, and, if it could not be, problem and remedy

    For a process that does nothing else afterwards, and has a time limit then.
    '''
    signal.alarm(_LIMIT)
    found = {'run': work.script[0], 'box': _kind(work)}
    try:
        _check_clone(work.clone)
        _check_script(work.script[0])
        _check_box(work)
    except clonemod.UnpreparedError as exc:
        found.update(problem=exc.reason, remedy=exc.remedy)
    except OSError as exc:
        problem = 'cannot use the clone: %s' % exc.strerror
        remedy = 'see %s' % (exc.filename or work.clone.path)
        found.update(problem=problem, remedy=remedy)
    return found


def _check_clone(clone: clonemod.Clone) -> None:
    clone.enter({})
    written = clone.path
    if os.path.lexists(os.path.join(clone.path, '.hg')):
        clone.check_source()
        written = os.path.join(clone.path, '.hg', 'store')
    elif os.path.lexists(clone.path):
        clone.check_empty()
    while not os.path.lexists(written):  # where it will be made
        written = os.path.dirname(written)
    if not os.access(written, os.W_OK | os.X_OK):
        raise clonemod.UnpreparedError(
            'this account cannot write %s' % written,
            'as root: chown -R %s %s; chmod u+rwx %s'
            % (getpass.getuser(), written, written),
        )
    said = io.BytesIO()
    words = ['-q', *clone.config, 'identify', '-r', 'tip', '--', clone.source]
    if hg_command.run(words, io.BytesIO(), said):
        why = failure.of_pull(said.getvalue(), clone.path, clone.name)
        raise clonemod.UnpreparedError(*why)


def _kind(work: supervisor.Work) -> str:
    '''no, yes, or leaky: abstract sockets can be reached from it'''
    if not work.box:
        return 'no'
    whole = landlock.is_there() or not work.box.network
    return 'yes' if whole else 'leaky'


def _check_box(work: supervisor.Work) -> None:
    if work.box:
        is_made = os.path.isdir(os.path.join(work.clone.path, '.hg'))
        clone = work.clone.path if is_made else ''
        if problem := boxed.problem(work.box, clone):
            raise clonemod.UnpreparedError(*problem)


def _check_script(program: str) -> None:
    '''one that is not in the changesets must be there'''
    if '/' in program and not os.path.isabs(program):
        return
    if not shutil.which(program, path=environment.PATH):
        raise clonemod.UnpreparedError(
            'cannot run %s: it is no program that can be run' % program,
            'chmod +x %s, or correct --run' % program,
        )
