"""The packages have all that they should have, and install beside any hg."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from accounts import ROOT
from servers import SBIN
from sources import CHECKOUT

import hgext_delegate

pytestmark = pytest.mark.once


VERSION = hgext_delegate.__version__.decode('ascii')
# What version control and earlier runs leave in a checkout.
OTHERS = shutil.ignore_patterns(
    *(
        '.git',
        '.hg',
        '.hgignore',
        '.venv',
        '.*_cache',
        '.hypothesis',
        '__pycache__',
    ),
    *('*.egg-info', 'build', 'dist', '_build', '.gitignore', '.pybuild'),
)
HG = 'from mercurial import dispatch; dispatch.run()'


def run(folder: Path, *command: str | Path) -> str:
    """What COMMAND prints, in FOLDER, which is its home too."""
    home = {'HOME': str(folder), 'PATH': SBIN, 'LANG': 'C.UTF-8'}
    done = subprocess.run(
        command,
        cwd=folder,
        env=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


def build(source: Path) -> tuple[Path, Path]:
    """The sdist made from SOURCE, and the wheel made from that."""
    run(source, sys.executable, '-m', 'build', '--no-isolation')
    (sdist,) = source.glob('dist/*.tar.gz')
    (wheel,) = source.glob('dist/*.whl')
    return sdist, wheel


@pytest.fixture(name='source', scope='module')
def copy_of_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy(tmp_path_factory.mktemp('packaging') / 'source')


def copy(path: Path) -> Path:
    """A copy of the checkout at PATH, without what docs/install.rst makes."""
    shutil.copytree(CHECKOUT, path, ignore=OTHERS)
    shutil.rmtree(path / 'debian', ignore_errors=True)
    return path


@pytest.fixture(name='packages', scope='module')
def sdist_and_wheel(source: Path) -> tuple[Path, Path]:
    return build(source)


@pytest.fixture(name='python')
def beside_mercurial(tmp_path: Path) -> Path:
    """The interpreter of a new environment that has the Mercurial and the
    paramiko of this one, and pip to look at it from outside."""
    folder = tmp_path / 'venv'
    run(tmp_path, sys.executable, '-I', '-m', 'venv', '--without-pip', folder)
    (packages,) = folder.glob('lib/python3*/site-packages')
    here = [path for path in sys.path if path.endswith('-packages')]
    lines = ''.join(f'{path}\n' for path in here)
    (packages / 'mercurial.pth').write_text(lines, 'utf-8')
    return folder / 'bin' / 'python'


def pip(python: Path, *words: str | Path) -> str:
    options: list[str | Path] = [
        '--disable-pip-version-check',
        '--no-input',
        '--python',
        python,
    ]
    command = [sys.executable, '-I', '-m', 'pip', *options]
    return run(python.parents[1], *command, *words)


def hg(python: Path, *words: str) -> str:
    enable = ['--config', 'extensions.hgext_delegate=']
    folder = python.parents[1]
    return run(folder, python, '-I', '-c', HG, *enable, *words)


def shown(python: Path) -> str:
    found = re.search(
        r'hgext_delegate +external +(.*)', hg(python, 'version', '-v')
    )
    assert found
    return found[1]


def test_twine_finds_nothing(source: Path, packages: tuple[Path, Path]) -> None:
    run(source, sys.executable, '-m', 'twine', 'check', '--strict', *packages)


def test_the_sdist_has_the_whole_checkout(
    packages: tuple[Path, Path], tmp_path: Path
) -> None:
    clean = copy(tmp_path / 'clean')
    files = {
        str(path.relative_to(clean))
        for path in Path(clean).rglob('*')
        if path.is_file()
    }
    with tarfile.open(packages[0]) as archive:
        names = [member.name for member in archive if member.isfile()]
    packed = {name.partition('/')[2] for name in names}
    assert files - packed == set()
    extra = {name for name in packed - files if '.egg-info/' not in name}
    # which are there already where this is one that was unpacked
    assert extra <= {'PKG-INFO', 'setup.cfg'}


def test_the_wheel_has_the_package_and_nothing_else(
    packages: tuple[Path, Path],
) -> None:
    package = CHECKOUT / 'hgext_delegate'
    files = {
        str(path.relative_to(CHECKOUT))
        for path in package.rglob('*')
        if path.suffix in ('.py', '.txt', '.css')
    }
    names = set(zipfile.ZipFile(packages[1]).namelist())
    files |= {f'hg_delegate-{VERSION}.data/data/share/man/man1/hg-delegate.1'}
    info = f'hg_delegate-{VERSION}.dist-info/'
    assert {name for name in names if not name.startswith(info)} == files
    assert f'{info}licenses/COPYING' in names


def test_it_is_installed_upgraded_and_removed_beside_mercurial(
    source: Path, packages: tuple[Path, Path], python: Path, tmp_path: Path
) -> None:
    old = Path(
        shutil.copytree(
            source,
            tmp_path / 'old',
            ignore=shutil.ignore_patterns('dist', 'build', '*.egg-info'),
        )
    )
    path = old / 'hgext_delegate' / '__init__.py'
    text = path.read_text('utf-8').replace(VERSION, '0.0.9')
    path.write_text(text, 'utf-8')
    (old / 'hgext_delegate' / 'gone.py').write_text('', 'utf-8')
    for wheel, version in ((build(old)[1], '0.0.9'), (packages[1], VERSION)):
        # its requirements are looked for, and must be there
        pip(python, 'install', '--no-index', wheel)
        assert re.fullmatch(
            rf'{re.escape(version)} \(paramiko \d+\.\d+\.\d+\)', shown(python)
        )
    assert not list(python.parents[1].rglob('gone.py'))
    page = python.parents[1] / 'share' / 'man' / 'man1' / 'hg-delegate.1'
    assert page.exists()
    assert 'NAME:when' in hg(python, 'help', 'delegate.config')
    hg(python, 'init', 'r')
    assert hg(python, '-R', 'r', 'delegate-log') == ''
    pip(python, 'uninstall', '-y', 'hg-delegate')
    assert not page.exists()
    assert not list(python.parents[1].rglob('hgext_delegate'))


# Run in a mount namespace of its own: what dpkg changes is gone with it.
INSTALL = """\
mkdir layers
mount -t tmpfs layers layers
for folder in usr var etc; do
  mkdir -p layers/$folder/upper layers/$folder/work
  mount -t overlay overlay -o "lowerdir=/$folder,\
upperdir=layers/$folder/upper,workdir=layers/$folder/work" /$folder
done
dpkg -i ./*.deb
hg --config extensions.hgext_delegate= version -v
test -x /usr/bin/delegate-pending
dpkg -r hg-delegate
"""


@pytest.fixture(name='package')
def debian_package(source: Path, tmp_path: Path) -> Path:
    """The package that contrib/debian makes."""
    skip = shutil.ignore_patterns('dist', 'build', '*.egg-info')
    folder = Path(shutil.copytree(source, tmp_path / 'source', ignore=skip))
    shutil.copytree(folder / 'contrib' / 'debian', folder / 'debian')
    if ROOT:
        # as the manual says; all of it is there already
        said = run(folder, 'apt', 'build-dep', '-s', './')
        assert '0 newly installed' in said
    # the second finds what the first has left
    for _ in range(2):
        run(folder, 'dpkg-buildpackage', '-us', '-uc')
    (source_package,) = tmp_path.glob('*.dsc')
    assert '3.0 (native)' in source_package.read_text('utf-8')
    (path,) = tmp_path.glob('*.deb')
    return path


@pytest.mark.skipif(not shutil.which('dpkg'), reason='this is no Debian')
def test_the_debian_package_works_with_debians_mercurial(package: Path) -> None:
    name, release, _ = package.name.split('_')
    assert (name, release) == ('hg-delegate', VERSION)
    packed = run(package.parent, 'dpkg-deb', '-c', package)
    assert './usr/share/man/man1/hg-delegate.1.gz' in packed
    depends = run(package.parent, 'dpkg-deb', '-f', package, 'Depends')
    for other in ('mercurial (>= 6.3)', 'python3-paramiko (>= 2.12)'):
        assert other in depends
    if ROOT:
        said = run(package.parent, 'unshare', '-m', 'sh', '-ec', INSTALL)
    else:
        run(package.parent, 'dpkg-deb', '-x', package, 'root')
        packages = package.parent / 'root/usr/lib/python3/dist-packages'
        enable = f'extensions.hgext_delegate={packages}/hgext_delegate'
        said = run(package.parent, 'hg', '--config', enable, 'version', '-v')
    assert re.search(rf'hgext_delegate +external +{VERSION} \(paramiko', said)
