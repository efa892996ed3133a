"""A repository whose one changeset was pushed and deployed, made by one push
in a run: what it has left is copied to where it is wanted again."""

from __future__ import annotations

import shutil

from hgrc import targets
from repositories import Clone, Repository
from world import World


def lay(world: World, repository: Repository, clone: Clone) -> None:
    """Let CLONE, which is as new as REPOSITORY, have pushed a changeset to
    the target blog; the deploy account has the record of it."""
    repository.hgrc(targets(world))
    template = world.base / 'pushed'
    deploys = world.deploy.home / 'deploys'
    if not template.exists():
        clone.commit()
        clone.push()
        shutil.copytree(repository.path, template / 'repository')
        shutil.copytree(clone.path, template / 'clone')
        shutil.copytree(deploys, template / 'deploys')
        return
    for name, owner, path in (
        ('repository', repository.owner, repository.path),
        ('clone', clone.owner, clone.path),
    ):
        # the one thing there that names a place
        hgrc = (path / '.hg' / 'hgrc').read_text('utf-8')
        shutil.rmtree(path)
        owner.copy(template / name, path)
        owner.write(path / '.hg' / 'hgrc', hgrc)
    deploys.rmdir()
    world.deploy.copy(template / 'deploys', deploys)
