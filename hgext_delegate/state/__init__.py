# SPDX-License-Identifier: GPL-2.0-or-later
'''what is on disk

files        where it lies
journal      what was delegated and what became of it
holds        who holds a target, since when and why
waiting      why a delegation waits that nobody begins now
notices      which ends nobody has been told of yet
verdicts     what gates have said, beside them
unsaved      ends of delegations that are not written into it yet
statistics   how long delegations take, and how many fail
pruning      the removal of its oldest records
delegation   one record of it, and its states
sqlite_file  the file of the journal
schema       its tables
deployed       what each target has: the small file that hg log reads
output_log   what a delegation printed
target_lock  the turn of a target, one process at a time
'''
