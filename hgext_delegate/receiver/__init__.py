# receiver - hg delegate-receive
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''hg delegate-receive: the receiver, a forced command for the deploy account

command          the options on its command line
server           one session with the server account
supervisor       a process of its own, which runs one delegation
run_store        what is known of each delegation, in files
clone            the clone that it brings to a changeset
process          the program that it runs there
request          what that program is told
runlog           what it prints
follow           the same, told to whoever asked
detach           how a process outlives the one that starts it
authorized_keys  the file into which --install writes
'''
