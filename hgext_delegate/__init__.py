# SPDX-License-Identifier: GPL-2.0-or-later
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
  blog:when = present(branch(default))

The hook installs itself. The classic line works too, with the extension
enabled or without, and both together delegate once::

  [hooks]
  changegroup.autopush = python:hgext_delegate.hook

The deploy side is asked for ``hg-delegate 1 TARGET NODE``, which a forced
command finds in ``$SSH_ORIGINAL_COMMAND``, and gets one line of JSON about
the push on its standard input. Exit status 0 means deployed.

A push that was accepted stays accepted: ``hg push`` exits with 0 also when
the deploy fails, which its last line says.

``deployed/TARGET`` is a name for what a target has, as a bookmark is one. What
is not live yet::

  hg log -r 'only(default, deployed/blog)'

More help::

  hg help delegate.config      each option
  hg help delegate.protocol    what the deploy account is asked and told
  hg help delegate.states      what becomes of a delegation
  hg help delegate.messages    what the pusher sees, and what to do about it
'''

from __future__ import annotations

import os
import sys
import threading

from mercurial import (
    commands as hgcommands,
    demandimport,
    error,
    extensions,
    hook as hookmod,
    registrar,
)
from mercurial.i18n import _

from . import imports
from .extension import hooks, names, translations

# setup.py reads it without importing the package
__version__ = b'0.1.0'
# Mercurial compares the first two numbers; both are run by 'make test'.
testedwith = b'6.3 7.2'
minimumhgversion = b'6.3'
buglink = b'the address under "Reporting a bug" in README.rst of hg-delegate'

# Before the commands: their texts are translated when they are registered.
_LOCALE = os.path.join(os.path.dirname(__file__), 'locale')
if os.path.isdir(_LOCALE):
    translations.install(_LOCALE)

cmdtable: dict = {}
command = registrar.command(cmdtable)

_REMOTE = (
    b'',
    b'remote',
    b'',
    _(b'ask the server there by its push channel'),
    _(b'PATH'),
)

revsetpredicate = registrar.revsetpredicate()

configtable: dict = {}
configitem = registrar.configitem(configtable)
# targets, their options and the settings; config/targets.py checks them
configitem(b'delegate', b'.*', default=None, generic=True)

colortable = {
    b'delegate.state.pending': b'yellow',
    b'delegate.state.running': b'cyan',
    b'delegate.state.succeeded': b'green',
    b'delegate.state.failed': b'red bold',
    b'delegate.state.lost': b'magenta bold',
    b'delegate.state.superseded': b'none',
    b'delegate.state.cancelled': b'yellow',
    b'delegate.state.passed': b'green',
    b'delegate.state.refused': b'red bold',
    b'delegate.hint': b'none',
    b'delegate.check.ok': b'green',
    b'delegate.check.warning': b'yellow',
    b'delegate.check.error': b'red bold',
}

# Whether this is chg's server, which forks for each command what it has loaded.
_IN_CHG = 'CHGINTERNALMARK' in os.environ

# An extension that was loaded by its path is found by ``python:`` hooks too.
sys.modules.setdefault('hgext_delegate', sys.modules[__name__])


def getversion() -> bytes:
    '''what ``hg version -v`` shows; paramiko itself is not imported for it'''
    with demandimport.deactivated():
        from importlib.metadata import PackageNotFoundError, version
    try:
        paramiko = version('paramiko').encode('ascii')
    except PackageNotFoundError:
        return b'%s (without paramiko)' % __version__
    return b'%s (paramiko %s)' % (__version__, paramiko)


def extsetup(ui) -> None:
    extensions.wrapfunction(hookmod, '_allhooks', hooks.with_ours)
    extensions.wrapcommand(hgcommands.table, b'help', _help)
    if _IN_CHG:
        with imports.complete():
            from .receiver import command  # noqa: F401
    elif _is_web_server():
        _begin_early(over_http=True)
        return
    extensions.wrapcommand(hgcommands.table, b'serve', _serve)


def _help(orig, ui, *names, **opts):
    with imports.complete():
        from .extension import help_topics
    help_topics.install()
    return orig(ui, *names, **opts)


def _is_web_server() -> bool:
    '''whether hgweb runs in this process, as under a WSGI server

    In every hg process its modules stand in sys.modules, but not loaded, since
    imports are lazy. If hgweb has loaded this extension, one of its two modules
    is loaded, and has the class of its own name. Only the module's own
    dictionary is looked at: any other access would load it.
    '''
    return any(
        name in object.__getattribute__(module, '__dict__')
        for name in ('hgweb', 'hgwebdir')
        for place in ('_mod', '_mod_inner')
        if (module := sys.modules.get(f'mercurial.hgweb.{name}{place}'))
    )


def _serve(orig, ui, repo, **opts):
    _begin_early(over_http=not opts.get('stdio'))
    return orig(ui, repo, **opts)


_installing = threading.Lock()


def _begin_early(over_http: bool) -> None:
    # over ssh there is one thread until a push comes, and a pull needs no more
    loading = imports.complete if over_http else demandimport.deactivated
    with loading():
        from .extension import early_login, push_channel
    with _installing:
        early_login.install()
        names.install_pushkey()
        push_channel.install()
    if over_http:
        with imports.complete():
            from .extension import http_reply, web
        with _installing:
            http_reply.install()
            web.install()


def reposetup(ui, repo) -> None:
    if repo.local():
        hooks.install(repo)
        names.install(repo)


@revsetpredicate(b'deployed([target])', safe=True)
def deployed(repo, subset, x):
    '''What each target has now, or what those have whose name is
    ``target``, in quotes if that has a hyphen. Pattern matching is
    supported for ``target``: see :hg:`help revisions.patterns`.
    '''
    return names.deployed(repo, subset, x)


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
        _REMOTE,
    ],
    _(
        b'[TARGET]... [-r REV] [--pending] [--dry-run]\n'
        b'       | --remote PATH TARGET... [-r REV]'
    ),
    helpcategory=command.CATEGORY_REMOTE_REPO_MANAGEMENT,
)
def delegate(ui, repo, *targets, **opts):
    '''delegate a changeset now, by hand

    Without options, the newest changeset that each TARGET is for is
    delegated, once more if need be. Without TARGET, that is done for all
    targets. Where a delegation to the target runs already, it waits for its
    turn, and says so. What waits for the target goes along.

    With -r/--rev another changeset is delegated, also an older one: this is
    the only way back.

    A target that comes after another one (``NAME:after``) gets the newest that
    this has, and the rest waits for it; with -r/--rev it does not wait, and
    what REV has goes along.

    With --pending, what could not be delegated when it was pushed is tried
    again, as one delegation for each target.

    With -n/--dry-run, the changesets that would go live are listed, and those
    that would be taken away (the newest 20 of each, or with -v/--verbose all);
    then the command and the object that would be sent, and who holds the
    target. No connection is made, and nothing is written.

    With -q/--quiet, only what did not succeed is said; with -v/--verbose,
    also the number, each attempt and the time waited. So it is for a push.

    With --remote the server that PATH leads to (``default``: where :hg:`push`
    goes without one) is asked instead, where ``NAME:remote = push`` allows
    it: no shell there is needed. REV is looked up here. If TARGET has become
    another one, or is busy, it is refused; it goes on there when this is
    interrupted.

    Interrupted (^C), it cancels what it has begun, as :hg:`delegate-cancel`
    does.

    What is delegated is configured as :hg:`help delegate.config` says.

    Returns 0 only if every target succeeded.
    '''
    if opts['remote']:
        with imports.complete():
            from .commands import remote
        return remote.delegate(ui, repo, targets, opts)
    with imports.complete():
        from .commands import delegate as implementation
    return implementation.delegate(ui, repo, targets, opts)


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
        (b'', b'stat', None, _(b'show how long they take, and how many fail')),
        _REMOTE,
        *hgcommands.formatteropts,
    ],
    _(
        b'[ID] [-t TARGET] [-l NUM] [--follow] | --stat [-t TARGET]\n'
        b'       | --remote PATH [-t TARGET] [-l NUM]'
    ),
    helpcategory=command.CATEGORY_REMOTE_REPO_MANAGEMENT,
)
def delegate_log(ui, repo, id=None, **opts):
    '''show what was delegated and what became of it

    The newest delegations come first, 20 of them unless -l/--limit says
    otherwise: their number, target, state, changeset, pusher, time and
    duration, and why they failed.

    States are ``pending``, ``running``, ``succeeded``, ``failed``, ``lost``,
    ``superseded`` and ``cancelled``, and of gates ``passed`` and ``refused``:
    see :hg:`help delegate.states`.

    With ID, what that delegation printed is shown as well. With -f/--follow
    it is shown live until the end, and the exit status is 0 only if the
    delegation succeeded. Without ID, -f/--follow shows what is running now.

    A delegation that runs says for how long, of how long it usually takes:
    the median of the last five that succeeded.

    With --stat, one line for each target is shown instead: how many were run
    and failed (or were lost, or refused a push), and of those that succeeded
    the median, the slowest, and the median of the last five. No more is known
    than what is recorded (``keep``). Its templates have ``target``,
    ``count``, ``failed``, ``median``, ``slowest`` and ``usual``, in seconds.

    With --remote the newest 20 of the targets are shown that have ``remote``
    in the configuration of the server that PATH leads to (``default``: where
    :hg:`push` goes without one): their number, target, state, changeset, time
    and duration. Its templates have ``id``, ``target``, ``state``, ``node``,
    ``date`` and ``seconds``.

    With -v/--verbose, attempts, the time waited and what to do next are
    shown; with -q/--quiet only number, target and state, or only the output.

    Templates have the keywords ``id``, ``target``, ``state``, ``node``,
    ``pusher``, ``date`` (when it began), ``seconds``, ``status`` (the exit
    status), ``signal``, ``reason``, ``remedy``, ``detail`` (what the pusher
    was not told, such as the name of a file), ``attempt`` (how often it was
    tried), ``previous`` (what the target had before), ``taken`` (the ID of
    the delegation that was run instead), ``stopper`` (who cancelled),
    ``protocolid`` (what the deploy side knows it by), ``heldby``,
    ``heldsince`` and ``heldreason`` (where the target is held now), ``usual``
    (how many seconds it is expected to take), and with ID also ``output``.

    Returns 0 on success.
    '''
    if opts['remote']:
        with imports.complete():
            from .commands import remote
        return remote.log(ui, repo, id, opts)
    with imports.complete():
        from .commands import log
    return log.log(ui, repo, id, opts)


@command(
    b'delegate-hold',
    [
        (b'm', b'message', b'', _(b'why, for those who wait'), _(b'REASON')),
        (b'', b'release', None, _(b'let go of it, and delegate what waits')),
    ],
    _(b'TARGET... [-m REASON] | --release TARGET...'),
    helpcategory=command.CATEGORY_REMOTE_REPO_MANAGEMENT,
)
def delegate_hold(ui, repo, target, *targets, **opts):
    '''let what is pushed to a target wait until it is released

    Pushes are accepted as ever. Each pusher is told at once who holds TARGET,
    since when and why, and is not kept waiting; the push stays pending. A
    delegation that runs goes on to its end, and :hg:`delegate TARGET` is
    refused meanwhile. :hg:`delegate --pending` leaves out what is held, and
    without a TARGET does not mention it but on a terminal.

    With --release what waits is delegated, as :hg:`delegate --pending TARGET`
    does.

    Holding again what is held changes who holds it and, with -m, why, and not
    since when. The names of all targets that are held stand above what
    :hg:`delegate-log` lists. Who may write in ``.hg/delegate`` may hold and
    release, whoever has held it.

    REASON is one line of up to 200 characters, which every pusher sees.

    Returns 0 on success; with --release, only if the target was held and
    what waited succeeded.
    '''
    with imports.complete():
        from .commands import hold
    return hold.hold(ui, repo, (target, *targets), opts)


@command(
    b'delegate-cancel',
    [_REMOTE],
    _(b'[--remote PATH] ID'),
    helpcategory=command.CATEGORY_REMOTE_REPO_MANAGEMENT,
)
def delegate_cancel(ui, repo, id, **opts):
    '''cancel a delegation that is running or pending

    With our receiver on the far side (``receiver = yes``) its whole process
    group is ended there, also when the connection was lost since. A plain
    forced command loses its connection, and may go on until it prints
    something next.

    With --remote the server that PATH leads to is asked, as by
    :hg:`delegate --remote`.

    Returns 0 if the delegation was cancelled.
    '''
    if opts['remote']:
        with imports.complete():
            from .commands import remote
        return remote.cancel(ui, repo, id, opts)
    with imports.complete():
        from .commands import cancel
    return cancel.cancel(ui, repo, id)


@command(b'debugdelegatetell', [], b'')
def debugdelegatetell(ui, repo):
    '''tell those who should know of the ends that nobody has told yet

    We start this ourselves.
    '''
    with imports.complete():
        from .commands import opened
        from .delivery import told
    with opened.to_read(ui, repo) as dispatcher:
        # who comes next tells what is left
        dispatcher.teller = None
        told.tell(dispatcher.repo, dispatcher.targets, dispatcher.journal)


@command(
    b'delegate-receive',
    [
        (b'', b'clone', b'', _(b'keep the clone here'), _(b'PATH')),
        (b'', b'source', b'', _(b'pull from there'), _(b'URL')),
        (b'', b'run', b'', _(b'then run this in the clone'), _(b'COMMAND')),
        (
            b'',
            b'timeout',
            b'',
            _(b'end it after this time (default: 1h)'),
            _(b'DURATION'),
        ),
        (
            b'',
            b'state',
            b'',
            _(b'remember here what ran (default: ~/.local/state/hg-delegate)'),
            _(b'FOLDER'),
        ),
        (
            b'',
            b'env',
            [],
            _(b'one more variable for COMMAND'),
            _(b'NAME=VALUE'),
        ),
        (
            b'',
            b'clean',
            None,
            _(b'first undo changes and remove untracked files in the clone'),
        ),
        (b'', b'clean-ignored', None, _(b'the same, and remove ignored files')),
        (b'', b'subrepos', None, _(b'update subrepositories as well')),
        (b'', b'box', None, _(b'shut COMMAND in: it cannot keep the account')),
        (
            b'',
            b'writable',
            [],
            _(b'with --box: what COMMAND can write besides its clone'),
            _(b'PATH'),
        ),
        (b'', b'no-network', None, _(b'with --box: without the network')),
        (b'', b'allow-root', None, _(b'let the deploy account be root')),
        (
            b'',
            b'install',
            b'',
            _(b'add this line to ~/.ssh/authorized_keys instead'),
            _(b'LINE'),
        ),
    ],
    _(
        b'--clone PATH --source URL --run COMMAND\n'
        b'       [--timeout DURATION] [--state FOLDER] [--env NAME=VALUE]...\n'
        b'       [--clean | --clean-ignored] [--subrepos]\n'
        b'       [--box [--no-network] [--writable PATH]...]\n'
        b'       | --install LINE'
    ),
    helpcategory=command.CATEGORY_REMOTE_REPO_MANAGEMENT,
    norepo=True,
)
def delegate_receive(ui, **opts):
    '''be the receiver, a forced command for the deploy account

    It stands in the ``authorized_keys`` of the deploy account, and nobody
    types it. On the server, ``NAME:receiver = yes`` belongs to it.

    For each delegation it brings its own clone in PATH to the changeset,
    made and pulled from URL as need be, and runs COMMAND there. URL is
    whatever :hg:`pull` takes. A COMMAND that begins with ``./`` comes from
    the changeset. It is not run by a shell; ``HG_NODE``, ``HG_PREVIOUS``,
    ``DELEGATE_ID``, ``DELEGATE_TARGET``, ``DELEGATE_PUSHER`` and
    ``DELEGATE_JSON`` (a file with all that the server tells) are in its
    environment.

    A clone with changes that nobody committed is left alone, and the
    delegation fails. Untracked files stay where they are. With --clean each
    delegation gets a clone without changes and without untracked files, as
    :hg:`update --clean` and :hg:`purge` make it; with --clean-ignored what
    ``.hgignore`` names is removed as well.

    A changeset with subrepositories is deployed with --subrepos alone: whoever
    may push writes in ``.hgsub`` what this account is to clone.

    With --box COMMAND is shut in by bubblewrap: it can write its clone, but
    for ``.hg``, and each PATH of --writable, all else is read-only, and its
    home, ``/tmp`` and ``/run`` are empty. What it has left running ends with
    it. Where there is no box, it is not run. Without --box whoever may push a
    COMMAND that begins with ``./`` can keep the account.

    What runs does not need the connection: if that breaks, it goes on, and
    the next connection for the same delegation tells what became of it. In
    one clone one delegation runs at a time, and none of them twice. The
    newest 100 are remembered, with what they printed.

    Asked as a gate, it lays what is pushed over the clone, which gets none of
    it, and runs COMMAND in a folder that has the changeset's files and is
    removed then. ``DELEGATE_REPOSITORY`` is for ``hg -R`` there, and
    ``DELEGATE_NEW`` a revset of all that is pushed. It ends with the push.

    It is ended when the server asks for that (:hg:`delegate-cancel`), after
    DURATION, and by SIGTERM: COMMAND and all that it has started get SIGTERM,
    and SIGKILL five seconds later.

    With --install, LINE as ``hg delegate-setup`` prints it is added to the
    ``authorized_keys`` of the account that runs this, unless it is there.

    Exits as COMMAND does, or with 2 for a request that is refused, 120 if
    the receiver was killed, 121 without the changeset, 122 if another
    delegation kept the clone, 124 after DURATION, 125 when cancelled, and
    126 or 127 if COMMAND cannot be run.
    '''
    with imports.complete():
        from .receiver import command
    return command.run(ui, opts, _IN_CHG)


@command(
    b'delegate-setup',
    [
        (
            b'',
            b'accept-host-key',
            b'',
            _(b'take the host key that has this fingerprint'),
            _(b'FINGERPRINT'),
        ),
        (
            b'',
            b'command',
            b'',
            _(b'the forced command (default: hg delegate-receive)'),
            _(b'COMMAND'),
        ),
        (
            b'',
            b'gate',
            None,
            _(b'make it a gate, which is asked before each push'),
        ),
        *hgcommands.formatteropts,
    ],
    _(
        b'[--command COMMAND] [--gate] [--accept-host-key FINGERPRINT]\n'
        b'       TARGET URL'
    ),
    helpcategory=command.CATEGORY_REMOTE_REPO_MANAGEMENT,
)
def delegate_setup(ui, repo, target, url, **opts):
    '''make what a new target needs, and print what to paste

    Run this as the account that serves the repository. It makes a key pair
    for this repository and TARGET alone, below ``~/.config/hg-delegate``
    (or ``$XDG_CONFIG_HOME``), and gets to know the key of the host that URL
    names. It logs in nowhere, but to a jump host, and writes no other file.

    A host key that is in known_hosts, or is this very machine's own, needs no
    question. Any other is shown, and recorded after a yes. Without a
    terminal, --accept-host-key takes the one that has FINGERPRINT, which is
    what ``ssh-keygen -lf`` prints.

    With --gate, TARGET is a gate: see :hg:`help delegate.config`. Its forced
    command runs ``~/check`` of the deploy account, not a file that is pushed.

    What is printed are the one line for the deploy account's
    ``authorized_keys``, which lets this key run one command from here, and
    the lines for an hgrc. Run again this changes nothing, and prints the
    same. With -q/--quiet, there are no comments between them.

    With -T/--template, ``authorized_keys`` is that line and ``hgrc`` the
    other lines; there are ``target``, ``url``, ``identity``, ``publickey``,
    ``hostkey`` and ``fingerprint`` as well.

    Returns 0 on success.
    '''
    try:
        with imports.complete():
            from .commands.setup import command
    except ImportError as exc:
        with imports.complete():
            from .report import wording
        line, remedy = wording.of_import(exc)
        raise error.Abort(line, hint=remedy) from None
    return command.run(ui, repo, target, url, opts)


@command(
    b'delegate-check',
    hgcommands.formatteropts,
    _(b'[TARGET]...'),
    helpcategory=command.CATEGORY_REMOTE_REPO_MANAGEMENT,
)
def delegate_check(ui, repo, *targets, **opts):
    '''say whether a push would be delegated, and prove the boundary

    Without TARGET, all targets are looked at. One line is printed for each
    fact: ``ok``, ``warning`` or ``error``, the target, and what was found,
    with what to do about it in parentheses. With -q/--quiet, only warnings
    and errors are.

    It logs in to each target, and asks for what the key must not have: a
    pty, an agent, port forwardings, X11. No script is run there, and nothing
    is changed on either side. A receiver is asked whether it could pull.

    .. container:: verbose

      The following keywords are supported in templates:

      :target: String. The target, empty for what concerns all of them.
      :topic: String. ``config``, ``hg``, ``key``, ``server``, ``boundary``,
          ``receiver``, ``account``, ``journal`` or ``http``.
      :level: String. ``ok``, ``warning`` or ``error``.
      :message: String. What was found.
      :remedy: String. What to do about it, or empty.

    Returns 0 unless there is an error.
    '''
    with imports.complete():
        from .commands.check import command
    return command.run(ui, repo, targets, opts)
