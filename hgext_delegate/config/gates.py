# SPDX-License-Identifier: GPL-2.0-or-later
'''which targets are gates, and which of them cannot be asked as they are
configured

A gate is asked before a push is accepted. So one that is wrongly configured,
or that the host's policy does not allow, refuses a push; it is never left out.
'''

from __future__ import annotations

import dataclasses

from mercurial import pycompat

from . import policy, targets


@dataclasses.dataclass(frozen=True)
class Broken:
    '''a gate that cannot be asked; ``is_optional`` as it is written'''

    name: str
    is_optional: bool
    error: targets.ConfigError


def are_there(repo) -> bool:
    '''whether ``repo`` may have gates'''
    return any(
        targets.gate(items, name)
        for ui in (repo.ui, repo.baseui)
        if (items := dict(ui.configitems(targets.SECTION)))
        for name in targets.names(ui)
    )


def read(
    repo, roads: policy.Roads
) -> tuple[list[targets.Target], list[Broken]]:
    '''the gates that can be asked, and the others'''
    if not are_there(repo):
        return [], []
    refused = policy.refused(repo, roads)
    found, errors = policy.read(repo, roads)
    gates = [target for target in found if target.gate]
    wrong = {**{error.item: error for error in errors}, **refused}
    here = dict(repo.ui.configitems(targets.SECTION))
    host = dict(repo.baseui.configitems(targets.SECTION))
    broken = []
    names = [*targets.names(repo.ui), *targets.names(repo.baseui)]
    for name in dict.fromkeys(names):
        why = [e for i, e in wrong.items() if targets.owner(i) in (name, b'*')]
        # without a policy the repository's own hgrc decides
        known = host if refused else {}
        words = {targets.gate(each, name) for each in (here, known)} - {''}
        if why and words:
            optional = words == {'optional'}
            broken.append(Broken(pycompat.sysstr(name), optional, why[0]))
    return gates, broken
