# SPDX-License-Identifier: GPL-2.0-or-later
'''what a repository's own hgrc may say, on a host that others share

Who may write a repository's hgrc is not always who may decide where the
server account logs in, and with which key. What the host's own files say is
the policy; an item counts as the repository's where it would not be there
without that repository.

A web server has a file of its own, which no cron job reads. So the outbox
remembers the policy that the last push by each road had. It counts wherever
the host says nothing else, and it can only refuse.
'''

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fnmatch
import glob
import hashlib
import os
from collections.abc import Mapping

from mercurial import config, error, pycompat
from mercurial.i18n import _

from . import parsers, revsets, targets

# What reaches no further than the repository's own delegations.
_HARMLESS = (b'when', b'trigger', b'wait', b'color')

# the policy itself
_TARGETS, _OPTIONS = b'allow-targets', b'allow-repository-config'
_WEB = b'web'
# by road (``ssh``, ``http``, ``path``): what of_host() said of the last push
Roads = Mapping[str, Mapping[str, str]]
_Reason = tuple[bytes, bytes]


def of_host(repo) -> dict[str, str]:
    '''the policy of the host, and a digest of all else that it configures'''
    host = dict(repo.baseui.configitems(targets.SECTION))
    policy = {name: host.pop(name, None) for name in (_TARGETS, _OPTIONS)}
    # it is for web servers, whose own file may have it alone
    host.pop(_WEB, None)
    digest = hashlib.sha256(repr(sorted(host.items())).encode()).hexdigest()
    known = {
        os.fsdecode(name): os.fsdecode(value)
        for name, value in policy.items()
        if value is not None
    }
    return {**known, 'digest': digest}


def remembered(repo, roads: Roads) -> dict[bytes, Mapping[bytes, bytes]]:
    '''the policies of ``roads`` that count for ``repo`` in this process'''
    host = dict(repo.baseui.configitems(targets.SECTION))
    if _TARGETS in host or _OPTIONS in host:
        return {}
    found = {
        os.fsencode(road): {os.fsencode(k): os.fsencode(said[k]) for k in said}
        for road, said in roads.items()
    }
    return {r: p for r, p in found.items() if _TARGETS in p or _OPTIONS in p}


def refused(repo, roads: Roads) -> dict[bytes, targets.ConfigError]:
    '''the items of ``repo``'s own hgrc that do not count, and why

    Where the whole file is refused, all of its items have the same error.
    '''
    host = dict(repo.baseui.configitems(targets.SECTION))
    own = _own(repo, host)
    if own and (reason := _unsafe(repo, own)):
        return dict.fromkeys(own, _error(repo, next(iter(own)), reason))
    found = {}
    for item, value in own.items():
        reason = _of_gate(host, item) or _forbidden(repo, host, item, value)
        if reason:
            found[item] = _error(repo, item, reason)
    for road, policy in remembered(repo, roads).items():
        remedy = _(b"the policy for pushes by %s; see 'hg delegate-check'")
        for item, value in own.items():
            # what the host lets the web pages show is known above
            if item != _WEB and (
                reason := _forbidden(repo, policy, item, value)
            ):
                found[item] = _error(repo, item, (reason[0], remedy % road))
    return found


def _own(repo, host: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    '''the items that are the repository's'''
    here = dict(repo.ui.configitems(targets.SECTION))
    return {
        # what %unset takes away is as good as set to nothing
        item: here.get(item, b'')
        for item in {**host, **here}
        if host.get(item) != here.get(item)
    }


def read(
    repo, roads: Roads
) -> tuple[list[targets.Target], list[targets.ConfigError]]:
    '''targets.read(), with what the policies of the host say of it'''
    found, errors = targets.read(repo.ui, refused(repo, roads))
    host = dict(repo.baseui.configitems(targets.SECTION))
    if not ({_TARGETS, _OPTIONS} & set(host) or remembered(repo, roads)):
        return found, errors
    own = _own(repo, host)
    return [
        dataclasses.replace(target, is_limited=_when(repo, target) in own)
        for target in found
    ], errors


def _when(repo, target: targets.Target) -> bytes:
    '''the item that has the revset of ``target``'''
    item = pycompat.sysbytes(target.name) + b':when'
    is_set = repo.ui.config(targets.SECTION, item) is not None
    return item if is_set else b'*:when'


def setting(repo, name: bytes, roads: Roads) -> bytes | None:
    '''the value of one of targets.SETTINGS, where the policy allows it'''
    ui = repo.baseui if name in refused(repo, roads) else repo.ui
    return dict(ui.configitems(targets.SECTION)).get(name)


def published(repo) -> bytes:
    '''what the web pages of ``repo`` show, one of parsers.PUBLISHED

    A repository's hgrc can always show less than the host's files say.
    '''
    here = _published(repo.ui)
    if not here or _WEB not in refused(repo, {}):
        return parsers.PUBLISHED[here]
    return parsers.PUBLISHED[min(here, _published(repo.baseui))]


def _published(ui) -> int:
    try:
        return parsers.published(ui.config(targets.SECTION, _WEB) or b'no')
    except parsers.InvalidValue:
        return 0  # targets.read() refuses it


def _error(repo, item: bytes, reason: _Reason) -> targets.ConfigError:
    # what was taken away has no source
    source = repo.ui.configsource(targets.SECTION, item)
    source = source or os.path.join(repo.path, b'hgrc')
    return targets.ConfigError(item, source, *reason)


def _unsafe(repo, own: Mapping[bytes, bytes]) -> _Reason | None:
    '''why others than its owner can have written the items ``own`` of the
    hgrc; None if not

    Mercurial trusts a file by the owner of what a link leads to, whatever its
    mode is, and has read it long ago. So what it has read must stand there, in
    a file that is trusted and no link.
    '''
    said = config.config()
    for path in (
        os.path.join(repo.sharedpath, b'hgrc'),
        os.path.join(repo.path, b'hgrc'),
        os.path.join(repo.path, b'hgrc-not-shared'),
    ):
        name = b'.hg/' + os.path.basename(path)
        if not path.startswith(repo.path):
            name = _(b"the share source's %s") % name
        try:
            # a pipe would hold us
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                line = _(b'%s is a symbolic link')
                return line % name, _(b'make it a file of its own')
            continue
        with open(fd, 'rb') as file:
            if os.fstat(fd).st_mode & 0o022:
                line = _(b'%s can be written by others than its owner')
                return line % name, _(b'chmod go-w %s') % path
            if repo.baseui._trusted(file, path):
                with contextlib.suppress(error.ConfigError):
                    said.read(path, file)
    for item, value in own.items():
        source = repo.ui.configsource(targets.SECTION, item)
        if source.startswith(b'/') and said.get(targets.SECTION, item) != value:
            line = _(b'.hg/hgrc has changed since it was read')
            return line, _(b'the next push reads it again')
    return None


def _forbidden(
    repo, policy: Mapping[bytes, bytes], item: bytes, value: bytes
) -> _Reason | None:
    '''why ``policy`` forbids ``item``; None if not'''
    urls, options = policy.get(_TARGETS), policy.get(_OPTIONS)
    if item == _WEB and value in parsers.PUBLISHED:
        shown = parsers.PUBLISHED.index(value)
        if shown <= _published(repo.baseui):
            return None
        # by itself a repository publishes nothing, on any host
        options = options or b''
    if urls is None and options is None:
        return None
    _name, colon, option = item.partition(b':')
    if not colon and item not in targets.SETTINGS:
        if urls is None or not value or _is_allowed(repo, urls, value):
            return None
        return (
            _(b"'%s' is not allowed for this repository") % value,
            _(b"see delegate.allow-targets in the host's configuration"),
        )
    allowed = _HARMLESS if options is None else parsers.words(options)
    if (option or item) in allowed:
        is_revset = option == b'when' and value
        return revsets.forbidden(repo.baseui, value) if is_revset else None
    return (
        _(b"'%s' is not for a repository's hgrc") % (option or item),
        _(b"see delegate.allow-repository-config in the host's configuration"),
    )


def _of_gate(host: Mapping[bytes, bytes], item: bytes) -> _Reason | None:
    '''why a repository's hgrc may not set ``item``: it is about a gate of the
    host, which has a policy; None if it may'''
    if not {_TARGETS, _OPTIONS} & set(host):
        return None
    owner = targets.owner(item)
    for name in filter(targets.is_name, host):
        if host[name] and owner in (name, b'*') and targets.gate(host, name):
            line = _(b"'%s' is a gate of the host")
            return line % name, _(b"it is for the host's configuration alone")
    return None


def _is_allowed(repo, patterns: bytes, value: bytes) -> bool:
    try:
        url = parsers.join_url(*parsers.parse_url(value))
    except parsers.InvalidValue:
        return True  # targets.read() refuses it
    # The name is meant as it stands: it may have a [ or a *.
    name = glob.escape(os.path.basename(os.fsdecode(repo.root)))
    return any(
        fnmatch.fnmatchcase(url, pattern.replace('{repository}', name))
        for pattern in map(os.fsdecode, parsers.words(patterns))
    )
