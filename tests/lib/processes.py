"""Which processes belong to a test run, and their end.

As root they are those of the run's accounts; otherwise those whose home is in
the run's folder. Either way what its sshd started belongs to it too.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


def living(base: Path, uids: Iterable[int]) -> dict[int, str]:
    """The run's living processes, but for its sshd: PID -> command line."""
    table = dict(_table())
    listener = _listener(base, table)
    mark = f'HOME={base}/'.encode()
    if os.getuid() == 0:
        found = {pid for pid in table if table[pid].uid in uids}
        found = {pid for pid in found if not table[pid].in_a_container()}
    else:
        found = {pid for pid in table if table[pid].has(mark)}
    # What sshd started may belong to root, or show no environment.
    parents = {listener} if listener else set()
    while parents:
        parents = {p for p in table if table[p].parent in parents} - found
        found |= parents
    return {pid: table[pid].command for pid in found - {listener, os.getpid()}}


def end(base: Path, uids: Iterable[int]) -> None:
    """Kill sshd and then all others; raises TimeoutError if one won't die."""
    uids = set(uids)
    give_up = time.monotonic() + 30
    while True:
        listener = _listener(base, dict(_table()))
        left = [pid for pid in (listener,) if pid] + [*living(base, uids)]
        if not left:
            return
        if time.monotonic() > give_up:
            raise TimeoutError(f'processes {left} of {base} do not end')
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


@dataclass(frozen=True)
class _Process:
    folder: Path
    uid: int
    parent: int
    command: str

    def in_a_container(self) -> bool:
        """Whether its uid means somebody else's account."""
        try:
            return not (self.folder / 'root').samefile('/')
        except OSError:
            # It has ended, or this is a container, from which none is seen.
            return False

    def has(self, mark: bytes) -> bool:
        try:
            return mark in (self.folder / 'environ').read_bytes()
        except OSError:
            return False


def _table() -> Iterable[tuple[int, _Process]]:
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            status = (folder / 'status').read_text('utf-8', 'replace')
            line = (folder / 'cmdline').read_text('utf-8', 'replace')
        except OSError:
            continue  # it has ended meanwhile
        field = dict(re.findall(r'(?m)^(\w+):\s*(\S+)', status))
        if field['State'] != 'Z':
            yield (
                int(folder.name),
                _Process(
                    folder,
                    int(field['Uid']),
                    int(field['PPid']),
                    line.replace('\0', ' ').strip(),
                ),
            )


def _listener(base: Path, table: Mapping[int, _Process]) -> int | None:
    try:
        pid = int((base / 'sshd' / 'pid').read_text('ascii'))
    except (OSError, ValueError):
        return None
    # The number may be another process's by now.
    return pid if pid in table and str(base) in table[pid].command else None
