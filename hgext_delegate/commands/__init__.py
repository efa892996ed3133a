# SPDX-License-Identifier: GPL-2.0-or-later
'''what a person types: one file for each command

delegate   delegate now, another revision, or what is pending
dry_run    what that would send
log        what was delegated and what became of it
hold       let what is pushed wait
statistics  how long delegations take, for delegate-log --stat
cancel     end what waits or runs
remote     the same on the server of a clone, by its push channel
opened     what each of them begins with
check/     whether a push would be delegated, and the proof of the boundary
setup/     what a new target needs

``hg delegate-receive`` stands in ``receiver``.
'''
