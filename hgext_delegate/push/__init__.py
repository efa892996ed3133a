# SPDX-License-Identifier: GPL-2.0-or-later
'''what one push brought

push       as values that outlive the repository object
selection  which of its changesets are for a target
bundle     the changesets of one that is not accepted yet
origin     from which account of this host it comes
outbox     the file in which it waits
'''
