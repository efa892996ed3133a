# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate-setup: what a new target needs, made or printed

The key pair and the record of host keys are all that it writes. The lines
that let the server account in, and that make pushes go there, are printed:
whoever has to agree pastes them.
'''

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Iterator, Sequence

from mercurial import error, pycompat, ui as uimod, util
from mercurial.i18n import _
from mercurial.utils import procutil

from ...config import targets as targetsmod
from ...receiver import box as boxmod, boxed
from ...report import printer, wording
from ...ssh import addresses, config, knownhosts, session
from .. import opened
from ..check import account, finding, serving
from . import hostkeys, keypair, snippets

_FINGERPRINT = re.compile(rb'SHA256:[A-Za-z0-9+/]{43}\Z')

# The usual case: what is merged is deployed, what is worked on is not. There
# may be no such branch yet.
_WHEN = 'present(branch(default))'

_KEYGEN = 'ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub'


def run(ui, repo, name: bytes, url: bytes, opts) -> int:
    '''the command; 0 when everything is printed'''
    target = _target(name, url)
    accepted = _fingerprint(opts['accept_host_key'])
    refuse_root(repo.sharedpath)
    root = os.fsdecode(repo.root)
    if opts['gate']:
        target = dataclasses.replace(target, gate='yes')
    comment = snippets.comment(target.name, os.path.basename(root))
    command, enabled = os.fsdecode(opts['command']), serving.enabled(ui)
    with opened.aborting():
        snippets.check(command)
        pair = keypair.make(target.name, repo.sharedpath, comment)
        host = session.find(
            target.host,
            target.port,
            target.user,
            identity=pair.path,
            allow_root=target.allow_root,
            target=target.name,
        )
        key = hostkeys.host_key(host, accepted, lambda key: _ask(ui, host, key))
        ways = addresses.ways(host)
        is_here = addresses.is_this_machine(ways)
        sources = addresses.sources(ways)
        boxless = '' if command else _boxless(is_here)
        command = command or _receiver(
            enabled, target, root, is_here, not boxless
        )
        made = {
            'target': target.name,
            'url': target.url,
            'identity': pair.path,
            'publickey': pair.public,
            'hostkey': key.text,
            'fingerprint': key.fingerprint,
            'authorized_keys': snippets.authorized_key(
                sources, command, pair.public, comment
            ),
        }
        made['hgrc'] = snippets.hgrc(_sections(enabled, target, made, command))
    _warn(ui, repo, target, host.user, pair.path if is_here else '')
    page = [made['authorized_keys'], '', made['hgrc']]
    if not ui.quiet:
        page = [*_page(made, host, key, boxless)]
    _print(ui, opts, made, page)
    return 0


def _print(ui, opts, made: dict[str, str], page: Sequence[str]) -> None:
    with ui.formatter(b'delegate-setup', pycompat.byteskwargs(opts)) as fm:
        fm.startitem()
        fm.data(**{k: v.encode('utf-8') for k, v in made.items()})
        for text in '\n'.join(page).splitlines():
            fm.plain(b'%s\n' % wording.text(text))


def _target(name: bytes, url: bytes) -> targetsmod.Target:
    '''what the configuration would make of it'''
    ui = uimod.ui()
    ui.setconfig(targetsmod.SECTION, name, url, b'delegate-setup')
    targets, mistakes = targetsmod.read(ui)
    if targets:
        return targets[0]
    if mistakes and b':' not in name:
        raise error.InputError(mistakes[0].problem, hint=mistakes[0].remedy)
    # an option, a setting, or a target that is taken away
    raise error.InputError(
        _(b"'%s = %s' is not a target") % (name, url),
        hint=_(b'for example: hg delegate-setup blog ssh://hg-blog@localhost'),
    )


def _fingerprint(text: bytes) -> str:
    if text and not _FINGERPRINT.match(text):
        raise error.InputError(
            _(b"'%s' is not a fingerprint") % text,
            hint=_(b'write it as ssh-keygen -lf prints it: SHA256:...'),
        )
    return pycompat.sysstr(text)


def refuse_root(store: bytes) -> None:
    '''refuse to make keys for root that the server account cannot read'''
    owner = os.stat(store).st_uid
    if os.geteuid() or not owner:
        return
    name = util.username(owner)
    hint = _(b'run it as the account that serves pushes: sudo -H -u %s hg')
    raise error.StateError(
        _(b'the repository belongs to %s, and this is root') % name,
        hint=hint % name,
    )


def _ask(ui, host: config.Destination, key: knownhosts.Key) -> bool:
    '''whether the key of ``host`` is right. Raises StateError'''
    kinds = {'ssh-ed25519': 'ed25519', 'ssh-rsa': 'rsa'}
    compare = pycompat.sysbytes(_KEYGEN % kinds.get(key.type, 'ecdsa'))
    name, shown = os.fsencode(str(host)), pycompat.sysbytes(key.short)
    if not ui.interactive():
        raise error.StateError(
            _(b'host key of %s is not known: %s') % (name, shown),
            hint=_(b"if it is what '%s' prints there, --accept-host-key %s")
            % (compare, pycompat.sysbytes(key.fingerprint)),
        )
    text = _(
        b'host key of %s: %s\n'
        b'to compare, run there: %s\n'
        b'is it the right one (yn)?$$ &Yes $$ &No'
    )
    return not ui.promptchoice(text % (name, shown, compare), 1)


def _warn(ui, repo, target: targetsmod.Target, user: str, key: str) -> None:
    '''say what hg delegate-check would say of the server, and of ``user``

    There is an account of that name to look at if ``key`` is given.
    '''
    told = printer.Printer(ui)
    accounts = account.check(ui, repo, target, user, [key]) if key else ()
    for found in (*serving.check(ui, repo), *accounts):
        if found.level != finding.OK:
            line = _(b'warning: %s') % wording.safe(found.message)
            told.warn(line, wording.safe(found.remedy))


def _boxless(is_here: bool) -> str:
    '''why its receiver gets no box, and what to do; '' if it gets one'''
    if not is_here:
        return 'add --box if bubblewrap works there, which is not known here'
    # which is not the account that it is for: that tries it by --install
    problem = boxed.problem(boxmod.Box(''), as_other=True)
    return '%s; %s' % problem if problem else ''


def _receiver(
    enabled: serving.Enabled,
    target: targetsmod.Target,
    root: str,
    is_here: bool,
    box: bool,
) -> str:
    '''the forced command for an account that can have this extension too'''
    # who pushes must not choose how that is checked
    run = '~/check' if target.gate else './deploy.sh'
    name = target.name
    if not is_here:
        unknown = ('hgext_delegate', '')
        return snippets.receiver('hg', unknown, name, 'URL', box, run)
    key, value, _files = enabled
    source = root if snippets.is_plain(root) else 'URL'
    # this hg, unless a forced command on this machine finds it by its name
    hg = os.fsdecode(procutil.hgexecutable())
    found = shutil.which('hg', path=serving.PATH)
    is_found = found and os.path.realpath(found) == os.path.realpath(hg)
    if is_found or not os.path.isabs(hg):
        hg = 'hg'
    return snippets.receiver(hg, (key, value), name, source, box, run)


def _sections(
    enabled: serving.Enabled,
    of: targetsmod.Target,
    made: dict[str, str],
    command: str,
) -> dict[str, dict[str, str]]:
    '''what the hgrc needs'''
    name, value, files = enabled
    target = made['target']
    items = {
        target: made['url'],
        target + ':identity': _by_home(made['identity']),
        target + ':hostkey': made['hostkey'],
    }
    if snippets.is_receiver(command):
        items[target + ':receiver'] = 'yes'
    if of.gate:
        items[target + ':gate'] = of.gate
    else:
        items[target + ':when'] = _WHEN
    sections = {'delegate': items}
    if not files:
        # It is enabled for this command alone.
        sections = {'extensions': {name: value}, **sections}
    return sections


def _by_home(path: str) -> str:
    '''``path`` by ~, so that each account that serves pushes has its own'''
    home = os.path.expanduser('~/')
    return '~/' + path[len(home) :] if path.startswith(home) else path


def _page(
    made: dict[str, str],
    host: config.Destination,
    key: knownhosts.Key,
    boxless: str,
) -> Iterator[str]:
    '''the lines; what is not to be pasted is a comment in both files'''
    yield '# private key: %s' % made['identity']
    yield '# host key of %s: %s' % (host, key.short)
    yield ''
    where = 'the authorized_keys of %s on %s' % (host.user, host.host)
    yield '# one line for %s:' % where
    if ',from="' not in made['authorized_keys']:
        yield '# without from="...": which address sshd sees is not known here'
    if ' --source URL ' in made['authorized_keys']:
        yield '# URL is what the deploy account pulls from'
    if ' --box" ' in made['authorized_keys']:
        yield '# in its box the script can write its clone only, and what'
        yield '# --writable PATH adds'
    elif boxless:
        yield '# without --box who may push can keep that account for good'
        yield '# (%s)' % boxless
    yield made['authorized_keys']
    yield ''
    yield '# for an hgrc that the server reads, such as .hg/hgrc:'
    yield made['hgrc']
