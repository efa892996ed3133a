# SPDX-License-Identifier: GPL-2.0-or-later
'''what a repository's own hgrc may say, on a host that others share

Who may write a repository's hgrc is not always who may decide where the
server account logs in, and with which key. What the host's own files say is
the policy; an item counts as the repository's where it would not be there
without that repository.
'''

from __future__ import annotations

import contextlib
import errno
import fnmatch
import glob
import os
from collections.abc import Mapping

from mercurial import config, error
from mercurial.i18n import _

from . import parsers, targets

# What reaches no further than the repository's own delegations.
_HARMLESS = (b'when', b'trigger', b'wait', b'color')


def refused(repo) -> dict[bytes, targets.ConfigError]:
    '''the items of ``repo``'s own hgrc that do not count, and why

    Where the whole file is refused, all of its items have the same error.
    '''
    host = dict(repo.baseui.configitems(targets.SECTION))
    here = dict(repo.ui.configitems(targets.SECTION))
    own = {
        # what %unset takes away is as good as set to nothing
        item: here.get(item, b'')
        for item in {**host, **here}
        if host.get(item) != here.get(item)
    }
    if own and (reason := _unsafe(repo, own)):
        return dict.fromkeys(own, _error(repo, next(iter(own)), reason))
    reasons = {item: _forbidden(repo, host, item, own[item]) for item in own}
    return {
        item: _error(repo, item, reason)
        for item, reason in reasons.items()
        if reason
    }


def setting(repo, name: bytes) -> bytes | None:
    '''the value of one of targets.SETTINGS, where the policy allows it'''
    ui = repo.baseui if name in refused(repo) else repo.ui
    return dict(ui.configitems(targets.SECTION)).get(name)


def _error(repo, item: bytes, reason: tuple[bytes, bytes]):
    # what was taken away has no source
    source = repo.ui.configsource(targets.SECTION, item)
    source = source or os.path.join(repo.path, b'hgrc')
    return targets.ConfigError(item, source, *reason)


def _unsafe(repo, own: Mapping[bytes, bytes]) -> tuple[bytes, bytes] | None:
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
    repo, host: Mapping[bytes, bytes], item: bytes, value: bytes
) -> tuple[bytes, bytes] | None:
    '''why the ``host``'s configuration forbids ``item``; None if not'''
    urls = host.get(b'allow-targets')
    options = host.get(b'allow-repository-config')
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
        return None
    return (
        _(b"'%s' is not for a repository's hgrc") % (option or item),
        _(b"see delegate.allow-repository-config in the host's configuration"),
    )


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
