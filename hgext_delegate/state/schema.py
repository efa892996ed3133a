# SPDX-License-Identifier: GPL-2.0-or-later
'''the tables of the journal, version by version'''

from __future__ import annotations

import re
from typing import Any

# The statements that lead from each version to the next.
MIGRATIONS = (
    '''
    CREATE TABLE delegation (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        target TEXT NOT NULL,
        txn TEXT,
        sequence INTEGER,
        state TEXT NOT NULL,
        node TEXT NOT NULL,
        previous TEXT,
        pusher TEXT,
        taken INTEGER,
        attempt INTEGER NOT NULL DEFAULT 0,
        turn INTEGER,
        created REAL NOT NULL,
        began REAL,
        asked REAL,
        ended REAL,
        seconds REAL,
        status INTEGER,
        signal TEXT,
        reason TEXT NOT NULL DEFAULT '',
        remedy TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        stopper TEXT,
        UNIQUE (txn, target)
    );
    CREATE INDEX delegation_state ON delegation (target, state);
    CREATE INDEX delegation_turn ON delegation (target, turn);
    CREATE INDEX delegation_taken ON delegation (taken);
    CREATE TABLE unmatched (
        txn TEXT NOT NULL,
        target TEXT NOT NULL,
        PRIMARY KEY (txn, target)
    )
    ''',
    '''
    ALTER TABLE delegation RENAME COLUMN taken TO merged_into;
    ALTER TABLE delegation RENAME COLUMN asked TO exec_sent_at;
    ALTER TABLE delegation RENAME COLUMN stopper TO cancelled_by
    ''',
    '''
    CREATE TABLE notice (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        number INTEGER NOT NULL,
        state TEXT NOT NULL,
        told INTEGER NOT NULL DEFAULT 0,
        UNIQUE (number, state)
    )
    ''',
    # more states: passed, refused
    'SELECT 1',
)
VERSION = len(MIGRATIONS)
# In the file's header, at offset 68: a line 'hg' between two newlines, so that
# Mercurial can read no journal as an hgrc, whatever stands in its records.
ID = int.from_bytes(b'\nhg\n', 'big')


def read(db: Any) -> set[tuple[str, ...]]:
    '''what is in the file, without regard to spelling'''
    rows = db.execute('SELECT type, name, tbl_name, sql FROM sqlite_master')
    return {
        (*map(str, names), re.sub(r'[\s"]', '', str(sql)))
        for *names, sql in rows
    }
