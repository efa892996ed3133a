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

    @property
    def command(self) -> str:
        line = self._read('cmdline').replace(b'\0', b' ').strip()
        return line.decode('utf-8', 'replace')

    def in_a_container(self) -> bool:
        """Whether its uid means somebody else's account."""
        try:
            return not (self.folder / 'root').samefile('/')
        except OSError:
            # It has ended, or this is a container, from which none is seen.
            return False

    def has(self, mark: bytes) -> bool:
        return mark in self._read('environ')

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return b''  # it has ended meanwhile, or is not ours


# Tests look again and again, until what they wait for has ended.
_STATUS = re.compile(
    rb'.*?^State:\s(\S).*?^PPid:\s(\d+).*?^Uid:\s(\d+)',
    re.DOTALL | re.MULTILINE,
)


def _table() -> Iterable[tuple[int, _Process]]:
    for name in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{name}/status', 'rb') as file:
                found = _STATUS.match(file.read())
        except OSError:
            continue  # it has ended meanwhile
        if found and found[1] != b'Z':
            folder = Path('/proc', name)
            yield int(name), _Process(folder, int(found[3]), int(found[2]))


def _listener(base: Path, table: Mapping[int, _Process]) -> int | None:
    try:
        pid = int((base / 'sshd' / 'pid').read_text('ascii'))
    except (OSError, ValueError):
        return None
    # The number may be another process's by now.
    return pid if pid in table and str(base) in table[pid].command else None
