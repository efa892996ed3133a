# setup.py - install hg-delegate
#
# Copyright 2026 the hg-delegate developers
#
# This software may be used and distributed according to the terms of the
# GNU General Public License version 2 or any later version.

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def version():
    # The package itself imports Mercurial, which need not be there to build.
    source = (HERE / 'hgext_delegate' / '__init__.py').read_text('utf-8')
    return re.search("^__version__ = b'(.+)'$", source, re.M)[1]


def long_description():
    readme = HERE / 'README.rst'
    return readme.read_text('utf-8') if readme.exists() else ''


setup(
    name='hg-delegate',
    version=version(),
    description='Mercurial extension: a push makes another account deploy',
    long_description=long_description(),
    long_description_content_type='text/x-rst',
    author='The hg-delegate developers',
    license='GPL-2.0-or-later',
    license_files=['COPYING'],
    keywords='hg mercurial hook deploy ssh',
    classifiers=[
        'Environment :: Console',
        'Intended Audience :: Developers',
        'Intended Audience :: System Administrators',
        'Operating System :: POSIX',
        'Programming Language :: Python :: 3',
        'Topic :: Software Development :: Version Control :: Mercurial',
        'Topic :: System :: Systems Administration',
    ],
    packages=find_packages(include=['hgext_delegate*']),
    package_data={
        'hgext_delegate': [
            'help/*.txt',
            'locale/*/LC_MESSAGES/*.mo',
            'templates/*.css',
        ]
    },
    # 'make man' makes it
    data_files=[('share/man/man1', ['man/hg-delegate.1'])],
    python_requires='>=3.9',
    # Mercurial is left out on purpose: it may be Debian's, which pip does
    # not see, and installing a second one beside it would break hg.
    install_requires=['paramiko>=2.12'],
)
