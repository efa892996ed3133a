"""The fixtures of all tests, and the watch over what a test leaves behind."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from repositories import Clone, Repository
from world import World


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
