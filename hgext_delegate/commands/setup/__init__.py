# setup - hg delegate-setup
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''hg delegate-setup: what a new target needs

command     the command, and what it prints
hostkeys    getting to know a host by its key
addresses   from where a host sees us
keypair     the key for one repository and one target
private     the folder of all this, and safe writing in it
snippets    the lines to paste
'''
