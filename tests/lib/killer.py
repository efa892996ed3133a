"""A Mercurial extension for the server's hgrc: kill -9 at a chosen instant.

    [extensions]
    killer = /path/to/killer.py
    [killer]
    plan = /path/to/plan

The first hg process that has the word COMMAND among its arguments takes the
plan {"command": COMMAND, "at": N}, and SIGKILL comes to it just before the
Nth call that may change a file, a lock, a database or a connection: at each
such call as Mercurial, sqlite and we make it, so no crash point is a matter
of luck. What it did until then is in the file PLAN.points, a line for each.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import types
from typing import Any

CALLS = re.compile(
    'write|writelines|close|fsync|rename|replace|unlink|remove|link|symlink|'
    'mkdir|open|truncate|fchmod|chmod|flock|execute|executemany|send|sendall|'
    'fork_exec'
)
# What these calls belong to; of a string or a buffer in memory they are not.
MODULES = ('posix', 'fcntl', '_posixsubprocess')
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
TYPES = ('BufferedWriter', 'BufferedRandom', 'FileIO', 'Connection', 'socket')


def uisetup(ui: Any) -> None:
    path = os.fsdecode(ui.config(b'killer', b'plan', b''))
    try:
        with open(path) as file:
            plan = json.load(file)
        if plan['command'] not in sys.argv:
            return
        os.rename(path, path + '.taken')
    except FileNotFoundError:
        return
    _watch(plan['at'], os.open(path + '.points', _NEW))


def _watch(at: int, points: int) -> None:
    seen = 0
    write, kill, pid = os.write, os.kill, os.getpid()

    def profile(frame: types.FrameType, event: str, arg: Any) -> None:
        nonlocal seen
        if event == 'c_call' and _matters(arg):
            seen += 1
            code = frame.f_code
            place = os.path.basename(code.co_filename)
            line = f'{arg.__name__} in {code.co_name}, {place}:{frame.f_lineno}'
            write(points, f'{line}\n'.encode())
            if seen == at:
                kill(pid, signal.SIGKILL)

    threading.setprofile(profile)
    sys.setprofile(profile)


def _matters(function: Any) -> bool:
    if not CALLS.fullmatch(function.__name__):
        return False
    owner = function.__self__
    if isinstance(owner, types.ModuleType):
        return owner.__name__ in MODULES
    return type(owner).__name__ in TYPES
