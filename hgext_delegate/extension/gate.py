# SPDX-License-Identifier: GPL-2.0-or-later
'''ask the gates of a push, inside its transaction, whether it may pass

A push passes only where each gate that it is for has said yes, all of what
that said was heard, and in time. Whatever else happens refuses it.
'''

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mercurial import error
from mercurial.i18n import _

from .. import imports
from ..config import gates as gatesmod, parsers, policy, targets as targetsmod
from ..delivery import evaluation
from ..push import bundle as bundlemod, outbox, selection
from ..report import config_errors, printer as printermod, wording
from ..state import files, journal as journalmod, pruning, target_lock, verdicts
from . import gate_desk, push_hooks

if TYPE_CHECKING:
    # it imports paramiko, which only a gate that is asked needs
    from ..delivery import gate as askingmod


def refuses(ui, repo, hookargs: dict[str, Any]) -> bool:
    '''ask the gates about the push; whether it is refused, which is said'''
    printer = printermod.Printer(ui)
    try:
        return _Round(ui, repo, hookargs, printer).refuses()
    except (
        files.FolderError,
        journalmod.JournalError,
        target_lock.LockError,
    ) as exc:
        printer.warn(*wording.no_gate(*wording.of_error(exc)))
    except ImportError as exc:
        printer.warn(*wording.no_gate(*wording.of_import(exc)))
    except OSError as exc:
        line = wording.text(exc.strerror or type(exc).__name__)
        printer.warn(*wording.no_gate(line))
    except error.Abort:
        raise
    except Exception as exc:  # noqa: BLE001
        # Mercurial would send the traceback to the pusher.
        with contextlib.suppress(OSError):
            text = traceback.format_exc().encode('utf-8', 'replace')
            files.make(repo).traceback.write(files.FIRST_LINE + text)
        name = wording.text(type(exc).__name__)
        printer.warn(
            *wording.no_gate(
                _(b'internal error: %s') % name,
                _(b'please report it, with .hg/delegate/traceback'),
            )
        )
    return True


class _Round:
    '''one push, and the gates that it is for'''

    def __init__(self, ui, repo, hookargs, printer: printermod.Printer):
        self._ui = ui
        self._repo = repo
        self._hookargs = hookargs
        self._printer = printer
        self._roads = outbox.roads(repo)
        self._errors = config_errors.Reporter(printer, repo)
        changes = repo.currenttransaction().changes
        self._first = changes[b'origrepolen']
        self._last = len(repo.unfiltered().changelog) - 1
        self._changes = changes

    def refuses(self) -> bool:
        gates, broken = gatesmod.read(self._repo, self._roads)
        with_tags = any('tag' in target.trigger for target in gates)
        with_tags = with_tags and self._first <= self._last
        moved = selection.moves(self._repo, self._changes, with_tags)
        moves = [*moved, *['changegroup'] * (self._first <= self._last)]
        if not moves or not (gates or broken):
            return False
        for each in broken:
            self._errors.report(each.error)
            if self._is_stopped(each.name, each.is_optional):
                return True
        hookargs = self._hookargs
        span = (self._first, self._last)
        push = push_hooks.describe(self._ui, self._repo, *span, hookargs)
        pushed = dataclasses.asdict(push)
        asked = []
        for target in gates:
            if not {*moves} & {*target.trigger}:
                continue
            node = self._node(target, pushed, moved)
            if node:
                asked.append((target, node))
            elif node == '' and self._is_stopped(
                target.name, target.gate == 'optional'
            ):
                return True
        return bool(asked) and not self._ask(asked, pushed)

    def _is_stopped(self, name: str, is_optional: bool) -> bool:
        '''say that a gate cannot be asked as it is configured; whether that
        refuses the push'''
        line, hint = wording.unasked(name, is_optional)
        self._printer.warn(wording.of(name, line), hint)
        return not is_optional

    def _node(
        self, target: targetsmod.Target, pushed: dict[str, Any], moved
    ) -> str | None:
        '''which changeset ``target`` is asked about; None if it is not
        concerned, '' if its revset is wrong, which is said'''
        newest = None
        if 'changegroup' in target.trigger and target.when is None:
            newest = pushed['node_last']
        if newest is None:
            repo, trigger = self._repo.unfiltered(), target.trigger
            revs = selection.brought(repo, pushed, moved, trigger)
            try:
                newest = evaluation.Evaluator().newest(repo, target, revs or [])
            except selection.REVSET_ERRORS as exc:
                self._errors.report_revset(target.name, exc)
                return ''
        if newest and 'changegroup' in target.trigger:
            return pushed['node_last'] or newest
        return newest

    def _ask(
        self,
        asked: Sequence[tuple[targetsmod.Target, str]],
        pushed: dict[str, Any],
    ) -> bool:
        '''whether all of them let it pass'''
        paths = files.make(self._repo)
        with contextlib.closing(journalmod.open(paths.journal)) as journal:
            desk = gate_desk.Desk(self._printer, paths, journal)
            bundle: Any = None
            limit = max(target.gate_limit for target, _node in asked)
            span = (self._first, self._last)
            with contextlib.suppress(bundlemod.TooLargeError):
                bundle = bundlemod.make(self._repo, *span, limit, paths.folder)
            rows = []
            for target, node in asked:
                id = secrets.token_hex(16)
                row = verdicts.new(id, target.name, node, pushed['pusher'])
                if bundle is None or len(bundle) > target.gate_limit:
                    desk.too_large(target, row)
                    return False
                rows.append((target, row))
            begun = verdicts.begun(journal, paths, [row for _t, row in rows])
            with begun as kept:
                targets = [target for target, _row in rows]
                rows = list(zip(targets, kept))
                askings = self._askings(desk, rows, pushed, bundle)
                over_ssh = pushed['url'].startswith('remote:ssh')
                good = desk.follow(askings, over_ssh)
            self._prune(desk, [target.name for target, _node in asked])
            return good

    def _askings(
        self, desk: gate_desk.Desk, rows, pushed, bundle
    ) -> list[askingmod.Asking]:
        with imports.complete():
            from ..delivery import gate as askingmod
        early = getattr(
            self._repo.unfiltered(), '_delegate_early_connections', {}
        )
        return [
            askingmod.Asking(
                target,
                row,
                desk.paths,
                pushed,
                bundle,
                desk.news,
                early.pop(target.name, None),
            )
            for target, row in rows
        ]

    def _prune(self, desk: gate_desk.Desk, names: Sequence[str]) -> None:
        keep = policy.setting(self._repo, b'keep', self._roads)
        box = outbox.read(self._repo)
        with contextlib.suppress(journalmod.JournalError):
            count = parsers.keep(keep)
            pruning.prune(desk.journal, desk.paths, names, count, box)
