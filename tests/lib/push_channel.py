"""The push channel, as a client without a shell on the server uses it."""

from __future__ import annotations

import subprocess

from repositories import Clone, Push, RunningPush

NOTHING = 40 * '0'


def start(clone: Clone, *args: str) -> RunningPush:
    """Start hg ARGS in CLONE, whose lines are not buffered."""
    process = clone.owner.popen(
        [*clone.program, '-R', str(clone.path), *args],
        cwd=clone.path,
        env={'PYTHONUNBUFFERED': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return RunningPush(process)


def ask(
    clone: Clone, url: str, key: str, old: str, new: str, good: bool = True
) -> Push:
    """hg debugpushkey; it succeeds if that is GOOD."""
    running = start(clone, 'debugpushkey', url, 'delegate', key, old, new)
    said = running.finish(check=False)
    assert said.returncode == (0 if good else 1), said
    assert (b'True\n' if good else b'False\n') in said.stdout, said
    return said


def listed(clone: Clone, url: str) -> dict[str, str]:
    """What hg debugpushkey lists."""
    said = clone.hg('debugpushkey', url, 'delegate').stdout.decode()
    lines = [x for x in said.splitlines() if not x.startswith('remote: ')]
    return dict(line.split('\t', 1) for line in lines)
