"""One target after another: www gets what has succeeded at staging."""

from __future__ import annotations

import pytest
import verdict
from accounts import Account
from by_hand import check, cron, refused
from delegations import log
from hgrc import PUSHVARS
from repositories import Clone, Repository
from waiting import until
from world import World

pytestmark = pytest.mark.once

FAILS = '. ./record\nexit 3\n'


def accounts(world: World) -> tuple[Account, Account]:
    """Of staging and of www."""
    return world.others[0], world.deploy


def configured(world: World, more: str = '') -> str:
    staging, www = accounts(world)
    at = f'localhost:{world.port}'
    return (
        f'[delegate]\nwww = ssh://{www.name}@{at}\nwww:after = staging\n'
        f'staging = ssh://{staging.name}@{at}\n{more}'
    )


def script(world: World, account: Account, text: str) -> None:
    path = account.write('forced', f'#!/bin/sh\n{text}', 0o755)
    account.authorize(world.key(world.server), str(path))


@pytest.fixture
def ready(world: World, repository: Repository, clone: Clone) -> Clone:
    repository.hgrc(configured(world))
    script(world, accounts(world)[0], '. ./record\necho on staging\n')
    script(world, accounts(world)[1], '. ./record\necho on www\n')
    return clone


def nodes(world: World, account: Account) -> list[str]:
    return [deploy.context['node'] for deploy in world.deploys(account)]


def states(repository: Repository, target: str) -> list[str]:
    """Oldest first; with why it waits."""
    rows = reversed(log(repository, '-t', target))
    return [
        ': '.join(filter(None, [row['state'], row['reason']]))
        if row['state'] == 'pending'
        else row['state']
        for row in rows
    ]


@pytest.mark.parametrize('way', ['ssh', 'http', 'path'])
def test_a_push_goes_to_www_once_staging_has_it_and_its_pusher_sees_both(
    world: World, repository: Repository, ready: Clone, way: str
) -> None:
    staging, www = accounts(world)
    node = ready.commit()
    if way == 'path':
        pulled = world.server.home / 'pulled'
        world.server.run([*world.hg, 'init', str(pulled)])
        bundle = ready.owner.home / 'bundle.hg'
        ready.hg('bundle', '--all', str(bundle))
        here = [*world.hg, '-R', str(pulled)]
        world.server.run([*here, 'unbundle', str(bundle)])
        done = world.server.run([*here, 'push', str(repository.path)])
        said = done.stdout.splitlines()
    elif way == 'http':
        with world.hgweb([repository]) as url:
            said = ready.push(f'{url}/{repository.path.name}').remote
    else:
        said = ready.push().remote
    lines = [b'staging| on staging', b'www| on www']
    assert [line for line in said if line in lines] == lines
    assert verdict.among(said) == [
        verdict.deployed(node, 'staging'),
        verdict.deployed(node, 'www'),
    ]
    (first,), (second,) = world.deploys(staging), world.deploys(www)
    assert first.ended and second.started > first.ended


def test_what_failed_at_staging_waits_for_a_later_success_that_has_it(
    world: World, repository: Repository, ready: Clone
) -> None:
    staging, www = accounts(world)
    script(world, staging, FAILS)
    first = ready.commit()
    push = ready.push()
    assert verdict.among(push.remote) == [
        verdict.failed('exit status 3', 'staging'),
        verdict.pending('staging failed', 'www'),
    ]
    assert push.remote[-1] == b'(delegated once it has succeeded at staging)'
    # neither cron nor a command by hand passes staging by
    assert cron(world, repository.path.parent).stdout == b''
    done = repository.hg('delegate', '--pending', 'www', check=False)
    assert done.returncode == 1 and b'pending: staging failed' in done.stderr
    done = repository.hg('delegate', 'www', check=False)
    assert done.returncode == 1
    assert b'pending: staging failed' in done.stderr
    said = repository.hg('delegate', '-n', 'www').stdout
    assert b'(delegated once it has succeeded at staging)' in said
    assert nodes(world, www) == []
    assert states(repository, 'www') == ['pending: staging failed']
    facts, _status = check(repository, 'www')
    said_of_www = [(fact['message'], fact['remedy']) for fact in facts]
    assert ('it gets what has succeeded at staging', '') in said_of_www
    assert (
        'staging failed; pushes that wait: 1',
        'delegated once it has succeeded at staging',
    ) in said_of_www
    # another head, which does not have it
    other = world.clone(repository)
    other.hg('update', '-q', 'null')
    script(world, staging, '. ./record\n')
    second = other.commit(files={'other': '1'})
    push = other.push('-f')
    assert verdict.among(push.remote)[-1] == verdict.deployed(second, 'www')
    assert states(repository, 'www') == ['pending: staging failed', 'succeeded']
    # a merge has both
    ready.hg('pull', '-q')
    ready.hg('merge', '-q', second)
    merged = ready.commit(files={'c': '1'})
    ready.push()
    assert nodes(world, staging) == [first, second, merged]
    assert nodes(world, www) == [second, merged]
    assert states(repository, 'www') == [
        *('superseded', 'succeeded', 'succeeded')
    ]
    # by hand, the administrator has the last word; back is back
    repository.hg('delegate', 'www', '-r', first)
    assert nodes(world, www)[2:] == [first]
    script(world, staging, FAILS)
    last = ready.commit()
    ready.push()
    assert nodes(world, www)[3:] == []
    repository.hg('delegate', 'www', '-r', last)
    assert nodes(world, www)[3:] == [last]
    # what has waited for it goes along
    assert states(repository, 'www')[-2:] == ['superseded', 'succeeded']


def test_by_hand_www_gets_what_staging_has_and_the_rest_waits(
    world: World, repository: Repository, ready: Clone
) -> None:
    staging, www = accounts(world)
    first = ready.commit()
    ready.push()
    script(world, www, FAILS)
    second = ready.commit()
    ready.push()
    script(world, staging, FAILS)
    ready.commit()
    ready.push()
    script(world, www, '. ./record\n')
    said = repository.hg('delegate', 'www').stdout
    assert verdict.among(said) == [verdict.deployed(second, 'www')]
    waits = 'pending: staging failed'
    ends = ['succeeded', 'failed', waits, 'succeeded']
    assert states(repository, 'www') == ends
    # what was rolled back goes forward again
    repository.hg('delegate', 'www', '-r', first)
    said = repository.hg('delegate', 'www').stdout
    assert verdict.among(said) == [verdict.deployed(second, 'www')]
    assert states(repository, 'www') == [*ends, 'succeeded', 'succeeded']
    assert nodes(world, www) == [first, second, second, first, second]
    # beside staging it waits for what that gets, but does not wait twice
    for _ in range(2):
        assert repository.hg('delegate', check=False).returncode == 1
    assert len(states(repository, 'www')) == 6


def test_a_success_at_staging_by_hand_or_by_cron_goes_on_to_www(
    world: World, repository: Repository, ready: Clone
) -> None:
    staging, www = accounts(world)
    script(world, staging, FAILS)
    ready.commit()
    ready.push()
    second = ready.commit()
    ready.push()
    script(world, staging, '. ./record\n')
    said = repository.hg('delegate', 'staging').stdout
    assert verdict.among(said) == [
        verdict.deployed(second, 'staging'),
        verdict.deployed(second, 'www'),
    ]
    assert states(repository, 'www') == ['superseded', 'succeeded']
    # the login to staging is what fails, and cron comes later
    world.others[0].write('.ssh/authorized_keys', '', 0o600)
    third = ready.commit()
    push = ready.push()
    assert [each.state for each in verdict.among(push.remote)] == [
        *('pending', 'pending')
    ]
    assert states(repository, 'www')[-1] == (
        'pending: staging has not succeeded yet'
    )
    script(world, staging, '. ./record\n')
    cron(world, repository.path.parent)
    assert nodes(world, www) == [second, third]
    # whoever comes next goes on where nobody did
    script(world, staging, FAILS)
    fourth = ready.commit()
    ready.push()
    script(world, staging, '. ./record\n')
    alone = [f'--config=delegate.www{item}=' for item in ('', ':after')]
    repository.hg('delegate', 'staging', *alone)
    assert nodes(world, www) == [second, third]
    repository.hg('delegate-log')
    until(lambda: states(repository, 'www')[-1] == 'succeeded')
    assert nodes(world, www) == [second, third, fourth]
    # what is rolled back at staging does not go live
    repository.hg('delegate', 'staging', '-r', second)
    done = repository.hg('delegate', 'www', check=False)
    assert b'pending: staging does not have it' in done.stderr


def test_www_goes_on_where_nobody_waits(
    world: World, repository: Repository, ready: Clone
) -> None:
    staging, www = accounts(world)
    repository.hgrc(configured(world, '*:wait = no\n'))
    first = ready.commit()
    ready.push()
    until(lambda: states(repository, 'www') == ['succeeded'])
    repository.hgrc(configured(world, 'www:wait = no\n'))
    second = ready.commit()
    ready.push()
    until(lambda: states(repository, 'www') == ['succeeded'] * 2)
    repository.hgrc(configured(world, 'staging:wait = no\n'))
    third = ready.commit()
    assert verdict.last(ready.push()).state in ('pending', '')
    until(lambda: states(repository, 'www') == ['succeeded'] * 3)
    assert nodes(world, www) == [first, second, third]
    # the server is killed between the two: who comes next goes on
    repository.hgrc(configured(world))
    script(world, staging, '. ./record\n. ./hold\n')
    fourth = ready.commit()
    push = ready.start_push()
    until(lambda: len(world.deploys(staging)) == 4)
    for pid, command in world.living().items():
        if b'serve --stdio' in command.encode():
            world.server.run(['kill', '-9', str(pid)], check=False)
    push.finish(check=False)
    script(world, staging, '. ./record\n')
    staging.write('go', '')
    repository.hg('delegate-log')
    repository.hg('delegate', 'staging', '-r', fourth)
    until(lambda: states(repository, 'www') == ['succeeded'] * 4)
    assert nodes(world, www)[-1] == fourth


def test_what_is_not_for_staging_does_not_pass_it_by(
    world: World, repository: Repository, ready: Clone
) -> None:
    """Neither by the pusher's choice nor by another revset."""
    www = accounts(world)[1]
    repository.hgrc(configured(world) + PUSHVARS)
    first = ready.commit()
    push = ready.push('--pushvars', 'DELEGATE=only:www')
    assert verdict.among(push.remote) == [
        verdict.pending('staging does not have it', 'www')
    ]
    # while staging is configured wrongly
    repository.hgrc(configured(world, 'staging:wait = perhaps\n'))
    ready.commit()
    push = ready.push()
    assert verdict.among(push.remote) == [
        verdict.pending('staging does not have it', 'www')
    ]
    repository.hgrc(
        configured(world, 'staging:when = present(branch(stable))\n')
    )
    second = ready.commit()
    push = ready.push()
    assert verdict.among(push.remote) == [
        verdict.pending('it is not for staging', 'www')
    ]
    # what staging gets later has it
    ready.hg('branch', '-q', 'stable')
    third = ready.commit()
    push = ready.push('--new-branch')
    assert verdict.among(push.remote)[-1] == verdict.deployed(third, 'www')
    assert nodes(world, www) == [third] and first != second
    assert states(repository, 'www') == [
        *('superseded', 'superseded', 'superseded', 'succeeded')
    ]


def test_one_while_another_runs_at_staging_and_a_hold(
    world: World, repository: Repository, ready: Clone
) -> None:
    staging, www = accounts(world)
    script(world, staging, '. ./record\necho begun\n. ./hold\n')
    other = world.clone(repository)
    ready.commit(files={'a': '1'})
    first = ready.start_push()
    first.wait_for(b'staging| begun')
    first.wait_for(b'www: staging has not succeeded yet, ')
    second = other.commit(files={'b': '1'})
    newer = other.start_push('-f')
    newer.wait_for(b'waiting for delegation ')
    repository.hg('delegate-hold', 'www')
    staging.write('go', '')
    for push in (first, newer):
        ends = verdict.among(push.finish().remote)
        assert [end.state for end in ends] == ['deployed', 'pending']
    assert nodes(world, www) == []
    repository.hg('delegate-hold', '--release', 'www')
    assert nodes(world, www) == [second]
    # the first is of another head than what staging has now
    assert states(repository, 'www') == ['superseded', 'succeeded']
    assert len(world.deploys(staging)) == 2


def test_circles_and_unknown_names_are_mistakes(
    world: World, repository: Repository, ready: Clone
) -> None:
    ready.commit()
    for more, problem, hint in (
        ('staging:after = www\n', 'each waits for the next: www, staging, www',
         'let one of them come after none'),
        ('www:after = stagin\n', "there is no target 'stagin'",
         'did you mean staging?'),
        ('www:after = www\n', 'each waits for the next: www, www', ''),
        ('*:after = other\n', "there is no target 'other'", ''),
    ):  # fmt: skip
        repository.hgrc(configured(world, more))
        ready.commit()
        said = b'\n'.join(ready.push().remote).decode()
        assert problem in said and hint in said
        assert nodes(world, accounts(world)[1]) == []
    for more in ('*:after = staging\n', '*:after = staging\nwww:after =\n'):
        repository.hgrc(configured(world, more))
        assert refused(repository, 'delegate', 'other')
    ready.commit()
    assert verdict.among(ready.push().remote)[-1].state == 'deployed'
