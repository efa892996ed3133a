# push - what one push brought
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what one push brought

push       as values that outlive the repository object
selection  which of its changesets are for a target
outbox     the file in which it waits
'''
