# SPDX-License-Identifier: GPL-2.0-or-later
'''who holds a target, since when and why

A file for each target that is held, beside the journal and not in it: that is
set aside when it is damaged, and what somebody holds must not go live by that.
What cannot be read holds as well.
'''

from __future__ import annotations

import dataclasses
import json
import os
import re
import time

from .. import protocol, sanitizer
from . import delegation, files

SUFFIX = '.hold'
# as files.Paths.hold() names it
_FILE = re.compile(r'(.*)\.hold')
# in characters
MAX_REASON = 200
_MAX_WHO = 100
_MAX_BYTES = 8192


@dataclasses.dataclass(frozen=True)
class Hold:
    '''``since`` is in seconds since the epoch, None where nobody knows

    ``who`` and ``reason`` are one line each; ``reason`` may be empty.
    '''

    who: str = 'an unknown user'
    since: float | None = None
    reason: str = ''


def of(paths: files.Paths, target: str) -> Hold | None:
    '''who holds ``target``; None if nobody does'''
    try:
        with open(paths.hold(target).open(os.O_RDONLY), 'rb') as file:
            data = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError:
        return Hold()
    try:
        found = json.loads(data.removeprefix(files.FIRST_LINE))
        who, since, reason = (found[k] for k in ('who', 'since', 'reason'))
        if abs(float(since)) < delegation.LATEST:
            return Hold(
                line(str(who), _MAX_WHO) or Hold.who,
                float(since),
                line(str(reason), MAX_REASON),
            )
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
        pass
    return Hold()


def all(paths: files.Paths) -> dict[str, Hold]:
    '''each target that is held, also one that is not configured any more'''
    try:
        found = filter(None, map(_FILE.fullmatch, os.listdir(paths.folder)))
    except OSError:
        return {}
    holds = {}
    for match in sorted(found, key=lambda match: match[1]):
        if protocol.TARGET_NAME.fullmatch(match[1]):
            if hold := of(paths, match[1]):
                holds[match[1]] = hold
    return holds


def put(paths: files.Paths, target: str, who: str, reason: str) -> Hold:
    '''hold ``target``, from now on or from when somebody has held it

    Their reason stays if ``reason`` is empty. Raises OSError.
    '''
    before = of(paths, target) or Hold(since=time.time())
    since, reason = before.since or time.time(), reason or before.reason
    hold = Hold(line(who, _MAX_WHO), since, line(reason, MAX_REASON))
    text = json.dumps(dataclasses.asdict(hold)).encode('ascii')
    paths.hold(target).replace(files.FIRST_LINE + text + b'\n')
    return hold


def release(paths: files.Paths, target: str) -> None:
    '''let go of ``target``. Raises OSError'''
    paths.hold(target).unlink()


def line(text: str, longest: int) -> str:
    '''``text`` as one line that steers no terminal, of ``longest`` characters
    at most'''
    shown = ''.join(
        each if each.isprintable() or each in sanitizer.JOINERS else '?'
        for each in ' '.join(text.split())
    )
    if len(shown) > longest:
        shown = shown[: longest - 1] + '\u2026'
    return shown
