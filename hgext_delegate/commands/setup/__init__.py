# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate-setup: what a new target needs

command     the command, and what it prints
hostkeys    getting to know a host by its key
keypair     the key for one repository and one target
private     the folder of all this, and safe writing in it
snippets    the lines to paste
'''
