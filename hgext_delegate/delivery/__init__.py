# SPDX-License-Identifier: GPL-2.0-or-later
'''a push on its way to its targets

dispatcher     what one repository has to delegate
launcher       who delegates it: threads here, or a process of its own
detached       that process, which may be started before it is known what for
worker         one target: waits for its turn, runs a session, records the end
by_hand        which changeset is delegated when a person asks
evaluation     the revset of a target, within a limit of time
queue          what waits for a target, and which of it runs now
obstacles      what keeps waiting what could begin
attempt        one session, and what came of it
gate           one session with a gate, which is asked about a push
output         what a session prints, into its log
abandoned      delegations whose process is gone
ending         what runs or waits is cancelled, on both sides
names          the deployed names, written at each success
told           hooks and mail about an end, in a process of its own
lane           what runs one after the other for that, each within a limit
history        what a worker may ask of the repository's history
connection     the login, which may begin early
remote_requests  asking our receiver: end it, or what became of it
'''
