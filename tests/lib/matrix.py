"""The suite, or a part of it, with each Mercurial and paramiko supported.

    matrix.py ENVIRONMENTS [PYTEST_ARGUMENT...]

Makes an environment in the folder ENVIRONMENTS for each line of VERSIONS and
each Python of PYTHONS that is on PATH or is pyenv's, runs pytest there, and
prints a table, as reStructuredText, of what was run. Without PYTEST_ARGUMENTs
that is PART. The exit status is 1 if something failed. Where other accounts
could not run a Python (as root, one below /root), a copy of it in ENVIRONMENTS
is used.

Uses the standard library alone, as environment.py does.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import environment

# Each Mercurial and each paramiko at least once, and the oldest of one with
# the newest of the other; and the last Python 3 that they can have.
NEWEST = 14
VERSIONS = {
    'mercurial==6.3.3 paramiko==2.12.0 cryptography==38.0.4': 11,
    'mercurial==6.3.3 paramiko==5.1.0': 11,
    'mercurial==6.6.3 paramiko==3.5.1': 11,
    'mercurial==6.9.5 paramiko==3.5.1': NEWEST,
    'mercurial==7.0.3 paramiko==4.0.0': NEWEST,
    'mercurial==7.1.2 paramiko==4.0.0': NEWEST,
    'mercurial==7.2.4 paramiko==2.12.0 cryptography==38.0.4': NEWEST,
    'mercurial==7.2.4 paramiko==5.1.0': NEWEST,
}
PYTHONS = tuple(f'python3.{minor}' for minor in range(9, NEWEST + 1))
# What differs from one release to the next: the hooks and the wire protocol of
# Mercurial's, logging in and running something by paramiko.
PART = [
    f'tests/server/test_{name}.py'
    for name in ('deploy', 'session_login', 'session_certificate')
]
ROOT = Path(__file__).resolve().parents[2]


def pythons(base: Path) -> dict[str, str]:
    """The interpreters that can be had, by their names."""
    folders = environment.PROGRAM_PATH.split(':')
    folders += glob.glob(os.path.expanduser('~/.pyenv/versions/*/bin'))
    found: dict[str, str] = {}
    for name in PYTHONS:
        paths = [shutil.which(name, path=folder) for folder in folders]
        # One of pyenv's shims may be there without its Python.
        there = [path for path in paths if path and environment.versions(path)]
        if there:
            # Only as root are there other accounts to run it.
            free = [
                path
                for path in there
                if os.getuid() or environment.everyone_may_run(path)
            ]
            found[name] = free[0] if free else copied(there[0], base / name)
    return found


def copied(python: str, folder: Path) -> str:
    """PYTHON's installation in FOLDER, which other accounts can reach."""
    program = folder / 'bin' / Path(python).name
    if not program.exists():
        where = 'import sys; print(sys.base_prefix)'
        prefix = subprocess.check_output([python, '-I', '-c', where], text=True)
        shutil.rmtree(folder, ignore_errors=True)
        unused = shutil.ignore_patterns('site-packages', 'test', '__pycache__')
        shutil.copytree(prefix.strip(), folder, symlinks=True, ignore=unused)
        # Where the dynamic linker looks is written in the program; the length
        # of that string cannot change.
        old, new = f'{prefix.strip()}/lib'.encode(), b'$ORIGIN/../lib'
        content = program.read_bytes()
        program.write_bytes(content.replace(old, new.ljust(len(old), b'\0')))
    return str(program)


def prepare(folder: Path, python: str, requirements: list[str]) -> str:
    """Make FOLDER; what went wrong, or ''."""
    try:
        environment.update(folder, python, requirements, pinned=False)
    except environment.Missing as missing:
        return f'not installed: {missing.args[0]}'
    return ''


def trial(folder: Path, arguments: list[str]) -> str:
    """What pytest says in the end when it is run in FOLDER."""
    clean = {'PATH': environment.PROGRAM_PATH, 'LANG': 'C.UTF-8'}
    done = subprocess.run(
        [str(folder / 'bin' / 'python'), '-m', 'pytest', '-n', '2', *arguments],
        cwd=ROOT,
        env={**clean, 'HOME': os.environ['HOME']},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    print(done.stdout, flush=True)
    found = re.search(r'=+ (.*) in [\d.]+s', done.stdout.rpartition('\n=')[2])
    words = found[1] if found else f'pytest: exit status {done.returncode}'
    counts = re.findall(r'\d+ (?:passed|failed|error)s?', words)
    return ', '.join(counts) or words


def table(rows: list[tuple[str, ...]]) -> str:
    """ROWS, of which the first is the heading, as a simple table."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    rule = '  '.join('=' * width for width in widths)
    lines = [
        '  '.join(
            word.ljust(width) for word, width in zip(row, widths)
        ).rstrip()
        for row in rows
    ]
    return '\n'.join([rule, lines[0], rule, *lines[1:], rule])


def main() -> int:
    base, *arguments = sys.argv[1:]
    os.umask(0o022)
    found = pythons(Path(base))
    rows: list[tuple[str, ...]] = [
        ('Mercurial', 'paramiko', 'Python', 'result')
    ]
    for name, python in found.items():
        for words, last in VERSIONS.items():
            if PYTHONS.index(name) > PYTHONS.index(f'python3.{last}'):
                continue
            releases = re.findall('==([0-9.]+)', words)[:2]
            folder = Path(base, f'matrix-{"-".join([*releases, name])}')
            result = prepare(folder, python, words.split())
            result = result or trial(folder, arguments or PART)
            rows.append((*releases, name.removeprefix('python'), result))
    print(table(rows))
    for name in PYTHONS:
        if name not in found:
            print(f'{name}: not tried, not on this machine')
    return int(not all(re.fullmatch(r'\d+ passed', row[3]) for row in rows[1:]))


if __name__ == '__main__':
    sys.exit(main())
