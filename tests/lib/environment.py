"""Make or bring up to date one virtual environment that the tests run in.

    environment.py FOLDER [--debian | --engines] REQUIREMENT...

FOLDER gets tests/lib/requirements.txt and every REQUIREMENT (as pip takes
them). With --debian the packages of /usr/bin/python3 are used instead of the
REQUIREMENTs if they are of the same releases. A stamp in FOLDER makes the
next run quick. Programs that the tests need are installed by apt-get if this
is root on a Debian system, and otherwise named; then the exit status is 1.

Uses the standard library alone: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().with_name('requirements.txt')
SYSTEM = '/usr/bin/python3'
PROGRAM_PATH = os.environ.get('PATH', '') + ':/usr/sbin:/sbin:/usr/bin:/bin'
PACKAGES = {
    'sshd': 'openssh-server',
    'ssh': 'openssh-client',
    'ssh-keygen': 'openssh-client',
    'setpriv': 'util-linux',
    'bwrap': 'bubblewrap',
}
# On a Debian system: what builds contrib/debian, web servers, a browser,
# PuTTY's keys, engines, and what a script might keep the account with.
DEBIAN_PACKAGES = {
    'apache2': 'apache2-bin',
    'chg': 'mercurial',
    'chromium': 'chromium',
    'dpkg-buildpackage': 'dpkg-dev',
    'dh': 'debhelper',
    'dh_python3': 'dh-python',
    'lighttpd': 'lighttpd',
    'nginx': 'nginx-light',
    'puttygen': 'putty-tools',
    'crontab': 'cron',
    'curl': 'curl',
    'at': 'at',
    'parallel': 'parallel',
    'clush': 'clustershell',
}
# For 'make test-engines' alone.
ENGINES = {
    'busybox': 'busybox-static',
    'catatonit': 'catatonit',
    'munged': 'munge',
    'podman': 'podman',
    'runc': 'runc',
    'slurmctld': 'slurmctld',
    'slurmd': 'slurmd',
    'srun': 'slurm-client',
}
MOD_WSGI = Path('/usr/lib/apache2/modules/mod_wsgi.so')
MODULES = {'mercurial': 'mercurial', 'paramiko': 'python3-paramiko'}
VERSIONS = """
import json, platform, sys
found = {'python': platform.python_version()}
try:
    import mercurial.__version__
    found['mercurial'] = mercurial.__version__.version.decode('ascii')
except ImportError:
    pass
try:
    import paramiko
    found['paramiko'] = paramiko.__version__
except ImportError:
    pass
try:
    import ensurepip, venv
    found['venv'] = True
except ImportError:
    pass
try:
    import setuptools
    found['setuptools'] = setuptools.__version__
except ImportError:
    pass
json.dump(found, sys.stdout)
"""


class Missing(Exception):
    """What is missing here, and in the second argument what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--debian', action='store_true')
    parser.add_argument('--engines', action='store_true')
    parser.add_argument('requirements', nargs='+')
    options = parser.parse_args()
    os.umask(0o022)  # other accounts run what is installed here
    options.folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(f'{options.folder}.lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if options.engines:
                DEBIAN_PACKAGES.update(ENGINES)
            install_missing(options.debian)
            update(options.folder, *plan(options.debian, options.requirements))
    except Missing as missing:
        print('tests: {}\n({})'.format(*missing.args), file=sys.stderr)
        return 1
    return 0


def install_missing(debian: bool) -> None:
    absent = missing_packages(debian)
    if absent and os.getuid() == 0 and shutil.which('apt-get'):
        say(f'installing {" ".join(absent)}')
        apt = ['apt-get', '-q', '-y']
        quiet = {**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'}
        for arguments in (['update'], ['install', *absent]):
            run([*apt, *arguments], quiet)
        absent = missing_packages(debian)
    # Without Debian's own modules pip may still build the same releases.
    absent = [name for name in absent if name not in MODULES.values()]
    if absent:
        raise Missing(
            f'not on this machine: {", ".join(absent)}',
            f'apt-get install {" ".join(absent)}',
        )


def missing_packages(debian: bool) -> list[str]:
    """The Debian packages of whatever the tests need and is not there."""
    on_debian = shutil.which('apt-get', path=PROGRAM_PATH)
    programs = {**PACKAGES, **(DEBIAN_PACKAGES if on_debian else {})}
    absent = {
        package
        for program, package in programs.items()
        if not shutil.which(program, path=PROGRAM_PATH)
    }
    found = versions(SYSTEM)
    if on_debian and 'setuptools' not in found:
        absent.add('python3-setuptools')
    if on_debian and not MOD_WSGI.exists():
        absent.add('libapache2-mod-wsgi-py3')
    if 'venv' not in found:
        absent.add('python3-venv')
    if debian or on_debian:
        absent.update(MODULES[name] for name in MODULES if name not in found)
    return sorted(absent)


def plan(debian: bool, requirements: list[str]) -> tuple[str, list[str], bool]:
    """Which interpreter, what pip installs, and whether Debian's are used."""
    if not debian:
        return SYSTEM, requirements, False
    if same_releases(versions(SYSTEM), requirements):
        debians = (*MODULES, 'cryptography')
        others = [r for r in requirements if r.split('==')[0] not in debians]
        return SYSTEM, others, True
    # Mercurial 6.3 has no wheel and does not build with Python 3.12; the pinned
    # hypothesis needs 3.11.
    for python in (SYSTEM, shutil.which('python3.11'), sys.executable):
        if python and versions(python).get('python', '').startswith('3.11.'):
            # Only as root are there other accounts to run it.
            if os.getuid() != 0 or everyone_may_run(python):
                return python, requirements, False
    raise Missing(
        f'neither Debian packages of {" and ".join(requirements[:2])} here '
        'nor a Python 3.11 to build them with',
        'use Debian 12, or put a python3.11 on PATH that all accounts may run',
    )


def versions(python: str) -> dict[str, str]:
    # -I: the caller's PYTHONPATH and user packages are not the environment's.
    command = [python, '-I', '-W', 'ignore', '-c', VERSIONS]
    try:
        result = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    found: dict[str, str] = json.loads(result.stdout)
    return found


def same_releases(found: dict[str, str], requirements: list[str]) -> bool:
    wanted = dict(text.split('==') for text in requirements)
    return all(
        release(found.get(name, '')) == release(wanted[name])
        for name in MODULES
    )


def release(version: str) -> list[str]:
    return version.split('.')[:2]


def everyone_may_run(python: str) -> bool:
    path = Path(python).resolve()
    return all(
        folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents)
    )


def update(
    folder: Path,
    python: str,
    requirements: list[str],
    system: bool = False,
    pinned: bool = True,
) -> None:
    """Make FOLDER with REQUIREMENTS and TOOLS, unless it is as wanted.

    SYSTEM: with the packages of PYTHON itself. Without PINNED each tool is of
    the newest release that PYTHON can have.
    """
    stamp = folder / 'stamp'
    found = versions(python)
    base = found if system else found['python']
    tools = re.findall('^[^#].*', TOOLS.read_text('utf-8'), re.M)
    if not pinned:
        tools = [tool.partition('==')[0] for tool in tools]
    wanted = json.dumps([python, base, requirements, tools])
    if stamp.exists() and stamp.read_text('utf-8') == wanted:
        return
    say(f'making {folder}')
    flags = ['--system-site-packages'] if system else []
    run([python, '-I', '-m', 'venv', '--clear', *flags, str(folder)])
    pip = [str(folder / 'bin' / 'python'), '-I', '-m', 'pip', 'install']
    pip += ['-qq', '--disable-pip-version-check', '--no-input']
    run([*pip, *requirements, *tools], pip_environment())
    stamp.write_text(wanted, 'utf-8')


def pip_environment() -> dict[str, str]:
    """Ours, with what pip needs (certificates, an index, a proxy) but not
    what would make it install elsewhere."""
    elsewhere = 'PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_REQUIRE_VIRTUALENV'
    return {
        name: value
        for name, value in os.environ.items()
        if name not in elsewhere.split() and not name.startswith('PYTHON')
    }


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    try:
        subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(
            str(error), 'what it printed above says why; then run make again'
        ) from error


def say(text: str) -> None:
    print(f'tests: {text}', flush=True)


if __name__ == '__main__':
    sys.exit(main())
