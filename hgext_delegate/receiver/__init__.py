# SPDX-License-Identifier: GPL-2.0-or-later
'''hg delegate-receive: the receiver, a forced command for the deploy account

command          the options on its command line
server           one session with the server account
gate             one session with a server whose push waits for a verdict
child            what hg does, in a process that can be ended
supervisor       a process of its own, which runs one delegation
run              the record of what was run
clone            the clone that it brings to a changeset
clone_folder     its folder: who may write there, what of it hg may read
readiness        whether the next deploy could begin, for delegate-check
failure          why that failed, in our words
hg_command       a command of Mercurial's in this process
environment      what the script is told
mask             which of that is never shown
script           the start of the script
box              what a script finds in its box
boxed            a process in it
box_failure      why there is none
box_init         the box's process 1
landlock         keeps it from abstract sockets
seccomp          keeps it from the bits setuid and setgid
process          a process, and the end of all that it starts
authorized_keys  the file into which --install writes
'''
