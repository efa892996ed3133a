# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate-check: whether a push would be delegated, and the boundary

command    the list of facts, and how they are shown
finding    one of them
config     what the configuration says
serving    the hg that a push meets: is it this one, or has it us as well
records    outbox and journal
server     what logging in shows
receiver   what the receiver answers, and whether it could pull
account    what the deploy account could do to the server account
rights     what another account may do with a file, what ours lacks
'''
