# SPDX-License-Identifier: GPL-2.0-or-later
'''deployed/TARGET: what a target has, wherever a revision is asked for

Every command installs this. Nothing is opened before names are looked up, and
then one small file.
'''

from __future__ import annotations

import os
from typing import Any

from mercurial import demandimport, error, localrepo, namespaces, pushkey
from mercurial.i18n import _
from mercurial.node import bin, hex

with demandimport.deactivated():
    # not complete(), which would load all that stands above in every command
    from ..state import deployed as deployedmod

NAMESPACE = b'deployed'
_PREFIX = NAMESPACE + b'/'


def install(repo) -> None:
    '''give ``repo`` the namespace, once names are looked up in it

    Many commands look up none, and need not load what Mercurial does it with.
    '''

    class Named(repo.__class__):
        @localrepo.unfilteredpropertycache
        def names(self) -> Any:
            found = super().names
            _add_to(found)
            return found

    if 'names' in vars(repo.unfiltered()):
        # another extension has looked already
        _add_to(repo.names)
    else:
        repo.__class__ = Named


def _add_to(found) -> None:
    found.addnamespace(
        namespaces.namespace(
            NAMESPACE,
            templatename=NAMESPACE,
            listnames=lambda repo: [_PREFIX + name for name in nodes(repo)],
            namemap=_nodes_of,
            nodemap=_names_of,
        )
    )


def install_pushkey() -> None:
    '''let clients list the names, and no more'''
    pushkey.register(NAMESPACE, lambda *args: False, _listed)


def _listed(repo) -> dict[bytes, bytes]:
    return {name: hex(node) for name, node in nodes(repo).items()}


def _nodes_of(repo, name: bytes) -> list[bytes]:
    target = name[len(_PREFIX) :] if name.startswith(_PREFIX) else b''
    found = nodes(repo).get(target)
    return [found] if found else []


def _names_of(repo, node: bytes) -> list[bytes]:
    known = _recorded(repo)
    if node not in known.values():
        return []
    return [_PREFIX + name for name, found in known.items() if found == node]


def nodes(repo) -> dict[bytes, bytes]:
    '''the node of each target, without those that ``repo`` does not show'''
    has = repo.changelog.hasnode
    return {n: node for n, node in _recorded(repo).items() if has(node)}


def _recorded(repo) -> dict[bytes, bytes]:
    '''what the file says; it is read again when it is another one'''
    repo = repo.unfiltered()
    path = repo.svfs.join(deployedmod.FILENAME)
    try:
        status = os.lstat(path)
    except OSError:
        return {}
    now = (status.st_ino, status.st_mtime_ns, status.st_size)
    before, known = getattr(repo, '_delegate_deployed', (None, {}))
    if before != now:
        known = _read(repo, path)
        repo._delegate_deployed = (now, known)
    return known


def _read(repo, path: bytes) -> dict[bytes, bytes]:
    try:
        found = deployedmod.read(path)
    except OSError as exc:
        repo.ui.debug(b'delegate: no deployed names: %s\n' % _text(exc))
        return {}
    here = dict(repo.ui.configitems(b'delegate', untrusted=True))
    # Whoever cannot see the host's configuration sees all of them.
    return {n: bin(node) for n, node in found.items() if n in here or not here}


def _text(exc: OSError) -> bytes:
    return (exc.strerror or '').encode('ascii', 'replace')


def deployed(repo, subset, x) -> Any:
    '''the revset predicate'''
    from mercurial import revset, smartset
    from mercurial.utils import stringutil

    args = revset.getargs(x, 0, 1, _(b'deployed takes one argument or none'))
    found = nodes(repo)
    if args:
        line = _(b'deployed requires the name of a target')
        try:
            asked = revset.getstring(args[0], line)
        except error.ParseError:
            hint = _(b'a name with a hyphen is quoted: deployed("my-site")')
            raise error.ParseError(line, hint=hint) from None
        kind, name, matches = stringutil.stringmatcher(asked)
        if kind == b'literal' and name not in found:
            if repo.ui.config(b'delegate', name, untrusted=True) is None:
                raise error.RepoLookupError(
                    _(b"there is no target '%s'") % name
                )
        found = {n: node for n, node in found.items() if matches(n)}
    revs = {repo.changelog.rev(node) for node in found.values()}
    return subset & smartset.baseset(sorted(revs))
