"""What the journal of a repository says, and a journal with every state."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator

from repositories import Repository
from world import World

from hgext_delegate.state import delegation, journal as journalmod


def log(repository: Repository, *args: str) -> list[dict]:
    """What hg delegate-log lists, newest first."""
    said = repository.ask('delegate-log', '-Tjson', *args).stdout
    return json.loads(said)


def states(repository: Repository) -> list[str]:
    """Oldest first."""
    return [row['state'] for row in reversed(log(repository))]


def outcomes(repository: Repository) -> list[tuple[str, str]]:
    """(state, node), oldest first."""
    rows = reversed(log(repository))
    return [(row['state'], row['node']) for row in rows]


@contextlib.contextmanager
def every_state(world: World, repository: Repository) -> Iterator[None]:
    """One delegation to blog in each state, pending is 1 and so on."""
    folder = repository.path / '.hg' / 'delegate'
    world.server.mkdir(folder / 'log')
    lock = world.server.write(folder / 'blog.lock', '')
    world.server.write(folder / 'journal', '')
    journal = journalmod.open(str(folder / 'journal'))
    for number in range(1, 8):
        who = 'alice' if number > 1 else None
        journal.record('blog', f'{number:040}', who)
    for row in reversed(journal.newest('blog', 6)):
        assert journal.claim(row, None)
    end = journal.end
    end(3, delegation.SUCCEEDED, status=0, seconds=2.125)
    end(4, delegation.FAILED, status=3, seconds=1.0, reason='exit status 3')
    end(5, delegation.LOST, seconds=1.0, reason='connection closed')
    end(6, delegation.SUPERSEDED, merged_into=3)
    # by our receiver, which has an exit status of its own for that
    by = {'reason': 'cancelled by bob', 'cancelled_by': 'bob'}
    end(7, delegation.CANCELLED, status=125, **by)
    journal.close()
    with open(lock) as held:  # somebody works on 2
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
