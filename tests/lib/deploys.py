"""What was deployed, as the forced commands have recorded it."""

from __future__ import annotations

from world import Deploy, World

# a forced command that waits for the files go1, go2 and go3
STEPS = """\
. ./record
for i in 1 2 3; do
  echo "step $i"
  until [ -e "go$i" ]; do sleep 0.02; done
done
"""


def nodes(world: World) -> list[str]:
    """What was deployed, oldest first."""
    return [deploy.context['node'] for deploy in world.deploys()]


def commands(world: World) -> list[str]:
    """What was asked for, oldest first."""
    return [deploy.command for deploy in world.deploys()]


def check_turns(deploys: list[Deploy]) -> None:
    """Each has begun only when the one before had ended."""
    for before, after in zip(deploys, deploys[1:]):
        assert before.ended and before.ended < after.started
