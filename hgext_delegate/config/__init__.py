# config - what the configuration says
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
'''what the configuration says

targets   the targets, and what is wrong with one
parsers   how a value is read
policy    what a repository's own hgrc may say
'''
