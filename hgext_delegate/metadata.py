# metadata.py - what the extension says of itself
#
# Copyright 2026 the hg-delegate developers
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.
#
# setup.py executes this file without importing the package, so it must
# import nothing.

__version__ = b'0.1.0'

# Mercurial compares the first two numbers; both are run by 'make test'.
testedwith = b'6.3 7.2'
minimumhgversion = b'6.3'
buglink = b'the address under "Reporting a bug" in README.rst of hg-delegate'
