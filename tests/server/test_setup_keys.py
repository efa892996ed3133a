"""The key pair that hg delegate-setup makes, and where it refuses to."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import loopback
import pytest
import verdict
from mercurial import error
from repositories import Repository
from setups import FOLDER, paste, refused, script, setup, url
from snapshot import tree
from world import World

from hgext_delegate import errors
from hgext_delegate.commands.setup import command, keypair, private

STORE = b'/srv/site/.hg'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.delenv('XDG_CONFIG_HOME', raising=False)
    return tmp_path


def make(target: str = 'blog', store: bytes = STORE) -> keypair.Pair:
    return keypair.make(target, store, f'delegate:{target}@site')


def names(home: Path) -> list[str]:
    return sorted(os.listdir(home / FOLDER / 'keys'))


def test_ssh_itself_can_use_the_key(
    world: World, repository: Repository
) -> None:
    done = setup(world, repository, '--command', script(world))
    paste(world, repository, done)
    path = next((world.server.home / FOLDER / 'keys').glob('*.pub'))
    command = [*world.ssh(world.server), '-p', str(world.port)]
    command[
        command.index(f'IdentityFile={world.server.home}/.ssh/id_ed25519')
    ] = f'IdentityFile={path.with_suffix("")}'
    said = world.server.run([*command, f'{world.deploy.name}@localhost', 'x'])
    assert said.stdout == b'deployed\n'


def test_ssh_keygen_reads_what_is_made(home: Path) -> None:
    pair = make()
    done = subprocess.run(
        ['ssh-keygen', '-y', '-P', '', '-f', pair.path],
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().split()[:2] == pair.public.split()
    text = Path(pair.path + '.pub').read_text('ascii')
    assert text == f'{pair.public} delegate:blog@site\n'


def test_each_repository_and_target_has_a_key_of_its_own(home: Path) -> None:
    pairs = [make(t, s) for t in ('a', 'b') for s in (STORE, b'/srv/b/.hg')]
    assert len({pair.public for pair in pairs}) == 4
    assert [make(t, s) for t in 'ab' for s in (STORE, b'/srv/b/.hg')] == pairs


def test_a_repository_is_the_same_by_another_way(home: Path) -> None:
    (home / 'site').mkdir()
    (home / 'link').symlink_to('site')
    stores = [os.fsencode(home / name / '.hg') for name in ('site', 'link')]
    assert make(store=stores[0]) == make(store=stores[1])


def test_xdg_config_home_names_the_place(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CONFIG_HOME', 'relative')
    assert make().path.startswith(f'{home}/.config/hg-delegate/keys/blog-')
    monkeypatch.setenv('XDG_CONFIG_HOME', str(home / 'x'))
    assert make().path.startswith(f'{home}/x/hg-delegate/keys/blog-')
    assert stat.S_IMODE((home / 'x').stat().st_mode) == 0o700


def test_modes_do_not_depend_on_the_umask(home: Path) -> None:
    for umask in (0, 0o777):
        before = os.umask(umask)
        try:
            path = Path(make(f'u{umask}').path)
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_public_half_that_is_lost_is_made_again(home: Path) -> None:
    pair = make()
    os.unlink(pair.path + '.pub')
    assert make() == pair
    assert Path(pair.path + '.pub').read_text('ascii').startswith(pair.public)


def test_whoever_is_quicker_makes_the_key(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make()
    before = tree(home)
    # As if the other had made it right after this look.
    monkeypatch.setattr(private.Folder, 'has', lambda folder, name: False)
    assert make() == pair
    assert len(names(home)) == 2
    after = {path: entry[2] for path, entry in tree(home).items()}
    assert after == {path: entry[2] for path, entry in before.items()}


def test_many_at_once_make_one_key(
    world: World, repository: Repository
) -> None:
    command = [*repository.program, '-R', str(repository.path)]
    command += ['delegate-setup', 'blog', url(world)]
    running = [
        world.server.popen(command, stdout=subprocess.PIPE) for _ in range(4)
    ]
    printed = {process.communicate(timeout=120)[0] for process in running}
    assert len(printed) == 1 and b'restrict,' in printed.pop()
    assert len(names(world.server.home)) == 2


@pytest.mark.parametrize('call', ['link', 'fsync'])
def test_of_a_key_that_cannot_be_written_nothing_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*args: object, **keywords: object) -> None:
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(errors.DelegateError) as caught:
            make()
    assert caught.value.reason == (
        f'cannot use {home / FOLDER}/keys: No space left on device'
    )
    assert names(home) == []


def link(path: Path) -> None:
    path.rename(path.parent / 'elsewhere')
    path.symlink_to('elsewhere')


def loosen(path: Path) -> None:
    path.chmod(0o770)


def fill(path: Path) -> None:
    path.rename(path.parent / 'elsewhere')
    path.write_text('', 'ascii')


@pytest.mark.parametrize('name', [FOLDER, FOLDER / 'keys'])
@pytest.mark.parametrize(
    ('spoil', 'said'),
    [
        (link, 'cannot use {}: Not a directory'),
        (fill, 'cannot use {}: Not a directory'),
        (loosen, '{} can be written by others'),
    ],
)
def test_a_folder_that_others_may_have_a_hand_in_is_refused(
    home: Path, name: Path, spoil: Callable[[Path], None], said: str
) -> None:
    make('other')
    spoil(home / name)
    before = tree(home)
    with pytest.raises(errors.DelegateError) as caught:
        make()
    assert caught.value.reason == said.format(home / name)
    assert caught.value.remedy
    assert tree(home) == before


@pytest.mark.parametrize('name', ['.config', FOLDER, FOLDER / 'keys'])
def test_a_folder_of_another_account_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: Path
) -> None:
    make('other')
    there, real = os.stat(home / name), os.fstat

    def fstat(fd: int) -> os.stat_result:
        status = real(fd)
        if status.st_ino != there.st_ino:
            return status
        return os.stat_result([*status[:4], 12345, *status[5:]])

    monkeypatch.setattr(os, 'fstat', fstat)
    with pytest.raises(errors.DelegateError) as caught:
        make()
    assert caught.value.reason == f'{home / name} belongs to another account'
    assert 'sudo -H' in caught.value.remedy
    monkeypatch.undo()
    monkeypatch.setenv('HOME', str(home))
    assert len(names(home)) == 2


def encrypt(path: Path) -> None:
    subprocess.run(
        ['ssh-keygen', '-q', '-p', '-P', '', '-N', 'secret', '-f', str(path)],
        stdout=subprocess.DEVNULL,
        check=True,
    )


def of_another_type(path: Path) -> None:
    path.unlink()
    loopback.keygen(path.with_name('rsa'), 'rsa').rename(path)


def show(path: Path) -> None:
    path.chmod(0o644)


def cut(path: Path) -> None:
    os.truncate(path, 200)


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to('nowhere')


@pytest.mark.parametrize(
    ('spoil', 'said'),
    [
        (encrypt, 'is encrypted'),
        (of_another_type, 'is not an ed25519 key'),
        (show, 'can be used by others (mode 0644)'),
        (cut, 'is damaged'),
        (dangle, 'does not exist'),
    ],
)
def test_a_key_that_must_not_be_used_is_refused_and_kept(
    home: Path, spoil: Callable[[Path], None], said: str
) -> None:
    path = Path(make().path)
    spoil(path)
    before = tree(home)
    with pytest.raises(errors.DelegateError) as caught:
        make()
    assert path.name in str(caught.value) and said in str(caught.value)
    assert tree(home) == before


@pytest.mark.parametrize('place', ['.config', 'none/at/all'])
def test_without_the_right_to_write_it_says_so(
    world: World, repository: Repository, place: str
) -> None:
    folder = world.server.mkdir(place.partition('/')[0])
    folder.chmod(0o500)
    env = {'XDG_CONFIG_HOME': str(world.server.home / place)}
    said = refused(setup(world, repository, check=False, env=env))
    folder.chmod(0o700)
    path = world.server.home / place / 'hg-delegate'
    assert said == (
        f'abort: cannot use {path}: Permission denied\n'
        '(XDG_CONFIG_HOME can name a folder of this account for it)\n'
    )


def test_a_folder_whose_name_no_hgrc_can_have_is_refused(
    world: World, repository: Repository
) -> None:
    env = {'XDG_CONFIG_HOME': f'{world.server.home}/two\nlines'}
    said = refused(setup(world, repository, check=False, env=env))
    assert "two\\nlines" in said and ' cannot stand in an hgrc\n' in said


def test_any_other_name_of_the_folder_will_do(
    world: World, repository: Repository
) -> None:
    place = world.server.home / ' a;b #[c] %include "d"=\'e\' $HOME Zoë'
    env = {'XDG_CONFIG_HOME': str(place)}
    done = setup(world, repository, '--command', script(world), env=env)
    paste(world, repository, done)
    clone = world.clone(repository)
    clone.commit()
    assert verdict.last(clone.push()).state == 'deployed'


def test_root_makes_no_key_for_the_repository_of_another(
    world: World, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = world.server
    path = repository.path / '.hg'
    for uid in (account.uid, 12345):
        # Others may serve it as well, by their group.
        monkeypatch.setattr(os, 'geteuid', lambda uid=uid: uid)
        command.refuse_root(os.fsencode(path))
    monkeypatch.setattr(os, 'geteuid', lambda: 0)
    with pytest.raises(error.StateError) as caught:
        command.refuse_root(os.fsencode(path))
    assert caught.value.message == (
        b'the repository belongs to %s, and this is root'
        % account.name.encode()
    )
    assert caught.value.hint.endswith(
        b': sudo -H -u %s hg' % account.name.encode()
    )
