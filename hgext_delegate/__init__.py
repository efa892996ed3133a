# hgext_delegate - push to deploy through an unprivileged account
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''hand each push over to an unprivileged deploy account, live

A push should deploy something, and the script that does it comes from the
repository: it must not run with the rights of the account that owns all
repositories. With this extension the server logs in to a second account
through SSH; the forced command in that account's authorized_keys says what
runs there, and what it prints reaches the pusher line by line::

  [extensions]
  hgext_delegate =

  [delegate]
  blog = ssh://hg-blog@localhost
  blog:when = branch(default)

The hook installs itself. The classic line works too, with the extension
enabled or without, and both together delegate once::

  [hooks]
  changegroup.autopush = python:hgext_delegate.hook

The deploy side is asked for ``hg-delegate 1 TARGET NODE``, which a forced
command finds in ``$SSH_ORIGINAL_COMMAND``, and gets one line of JSON about
the push on its standard input. Exit status 0 means deployed.

A target is one entry of ``[delegate]``; its name has letters, digits, dots,
underscores and hyphens. The host may be a Host alias of the server account's
``~/.ssh/config``. Options are set for one target as ``NAME:option``, or for
all of them as ``*:option``. Durations are seconds or numbers with ``s``,
``m`` or ``h``; sizes are written as elsewhere in Mercurial (``10 MB``).

``NAME``
  Where to log in: ``ssh://[user@]host[:port]``. Empty takes away a target
  that another file has set.

``NAME:when``
  A revset. Only pushed changesets in it count, and a push with none of them
  is not delegated. (default: every push)

``NAME:trigger``
  What delegates. (default: ``changegroup``, the only one so far)

``NAME:command``
  What is asked of the deploy side instead of ``hg-delegate 1 TARGET NODE``.
  Nothing in it is replaced. A forced command overrides it.

``NAME:identity``
  The private key file. No other key and no agent is tried. (default: what
  ``~/.ssh/config`` says, else OpenSSH's default names)

``NAME:hostkey``
  The keys of the host, pinned, as in ``ssh-ed25519 AAAA...``, separated by
  commas. Then nothing else counts.

``NAME:knownhosts``
  The known_hosts files to use where no key is pinned. An unknown or changed
  key is refused. (default: OpenSSH's files)

``NAME:connect-timeout``
  The limit for connecting and logging in. (default: 15s)

``NAME:idle-timeout``
  The limit for the deploy side to print nothing. (default: 10m)

``NAME:timeout``
  The limit for a delegation in all. (default: 1h)

``NAME:wait``
  Whether the pusher waits for the result and sees it. (default: yes)

``NAME:color``
  Whether the pusher sees the colours of the output. Every other control
  sequence is always removed. (default: yes)

``NAME:output-limit``
  How much of the output one delegation may show and log; the rest is counted
  and dropped. (default: 10 MB)

``NAME:receiver``
  Whether the forced command understands protocol 1 in full: it can be asked
  to cancel, and answers for a delegation that it has seen instead of running
  it twice. (default: no)

``NAME:retries``
  How often a delegation that has not begun on the far side is tried again at
  once, with growing pauses. (default: 3)

``keep``
  How many records of each target are kept. (default: 100)

``user-variables``
  Environment variables that name the pusher, beside those of hgweb,
  Heptapod, mercurial-server, Kallithea and hgkeeper. Name only variables
  that a client cannot set.
'''

from __future__ import annotations

import sys

from mercurial import registrar
from mercurial.i18n import _

from . import eager, hooks, metadata

__version__ = metadata.__version__
testedwith = metadata.testedwith
minimumhgversion = metadata.minimumhgversion
buglink = metadata.buglink

cmdtable: dict = {}
command = registrar.command(cmdtable)

colortable = {
    b'delegate.state.pending': b'yellow',
    b'delegate.state.running': b'cyan',
    b'delegate.state.succeeded': b'green',
    b'delegate.state.failed': b'red bold',
    b'delegate.state.lost': b'magenta bold',
    b'delegate.state.superseded': b'none',
    b'delegate.state.cancelled': b'yellow',
}

# An extension that was loaded by its path is found by ``python:`` hooks too.
sys.modules.setdefault('hgext_delegate', sys.modules[__name__])


def reposetup(ui, repo) -> None:
    if repo.local():
        hooks.install(repo)


def hook(ui, repo, hooktype, **kwargs) -> bool:
    '''the classic hook line: ``changegroup.x = python:hgext_delegate.hook``'''
    hooks.explain(ui, repo, hooktype, kwargs.get('source'))
    return hooks.deliver(ui, repo, hooktype, **kwargs)


@command(
    b'delegate',
    [
        (b'r', b'rev', b'', _(b'delegate this revision'), _(b'REV')),
        (b'', b'pending', None, _(b'delegate what is pending')),
        (b'n', b'dry-run', None, _(b'print what would be sent, do nothing')),
    ],
    _(b'[TARGET]... [-r REV] [--pending] [--dry-run]'),
    helpcategory=command.CATEGORY_REMOTE_REPO_MANAGEMENT,
)
def delegate(ui, repo, *targets, **opts):
    '''delegate a changeset now, by hand

    Without options, the newest changeset that each TARGET is for is
    delegated, once more if need be. Without TARGET, that is done for all
    targets.

    With -r/--rev another changeset is delegated, also an older one: this is
    the only way back.

    With --pending, what could not be delegated when it was pushed is tried
    again, as one delegation for each target.

    With -n/--dry-run, the command and the object that would be sent are
    printed, and no connection is made.

    Returns 0 only if every target succeeded.
    '''
    return eager.load('commands').delegate(ui, repo, targets, opts)


@command(
    b'delegate-log',
    [
        (
            b't',
            b'target',
            b'',
            _(b'only delegations to this target'),
            _(b'NAME'),
        ),
        (b'l', b'limit', b'', _(b'limit number of delegations'), _(b'NUM')),
        (b'f', b'follow', None, _(b'show the output of a running delegation')),
        (b'T', b'template', b'', _(b'display with template'), _(b'TEMPLATE')),
    ],
    _(b'[ID] [-t TARGET] [-l NUM] [--follow]'),
    helpcategory=command.CATEGORY_REMOTE_REPO_MANAGEMENT,
)
def delegate_log(ui, repo, id=None, **opts):
    '''show what was delegated and what became of it

    The newest delegations come first, 20 of them unless -l/--limit says
    otherwise: their number, target, state, changeset, pusher, time and
    duration, and why they failed.

    States are ``pending`` (it is tried again), ``running``, ``succeeded``,
    ``failed`` (the deploy side said so, or a limit was reached), ``lost``
    (the connection broke, and nobody knows), ``superseded`` (a newer
    changeset was deployed instead) and ``cancelled``.

    With ID, what that delegation printed follows. With -f/--follow, it
    follows live until the end, and the result is that of the delegation.

    Returns 0 on success.
    '''
    return eager.load('commands').log(ui, repo, id, opts)


@command(
    b'delegate-cancel',
    [],
    _(b'ID'),
    helpcategory=command.CATEGORY_REMOTE_REPO_MANAGEMENT,
)
def delegate_cancel(ui, repo, id):
    '''cancel a delegation that is running or pending

    With our receiver on the far side (``receiver = yes``) its whole process
    group is ended there. A plain forced command loses its connection, and may
    go on until it prints something next.

    Returns 0 if the delegation was cancelled.
    '''
    return eager.load('commands').cancel(ui, repo, id)
