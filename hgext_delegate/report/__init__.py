# report - what people read
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what people read

wording    a delegation in words
printer    whole lines to a pusher, until they are gone
follower   a delegation, told while it runs
'''
