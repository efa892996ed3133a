# SPDX-License-Identifier: GPL-2.0-or-later
'''where the configuration comes from, and what is wrong with it'''

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from mercurial import encoding, error, pycompat, revsetlang, ui as uimod, util
from mercurial.i18n import _

from ...config import policy, targets
from ...delivery import evaluation, told
from ...push import outbox, selection
from ...report import mail, wording
from . import finding, rights, serving

_TOPIC = b'config'
# how long a gate should take at most, in seconds
_LONG = 600
_CLASSIC = re.compile(rb'python:(.*\.)?(hgext_)?delegate\.hook\Z')


def general(ui, repo) -> Iterator[finding.Finding]:
    '''what concerns all targets'''
    about = finding.About(b'', _TOPIC)
    hgrc = os.path.join(repo.path, b'hgrc')
    if os.path.exists(hgrc) and not os.access(hgrc, os.R_OK):
        yield about.error(
            _(b'%s cannot be read') % hgrc, rights.granting(hgrc, b'r')
        )
    if _is_distrusted(repo, hgrc):
        line = _(b'%s enables the extension, and does not count')
        yield about.error(line % hgrc, _trust(_owner(hgrc)))
    else:
        yield _enabled(ui, about, hgrc)
    if not targets.names(ui):
        url = b'ssh://hg-blog@localhost'
        remedy = _(b"'hg delegate-setup blog %s' prints what one needs") % url
        yield about.error(_(b'no target is configured'), remedy)
    owner, me = _owner(repo.path), util.username(os.geteuid())
    if owner != me:
        line = _(b'the repository belongs to %s, and this is run by %s')
        remedy = _(
            b'this holds for %s: run it as the account that serves pushes'
        )
        yield about.warning(line % (owner, me), remedy % me)


def _enabled(ui, about: finding.About, hgrc: bytes) -> finding.Finding:
    name, value, files = serving.enabled(ui)
    hooks = [
        b'hooks.%s in %s' % (item, serving.file_of(ui, b'hooks', item))
        for item, hook in ui.configitems(b'hooks')
        if item.startswith(b'changegroup')
        if isinstance(hook, bytes) and _CLASSIC.match(hook)
        if ui.configsource(b'hooks', item) != serving.COMMAND_LINE
    ]
    line = ('%s = %s' % (name, value)).rstrip()
    remedy = _(b"write '%s' into [extensions] of %s")
    remedy %= os.fsencode(line), hgrc
    if files:
        line = _(b'the extension is enabled by %s') % files[0]
        if hooks:
            line += _(b'; with %s it delegates once') % hooks[0]
        return about.ok(line)
    if hooks:
        line = _(b'with %s alone, a push whose process is killed is forgotten')
        return about.warning(line % hooks[0], remedy)
    line = _(b'the extension is enabled on the command line alone')
    return about.error(line, remedy)


def _is_distrusted(repo, hgrc: bytes) -> bool:
    '''whether ``hgrc`` enables the extension, and Mercurial does not trust it

    The file is read alone: this process has enabled the extension in another
    way, which hides that of ``hgrc``.
    '''
    ui = uimod.ui.load()
    ui.pushbuffer(error=True)
    if os.access(hgrc, os.R_OK):
        ui.readconfig(hgrc, repo.root)
    names = {name for name, _ in ui.configitems(b'extensions', untrusted=True)}
    trusted = {name for name, _ in ui.configitems(b'extensions')}
    return bool((names - trusted) & {b'hgext_delegate', b'delegate'})


def http(ui) -> finding.Finding:
    '''when a pusher over HTTP sees the output'''
    about = finding.About(b'', b'http')
    if serving.enabled(ui)[2]:
        return about.ok(
            _(b'output over HTTP is live, unless a proxy buffers it')
        )
    return about.warning(
        _(b'over HTTP the output of a deploy is shown at the end of the push'),
        _(b'enable the extension in an hgrc that the web server reads'),
    )


def web(repo) -> Iterator[finding.Finding]:
    '''what hgweb shows of delegations'''
    about = finding.About(b'', b'http')
    shown = policy.published(repo)
    if shown == b'state':
        yield about.ok(_(b"hgweb's pages show the state of delegations"))
    if shown == b'output':
        line = _(b"hgweb's pages show state, output and pusher of delegations")
        yield about.ok(line)


def remote(target: targets.Target) -> Iterator[finding.Finding]:
    '''what clients may do through the push channel'''
    about = finding.About(pycompat.sysbytes(target.name), _TOPIC)
    if target.remote == 'list':
        yield about.ok(_(b'the push channel lists what it has'))
    if target.remote == 'push':
        line = _(b'who may push may delegate to it by the push channel')
        yield about.ok(line)


def untrusted(ui) -> list[finding.Finding]:
    '''what is ignored, since Mercurial does not trust the file that says it

    One finding for each file and target.
    '''
    trusted = dict(ui.configitems(targets.SECTION))
    found: dict[tuple[bytes, bytes], finding.Finding] = {}
    for item, value in ui.configitems(targets.SECTION, untrusted=True):
        if trusted.get(item) == value:
            continue
        about = _about(item)
        file = serving.file_of(ui, targets.SECTION, item, untrusted=True)
        key, owner = (about.target, file), _owner(file)
        if item == about.target and item not in trusted:
            line = _(
                b'%s has this target, and does not count: it belongs to %s'
            )
            found[key] = about.error(line % (file, owner), _trust(owner))
        elif key not in found:
            line = _(b'what %s says of it does not count: it belongs to %s')
            found[key] = about.warning(line % (file, owner), _trust(owner))
    return list(found.values())


def _owner(file: bytes) -> bytes:
    return util.username(os.stat(file).st_uid) if os.path.exists(file) else b'?'


def _trust(owner: bytes) -> bytes:
    # with HGRCPATH set, ~/.hgrc may not be read
    path = encoding.environ.get(b'HGRCPATH')
    where = _(b'a file of %s') % path if path else b'~/.hgrc'
    remedy = _(b"if that is right, write 'users = %s' into [trusted] of %s")
    return remedy % (owner, where)


def of_error(wrong: targets.ConfigError) -> finding.Finding:
    '''what is wrong with an item, or what the policy has against it'''
    line = b'%s in %s: %s' % (wrong.item, wrong.source, wrong.problem)
    return _about(wrong.item).error(line, wrong.remedy)


def of_target(ui, repo, target: targets.Target) -> Iterator[finding.Finding]:
    '''where ``target`` comes from, and what its revset finds'''
    about = finding.of(target.name, _TOPIC)
    files = dict.fromkeys(
        serving.file_of(ui, targets.SECTION, item)
        for item, _value in ui.configitems(targets.SECTION)
        if targets.owner(item) in (about.target, b'*')
    )
    url = pycompat.sysbytes(target.url)
    yield about.ok(_(b'%s, set by %s') % (url, b', '.join(files)))
    if target.notify:
        yield _mailed(ui, about, target)
    if target.after:
        line = _(b'it gets what has succeeded at %s')
        yield about.ok(line % pycompat.sysbytes(target.after))
    if target.gate:
        yield from _of_gate(ui, about, target)
    try:
        if not len(repo):
            # Its branches do not exist yet, so nothing is evaluated.
            revsetlang.parse(target.when or b'all()')
            return
        revs = selection.eligible(repo, target.trigger)
        node = evaluation.Evaluator().newest(repo, target, revs)
    except selection.REVSET_ERRORS as exc:
        problem, remedy = wording.revset_problem(exc)
        line = _(b"the revset of 'when' cannot be evaluated: %s")
        yield about.error(line % problem, remedy)
        return
    if node:
        line = _(b'%s is the newest changeset that it is for')
        yield about.ok(line % wording.short(node))
    elif target.when is not None:
        yield about.warning(
            _(b"no changeset is in the revset of 'when': %s") % target.when,
            _(b'that is fine if there is to be one'),
        )


def _mailed(
    ui, about: finding.About, target: targets.Target
) -> finding.Finding:
    who = wording.text(', '.join(target.notify))
    try:
        mail.validate(ui)
    except error.Abort as exc:
        line = _(b'%s cannot be told by mail: %s')
        return about.warning(
            line % (who, exc.message),
            _(b"see [email] and [smtp] in 'hg help config'"),
        )
    return about.ok(_(b'%s is told by mail when it goes wrong') % who)


def hooks(ui) -> Iterator[finding.Finding]:
    '''which hooks are told of each end'''
    if names := told.hooks(ui):
        line = _(b'these hooks are told of each end: %s')
        yield finding.About(b'', _TOPIC).ok(line % b', '.join(names))


def _of_gate(
    ui, about: finding.About, target: targets.Target
) -> Iterator[finding.Finding]:
    '''whether pushes are asked of the gate ``target``'''
    if not serving.enabled(ui)[2]:
        yield about.error(*wording.NOT_ENABLED)
        return
    line = _(b'a gate: asked about each push by %s, for %d s at most')
    if target.gate == 'optional':
        line = _(b'a gate, optional: asked at each push by %s, at most %d s')
    moves = ', '.join(target.trigger).encode('ascii')
    yield about.ok(line % (moves, target.timeout))
    if target.timeout > _LONG:
        yield about.warning(
            _(b'the repository may be locked for %d s') % target.timeout,
            _(b'set %s:timeout to what its checks need') % about.target,
        )


def of_roads(repo) -> Iterator[finding.Finding]:
    '''where the host's configuration is another one than for this command'''
    about = finding.About(b'', _TOPIC)
    here, found = policy.of_host(repo), outbox.roads(repo)
    counts = policy.remembered(repo, found)
    for road, said in counts.items():
        items = b', '.join(
            b'%s = %s' % (name, said[name])
            for name in sorted(said)
            if name != b'digest'
        )
        line = _(b'pushes by %s have a policy that this hg does not read: %s')
        yield about.warning(
            line % (road, items),
            _(b'it counts here, too; write it into a file that each hg reads'),
        )
    for each, known in found.items():
        name = pycompat.sysbytes(each)
        if name not in counts and known != here:
            line = _(b'the host configures pushes by %s in another way')
            yield about.warning(
                line % name,
                _(b'write [delegate] into a file that each hg reads'),
            )


def _about(item: bytes) -> finding.About:
    '''about the target that ``item`` belongs to, or about none of them'''
    name = targets.owner(item)
    return finding.About(name if targets.is_name(name) else b'', _TOPIC)
