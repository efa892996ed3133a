# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate-receive: the receiver, a forced command for the deploy account

command          the options on its command line
server           one session with the server account
supervisor       a process of its own, which runs one delegation
run              what is kept of each delegation
clone            the clone that it brings to a changeset
request          what the script is told
process          a process, and the end of all that it starts
authorized_keys  the file into which --install writes
'''
