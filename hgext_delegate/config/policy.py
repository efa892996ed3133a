# policy.py - what a repository's own hgrc may say
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what a repository's own hgrc may say, on a host that others share

Who may write a repository's hgrc is not always who may decide where the
server account logs in, and with which key. What the host's own files say is
the policy; an item counts as the repository's where it would not be there
without that repository.
'''

from __future__ import annotations

import fnmatch
import os
import re
import stat

from mercurial.i18n import _

from . import parsers, targets

# What reaches no further than the repository's own delegations.
_HARMLESS = (b'when', b'trigger', b'wait', b'color')


def refused(repo) -> list[targets.ConfigError]:
    '''the items of ``repo``'s own hgrc that do not count, and why'''
    own = _own_items(repo)
    if not own:
        return []
    unsafe = _unsafe(repo)
    errors = []
    for item, value in own.items():
        problem = unsafe or _forbidden(repo, item, value)
        if problem:
            source = repo.ui.configsource(targets.SECTION, item)
            # what was taken away has none
            source = source or os.path.join(repo.path, b'hgrc')
            whole = unsafe is not None
            errors.append(targets.ConfigError(item, source, *problem, whole))
    return errors


def setting(repo, name: bytes) -> bytes | None:
    '''what one of the settings is, whoever may say it'''
    ui = repo.ui
    if name in (each.item for each in refused(repo)):
        ui = repo.baseui
    return dict(ui.configitems(targets.SECTION)).get(name)


def _own_items(repo) -> dict[bytes, bytes]:
    '''what [delegate] has only because of the repository's hgrc

    What that takes away with %unset is as good as set to nothing.
    '''
    host = dict(repo.baseui.configitems(targets.SECTION))
    here = dict(repo.ui.configitems(targets.SECTION))
    return {
        item: here.get(item, b'')
        for item in {**host, **here}
        if host.get(item) != here.get(item)
    }


def _unsafe(repo) -> tuple[bytes, bytes] | None:
    '''whether others than its owner can have written the hgrc

    Mercurial trusts a file by the owner of what a link leads to, and
    whatever its mode is.
    '''
    for path in (
        os.path.join(repo.path, b'hgrc'),
        os.path.join(repo.path, b'hgrc-not-shared'),
        os.path.join(repo.sharedpath, b'hgrc'),
    ):
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            continue
        name = b'.hg/' + os.path.basename(path)
        if not path.startswith(repo.path):
            name = _(b"the share source's %s") % name
        if stat.S_ISLNK(mode):
            return (
                _(b'%s is a symbolic link') % name,
                _(b'make it a file of its own'),
            )
        if mode & 0o022:
            return (
                _(b'%s can be written by others than its owner') % name,
                _(b'chmod go-w %s') % name,
            )
    return None


def _forbidden(repo, item: bytes, value: bytes) -> tuple[bytes, bytes] | None:
    '''what the host's administrator has against ``item``'''
    policy = dict(repo.baseui.configitems(targets.SECTION))
    urls = policy.get(b'allow-targets')
    options = policy.get(b'allow-repository-config')
    if urls is None and options is None:
        return None
    _name, colon, option = item.partition(b':')
    if not colon and item not in targets.SETTINGS:
        if (
            urls is None
            or not value
            or _allowed(parsers.words(urls), repo, value)
        ):
            return None
        return (
            _(b"'%s' is not allowed for this repository") % value,
            _(b"see delegate.allow-targets in the host's configuration"),
        )
    words = _HARMLESS if options is None else parsers.words(options)
    if (option or item) in words:
        return None
    return (
        _(b"'%s' is not for a repository's hgrc") % (option or item),
        _(b"see delegate.allow-repository-config in the host's configuration"),
    )


def _allowed(patterns: list[bytes], repo, value: bytes) -> bool:
    url = targets.canonical(value)
    # The repository's name is meant as it stands: it may have a [ or a *.
    name = re.sub(
        r'[*?[]', r'[\g<0>]', os.path.basename(os.fsdecode(repo.root))
    )
    return url is None or any(
        fnmatch.fnmatchcase(
            url, os.fsdecode(pattern).replace('{repository}', name)
        )
        for pattern in patterns
    )
