# SPDX-License-Identifier: GPL-2.0-or-later
'''what is wrong with the configuration of a repository, told once each'''

from __future__ import annotations

import os

from mercurial import pycompat
from mercurial.i18n import _

from ..config import revsets, targets as targetsmod
from . import printer as printermod, wording


class Reporter:
    '''tells ``printer`` of errors; ``found`` says whether there were any'''

    def __init__(self, printer: printermod.Printer, repo):
        self.found = False
        self._printer = printer
        self._repo = repo
        self._told: set[targetsmod.ConfigError] = set()

    def report(self, error: targetsmod.ConfigError) -> None:
        self.found = True
        if error not in self._told:
            self._told.add(error)
            file = self._shown(error.source)
            line = wording.config_error(error.item, file, error.problem)
            remedy = error.remedy
            for folder in (
                self._repo.root,
                os.path.dirname(self._repo.sharedpath),
            ):
                remedy = remedy.replace(folder + b'/', b'')
            self._printer.warn(line, wording.safe(remedy))

    def report_revset(self, name: str, exc: Exception) -> None:
        '''report that :when of the target ``name`` cannot be evaluated'''
        ui, section = self._repo.ui, targetsmod.SECTION
        item = pycompat.sysbytes(name) + b':when'
        source = ui.configsource(section, item)
        if source in (b'none', b'default'):
            item = b'*:when'
            source = ui.configsource(section, item)
        problem, remedy = wording.revset_problem(exc)
        if revsets.reads_files(ui, ui.config(section, item) or b''):
            # Mercurial's words may quote the file
            problem = _(b'a file that its patterns read cannot be used')
        self.report(targetsmod.ConfigError(item, source, problem, remedy))

    def _shown(self, source: bytes) -> bytes:
        '''the file ``source`` without its folder, which no pusher may know'''
        for folder in (self._repo.root, self._repo.sharedpath):
            if source.startswith(folder + b'/'):
                return source[len(folder) + 1 :]
        return os.path.basename(source)
