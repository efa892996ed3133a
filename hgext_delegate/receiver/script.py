# SPDX-License-Identifier: GPL-2.0-or-later
'''the start of the script, in its box or without one, and what it has left'''

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence

from .. import errors
from . import box as boxmod, boxed, process, run


class StartError(errors.DelegateError):
    '''the script does not run: what to exit with, and why'''

    def __init__(self, status: int, reason: str, remedy: str):
        super().__init__(reason, remedy)
        self.status = status


def start(
    argv: Sequence[str],
    folder: str,
    environ: Mapping[str, str],
    box: boxmod.Box | None,
    object: str,
    clone: str = '',
) -> process.Process:
    '''``argv`` in ``folder``, the clone or what was laid out of ``clone``

    It may read the file ``object``.
    Never without the box if there is to be one. Raises StartError.
    '''
    try:
        if box is None:
            return process.start(argv, folder, environ)
        inside = boxmod.Inside(argv[0], folder, object)
        if clone:
            inside = boxmod.Inside(argv[0], clone, object, folder)
        return boxed.start(box, inside, argv, environ)
    except boxmod.BoxError as exc:
        raise StartError(run.EXIT_NOT_RUN, exc.reason, exc.remedy) from None
    except OSError as exc:
        missing = isinstance(exc, FileNotFoundError)
        raise StartError(
            run.EXIT_NOT_FOUND if missing else run.EXIT_NOT_RUN,
            'cannot run %s: %s' % (argv[0], exc.strerror),
            _remedy(argv[0], folder, exc),
        ) from None


def left(script: process.Process) -> tuple[str, str] | None:
    '''what to say of what ``script`` has left running'''
    if isinstance(script, boxed.Boxed):
        if script.has_left:
            return (
                'what it has left running has ended with the box',
                "to restart a service see 'The box' in the manual",
            )
    elif script.is_kept_open:
        return (
            'something that it has left running keeps its output open',
            "start that with its output elsewhere: '>>FILE 2>&1 &'",
        )
    return None


def _remedy(program: str, folder: str, exc: OSError) -> str:
    '''what to do where ``program`` cannot be run in ``folder``'''
    path = os.path.join(folder, program)
    if os.path.isdir(path):
        return 'it is a folder; --run names a program'
    if os.path.isfile(path):
        if isinstance(exc, PermissionError):
            if os.path.isabs(program):
                return 'as this account: chmod +x %s' % program
            return 'make it executable: chmod +x, commit and push'
        if _ends_with_cr(path):
            return 'its first line ends with CR: save it with LF at the ends'
        if isinstance(exc, FileNotFoundError):
            return 'what its first line names after #! is not there'
    elif program.startswith('./'):
        return 'it is not in this changeset'
    elif os.path.isabs(program):
        return 'there is no such file: make it, or correct --run'
    return 'it must begin with #!; one that is committed is ./NAME'


def _ends_with_cr(path: str) -> bool:
    '''whether the first line does, as editors of Windows write it'''
    with contextlib.suppress(OSError), open(path, 'rb') as file:
        return file.readline(256).endswith(b'\r\n')
    return False
