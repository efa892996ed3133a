"""A deploy that pushes to the repository does not wait for itself."""

from __future__ import annotations

import shlex

import pytest
import verdict
from accounts import ROOT
from delegations import states
from deploys import nodes
from hgrc import PUSHVARS, targets
from repositories import Clone, Push, Repository
from waiting import until
from world import World

SCRIPT = """\
. ./record
cd clone
hg() {{ HGPLAIN=1 {hg} "$@" </dev/null; }}
hg pull -q -u
if {condition}; then
  hg tag -f -u deploy "v$(hg id -n)"
  hg push {options}
fi
echo over
"""


def pushing(
    world: World, repository: Repository, condition: str, options: str = ''
) -> None:
    """Let the deploy tag what it deploys, and push that as the pusher."""
    deploy, pusher = world.deploy, world.pusher
    for name in ('id_ed25519', 'known_hosts'):
        text = pusher.read(f'.ssh/{name}')
        deploy.write(f'.ssh/{name}', text, 0o600)
    deploy.write('.hgrc', f'[ui]\nssh = {shlex.join(world.ssh(deploy))}\n')
    path = deploy.home / 'clone'
    if not path.exists():
        deploy.run([*world.hg, 'init', str(path)])
    deploy.write(
        path / '.hg' / 'hgrc', f'[paths]\ndefault = {repository.url}\n'
    )
    hg = shlex.join(world.hg)
    world.forced_command(
        SCRIPT.format(hg=hg, condition=condition, options=options)
    )


def own(push: Push) -> bool:
    return any(
        b'pushed by the deploy that runs now' in line for line in push.remote
    )


# as the manual has it
ONCE = (
    'HG_NODE=${SSH_ORIGINAL_COMMAND##* } && '
    '[ "$(hg log -r "$HG_NODE" -T "{files}")" != .hgtags ]'
)


@pytest.mark.skipif(not ROOT, reason='all accounts are one account')
def test_what_a_deploy_pushes_is_deployed_after_it(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world))
    pushing(world, repository, ONCE)
    node = clone.commit()
    push = clone.push()
    assert verdict.deployed(node) in verdict.among(push.remote)
    said = b'blog| remote: [delegate]: blog: pushed by the deploy that runs now'
    assert any(line.startswith(said) for line in push.remote)
    until(lambda: states(repository) == ['succeeded', 'succeeded'])
    first, second = world.deploys()
    (caused,) = second.context['pushes']
    assert caused['caused_by'] == first.context['id']
    assert first.context['pushes'][0]['caused_by'] is None
    assert nodes(world)[0] == node


@pytest.mark.skipif(not ROOT, reason='all accounts are one account')
@pytest.mark.once
def test_a_deploy_that_always_pushes_does_not_go_round_in_circles(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world))
    pushing(world, repository, 'true')
    clone.commit()
    clone.push()
    wanted = ['pending', 'succeeded', 'succeeded']
    until(lambda: sorted(states(repository)) == wanted)
    said = repository.ask('delegate-log').stdout
    assert b'its deploys push again and again' in said
    # nobody runs it; the next push of somebody else takes it along
    assert len(world.deploys()) == 2
    pushing(world, repository, 'false')
    clone.hg('pull', '-u')
    node = clone.commit()
    assert verdict.deployed(node) in verdict.among(clone.push().remote)
    assert 'pending' not in states(repository)


@pytest.mark.once
def test_a_variable_tells_it_from_any_host_and_over_http(
    world: World, repository: Repository, clone: Clone
) -> None:
    config = targets(world, more='blog:idle-timeout = 20\n') + PUSHVARS
    repository.hgrc(config)
    with world.hgweb([repository]) as url:
        # from the object, of which record has kept the copy
        id = "sed 's/.*\"id\": \"\\([0-9a-f]*\\).*/\\1/' ../deploys/*/input"
        options = f'--pushvars DELEGATE_ID="$({id})" {url}/'
        pushing(world, repository, ONCE, options + repository.path.name)
        node = clone.commit()
        push = clone.push()
        assert verdict.deployed(node) in verdict.among(push.remote)
        assert b'pushed by the deploy that runs now' in b'\n'.join(push.remote)
        until(lambda: states(repository) == ['succeeded', 'succeeded'])


@pytest.mark.once
def test_another_pusher_waits_as_ever(
    world: World, repository: Repository, clone: Clone
) -> None:
    repository.hgrc(targets(world) + PUSHVARS)
    clone.commit()
    push = clone.push('--pushvars', f'DELEGATE_ID={"0" * 32}')
    assert not own(push) and verdict.last(push).state == 'deployed'
