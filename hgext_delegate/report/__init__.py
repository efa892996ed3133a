# SPDX-License-Identifier: GPL-2.0-or-later
'''what people read

wording    a delegation in words
progress   the same, while it waits or runs
refusals   why the push channel does not do what it was asked for
printer    whole lines to a pusher, until they are gone
follower   a delegation, told while it runs
mail       the mail about a delegation that goes wrong
config_errors  what is wrong with the configuration, each told once
'''
