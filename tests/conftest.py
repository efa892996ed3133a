"""The fixtures of all tests, and the watch over what a test leaves behind."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import hostile
import loopback
import pushed
import pytest
import sessions
import sshhome
from hgrc import targets
from hypothesis import HealthCheck, settings
from repositories import Clone, Repository
from world import World

# How long an example takes says how much else the machine has to do.
settings.register_profile(
    'suite', deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile('suite')


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--one-of-each',
        action='store_true',
        help='of a test with many sets of parameters run the first alone',
    )


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    if config.getoption('one_of_each'):
        firsts: dict[str, pytest.Item] = {}
        for item in items:
            firsts.setdefault(item.nodeid.partition('[')[0], item)
        left_out = [item for item in items if item not in firsts.values()]
        config.hook.pytest_deselected(items=left_out)
        items[:] = firsts.values()


def pytest_configure() -> None:
    # One seed for all processes of a run: some choose their cases by it.
    os.environ.setdefault('HGD_SEED', str(random.randrange(10**6)))
    # A run that is told to end removes its accounts and servers first.
    # Whoever runs it in the background may have SIGINT and SIGQUIT ignored,
    # and so would all that the tests start.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(scope='session', name='world')
def the_world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def repository(world: World) -> Repository:
    """A new, empty repository with the extension enabled."""
    return world.repository()


@pytest.fixture
def clone(world: World, repository: Repository) -> Clone:
    """The pusher's clone of it."""
    return world.clone(repository)


@pytest.fixture
def ready(world: World, repository: Repository, clone: Clone) -> Clone:
    """A clone of a repository with the target blog."""
    repository.hgrc(targets(world))
    return clone


@pytest.fixture(name='pushed')
def a_clone_that_has_pushed(
    world: World, repository: Repository, clone: Clone
) -> Clone:
    """The same, whose one changeset was pushed and deployed."""
    pushed.lay(world, repository, clone)
    return clone


@pytest.fixture(autouse=True)
def nothing_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test finds the homes new, and leaves no process, no thread and
    this process's environment and folder as they were."""
    world = None
    if 'world' in request.fixturenames:
        world = request.getfixturevalue('world')
        world.reset()
    before = surroundings()
    threads = set(threading.enumerate())
    yield
    assert surroundings() == before
    left = set()
    for _ in range(500):  # what is about to end may do so
        left = set(threading.enumerate()) - threads
        if not left and not (world and world.living()):
            return
        time.sleep(0.01)
    running = world.living() if world else {}
    if world:
        world.end_processes()
    pytest.fail(f'the test left threads {left} and processes {running}')


def pytest_report_header() -> str:
    return f'HGD_SEED={os.environ["HGD_SEED"]} repeats the random cases'


def surroundings() -> tuple[dict[str, str], str]:
    environment = dict(os.environ)
    environment.pop('PYTEST_CURRENT_TEST')
    return environment, os.getcwd()


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loopback.Sshd]:
    """OpenSSH's sshd for this process's own account."""
    server = loopback.Sshd(tmp_path_factory.mktemp('sshd'))
    yield server
    server.close()


@pytest.fixture
def sshd(server: loopback.Sshd) -> Iterator[loopback.Sshd]:
    """The same, of whose sessions nothing may be left."""
    with sessions.nothing_left():
        yield server
        server.settle()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new home, with a .ssh."""
    sshhome.move(tmp_path, monkeypatch)
    (tmp_path / '.ssh').mkdir(0o700)
    return tmp_path


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key of a server, and one to log in with."""
    folder = tmp_path_factory.mktemp('keys')
    loopback.keygen(folder / 'host_ed25519')
    loopback.keygen(folder / 'identity')
    return folder


@pytest.fixture(
    params=[
        pytest.param(False, id='delegation'),
        pytest.param(True, id='gate', marks=pytest.mark.once),
    ]
)
def for_gates_as_well(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each test twice: hostile.run() is a delegation's session or a gate's."""
    monkeypatch.setattr(hostile, 'as_gate', request.param)


@pytest.fixture
def nothing_is_left_or_said(
    capfd: pytest.CaptureFixture[str],
) -> Iterator[None]:
    """Nothing of a session is left, and nobody has printed anything."""
    with sessions.nothing_left():
        yield
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ('', '')
