# config.py - where the configuration comes from, and what is wrong with it
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''where the configuration comes from, and what is wrong with it'''

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from mercurial import (
    encoding,
    extensions,
    pycompat,
    revsetlang,
    ui as uimod,
    util,
)
from mercurial.i18n import _

from ... import imports
from ...config import targets
from ...push import selection
from ...report import wording
from . import finding

_TOPIC = b'config'
_CLASSIC = re.compile(rb'python:(.*\.)?(hgext_)?delegate\.hook\Z')
# What stands on the command line is here, and not at a push.
_PASSING = b'--config'


def general(ui, repo) -> Iterator[finding.Finding]:
    '''what concerns all targets'''
    about = finding.About(b'', _TOPIC)
    hgrc = os.path.join(repo.path, b'hgrc')
    if os.path.exists(hgrc) and not os.access(hgrc, os.R_OK):
        yield about.error(
            _(b'%s cannot be read') % hgrc,
            _(b'give the account that serves pushes the right to'),
        )
    if _is_distrusted(repo, hgrc):
        line = _(b'%s enables the extension, and does not count')
        yield about.error(line % hgrc, _trust(_owner(hgrc)))
    else:
        yield _enabled(ui, about)
    if not targets.names(ui):
        yield about.error(
            _(b'no target is configured'),
            _(b"see 'hg help delegate.config'"),
        )
    owner = os.stat(repo.path).st_uid
    if owner != os.geteuid():
        me = util.username(os.geteuid())
        yield about.warning(
            _(b'the repository belongs to %s, and this is run by %s')
            % (util.username(owner), me),
            _(b'this holds for %s: run it as the account that '
              b'serves pushes') % me,
        )  # fmt: skip


def _enabled(ui, about: finding.About) -> finding.Finding:
    lasting = _enablers(ui)
    lines = [
        b'hooks.%s in %s' % (name, _file(ui.configsource(b'hooks', name)))
        for name, value in ui.configitems(b'hooks')
        if name.startswith(b'changegroup') and _is_classic(value)
        if ui.configsource(b'hooks', name) != _PASSING
    ]
    remedy = _(b"add 'hgext_delegate =' to [extensions] in the server's hgrc")
    if lasting and lines:
        return about.ok(
            _(b'the extension is enabled by %s; with %s it delegates once')
            % (lasting[0], lines[0])
        )
    if lasting:
        return about.ok(_(b'the extension is enabled by %s') % lasting[0])
    if lines:
        return about.warning(
            _(b'with %s alone, a push whose process is killed is forgotten')
            % lines[0],
            remedy,
        )
    return about.error(
        _(b'the extension is enabled on the command line alone'), remedy
    )


def _is_distrusted(repo, hgrc: bytes) -> bool:
    '''whether Mercurial does not trust what ``hgrc`` enables

    Whoever asks has enabled the extension otherwise, and sees no such item.
    '''
    ui = uimod.ui.load()
    ui.pushbuffer(error=True)
    if os.access(hgrc, os.R_OK):
        ui.readconfig(hgrc, repo.root)
    names = {name for name, _ in ui.configitems(b'extensions', untrusted=True)}
    trusted = {name for name, _ in ui.configitems(b'extensions')}
    return bool((names - trusted) & {b'hgext_delegate', b'delegate'})


def _enablers(ui) -> list[bytes]:
    '''the files that enable the extension'''
    ours = imports.extension()
    sources = [
        ui.configsource(b'extensions', name)
        for name, module in extensions.extensions(ui)
        if module is ours
    ]
    return [_file(source) for source in sources if source != _PASSING]


def http(ui) -> finding.Finding:
    '''when a pusher over HTTP sees the output'''
    about = finding.About(b'', b'http')
    if _enablers(ui):
        return about.ok(
            _(b'output over HTTP is live, unless a proxy collects it')
        )
    return about.warning(
        _(b'over HTTP the output of a deploy is shown at the end of the push'),
        _(b'enable the extension in an hgrc that the web server reads'),
    )


def _is_classic(value) -> bool:
    return isinstance(value, bytes) and bool(_CLASSIC.match(value))


def untrusted(ui) -> dict[bytes, list[finding.Finding]]:
    '''what Mercurial does not trust the file of, by name of the target

    What concerns no target, or one with an impossible name, is that of b''.
    '''
    trusted = dict(ui.configitems(targets.SECTION))
    files: dict[tuple[bytes, bytes], bool] = {}
    for item, value in ui.configitems(targets.SECTION, untrusted=True):
        if trusted.get(item) == value:
            continue
        source = ui.configsource(targets.SECTION, item, untrusted=True)
        name = item.partition(b':')[0]
        if not targets.is_name(name):
            name = b''
        key = name, _file(source)
        missing = item == name and item not in trusted
        files[key] = files.get(key, False) or missing
    found: dict[bytes, list[finding.Finding]] = {}
    for (name, file), missing in files.items():
        found.setdefault(name, []).append(_untrusted(name, file, missing))
    return found


def _owner(file: bytes) -> bytes:
    return util.username(os.stat(file).st_uid) if os.path.exists(file) else b'?'


def _trust(owner: bytes) -> bytes:
    # with HGRCPATH set, ~/.hgrc may not be read
    path = encoding.environ.get(b'HGRCPATH')
    where = _(b'a file of %s') % path if path else b'~/.hgrc'
    remedy = _(b"if that is right, write 'users = %s' into [trusted] of %s")
    return remedy % (owner, where)


def _untrusted(name: bytes, file: bytes, missing: bool) -> finding.Finding:
    about = finding.About(name, _TOPIC)
    owner = _owner(file)
    remedy = _trust(owner)
    if missing:
        line = _(b'%s has this target, and does not count: it belongs to %s')
        return about.error(line % (file, owner), remedy)
    line = _(b'what %s says of it does not count: it belongs to %s')
    return about.warning(line % (file, owner), remedy)


def mistake(found: targets.ConfigError) -> finding.Finding:
    '''what is wrong with an item, or what the policy has against it'''
    name = found.item.partition(b':')[0]
    about = finding.About(name if targets.is_name(name) else b'', _TOPIC)
    line = b'%s in %s: %s' % (found.item, found.source, found.problem)
    return about.error(line, found.remedy)


def of_target(ui, repo, target: targets.Target) -> Iterator[finding.Finding]:
    '''where ``target`` comes from, and what its revset finds'''
    name = pycompat.sysbytes(target.name)
    about = finding.About(name, _TOPIC)
    files = dict.fromkeys(
        _file(ui.configsource(targets.SECTION, item))
        for item, _value in ui.configitems(targets.SECTION)
        if item.partition(b':')[0] in (name, b'*')
    )
    url = pycompat.sysbytes(target.url)
    yield about.ok(_(b'%s, set by %s') % (url, b', '.join(files)))
    try:
        if target.when and not len(repo):
            # A branch that does not exist yet would be a mistake.
            revsetlang.parse(target.when)
            return
        node = selection.newest(
            repo, target.when, selection.eligible(repo, target.trigger)
        )
    except selection.REVSET_ERRORS as exc:
        problem, remedy = wording.revset_problem(exc)
        line = _(b"the revset of 'when' cannot be evaluated: %s")
        yield about.error(line % problem, remedy)
        return
    if node:
        line = _(b'%s is the newest changeset that it is for')
        yield about.ok(line % wording.short(node))
    elif target.when is not None and len(repo):
        yield about.warning(
            _(b"no changeset is in the revset of 'when': %s") % target.when,
            _(b'that is fine if there is to be one'),
        )


def _file(source: bytes) -> bytes:
    '''the file of a configuration source, which is `FILE:LINE`'''
    return re.sub(rb':[0-9]+\Z', b'', source)
