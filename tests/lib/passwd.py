"""Many accounts at once: /etc/passwd and /etc/group, written in one go.

useradd and userdel take some 50 ms for each. The lock is the one that they
take, and each file is replaced as a whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

FILES = (Path('/etc/passwd'), Path('/etc/group'))
# beyond what useradd and systemd give away
FIRST_UID = 70_000
# What the accounts of a run are called; accounts.sweep() knows them by it.
PATTERN = r'hgd-n\d{4}'


def add(suffix: str, homes: dict[str, Path]) -> list[tuple[str, int]]:
    """Make an account for each name in HOMES; the names and their uids.

    No password fits, and sshd without PAM lets them in by a key.
    """
    with _lock():
        uid = max(FIRST_UID, *(n + 1 for n in _uids()))
        made, lines = [], ['', '']
        for number, (name, home) in enumerate(homes.items(), uid):
            assert re.fullmatch(f'{PATTERN}-{suffix}', name), name
            lines[0] += f'{name}:*:{number}:{number}::{home}:/bin/sh\n'
            lines[1] += f'{name}:*:{number}:\n'
            made.append((name, number))
        for path, more in zip(FILES, lines):
            _replace(path, path.read_text('utf-8') + more)
    return made


def remove(suffix: str) -> None:
    """Remove the accounts of the run SUFFIX, and their groups."""
    line = re.compile(rf'^{PATTERN}-{suffix}:.*\n', re.MULTILINE)
    with _lock():
        for path in FILES:
            old = path.read_text('utf-8')
            new = line.sub('', old)
            if new != old:
                _replace(path, new)


def _uids() -> list[int]:
    """Those that are given away, up to what 'nobody' has elsewhere."""
    lines = FILES[0].read_text('utf-8').splitlines()
    return [int(n) for n in (x.split(':')[2] for x in lines) if int(n) < 10**6]


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    # lckpwdf(3)
    with open('/etc/.pwd.lock', 'a', encoding='ascii') as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f'{path.name}.hgd')
    new.write_text(text, 'utf-8')
    shutil.copystat(path, new)
    os.replace(new, path)
