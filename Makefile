# make test    lint, the demo and every test; all that touches what Mercurial and
#              paramiko offer with both supported releases of them
# make help    the other targets
#
# Runs anywhere with python3, whatever the environment of the caller. As root
# the tests make real accounts for the run; see tests/lib/world.py.

.NOTPARALLEL:
.DEFAULT_GOAL := help

# As root other accounts must be able to run the interpreter, and the checkout
# may lie where they cannot look.
ifeq ($(shell id -u),0)
ENVIRONMENTS := /var/cache/hg-delegate-test
else
ENVIRONMENTS := $(CURDIR)/.venv
endif

# The oldest and the newest that the suite runs on. The oldest are Debian 12's
# own packages; pip builds the same releases where Debian's are not there.
OLDEST := mercurial==6.3.3 paramiko==2.12.0 cryptography==38.0.4 \
	hg-evolve==11.1.10 hg-git==1.0.5
ANSIBLE := ansible-core==2.18.19
NEWEST := mercurial==7.2.4 paramiko==5.1.0 hg-evolve==12.0.0

# Nothing of the caller's: PYTHONUNBUFFERED alone would make output seem live
# that is not, and HGPLAIN or LANG change what hg prints.
CLEAN := env -i HOME="$(HOME)" TERM="$(TERM)" LANG=C.UTF-8 \
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
DEBIAN := $(CLEAN) "$(ENVIRONMENTS)/debian/bin/python" -m
PYPI := $(CLEAN) "$(ENVIRONMENTS)/pypi/bin/python" -m
# More than there are cores: much of a test is waiting. Whoever has nothing left
# to do takes over from the others.
WORKERS := -n 4 --dist worksteal
PYTEST_ARGS :=
BENCH_ARGS :=
FAULTS := all
MATRIX_ARGS :=

.PHONY: help test test-all test-debian test-pypi test-crash test-faults lint
.PHONY: engines test-engines
.PHONY: format pictures
.PHONY: demo bench clean debian pypi pot test-matrix

help:
	@echo 'make test         lint, the demo, each test; with both Mercurials but'
	@echo '                  for those that are marked once'
	@echo 'make test-all     lint, then the whole suite with both Mercurials'
	@echo 'make test-debian  the suite with Mercurial 6.3 and paramiko 2.12'
	@echo 'make test-pypi    the suite with the newest of both'
	@echo '                  (PYTEST_ARGS="-k relay -x" goes to pytest)'
	@echo 'make test-engines receivers with Slurm, Ansible and podman (as root)'
	@echo 'make test-crash   kill the server at a thousand moments'
	@echo 'make test-faults  break the connection at each byte (or FAULTS=2000)'
	@echo 'make test-matrix  part of it with every Mercurial and paramiko'
	@echo '                  (MATRIX_ARGS=tests for all of it)'
	@echo 'make bench        what a push costs (BENCH_ARGS="--growth")'
	@echo 'make lint         ruff and mypy'
	@echo 'make format       ruff format'
	@echo 'make pot          what translators begin with, in i18n'
	@echo 'make man          the man page that is installed, in man'
	@echo 'make pictures  those of the web page in the manual'
	@echo 'make docs         the manual and the man page, in docs/_build'
	@echo 'make demo         see it work'
	@echo 'make clean        remove what these made'

test: lint debian pypi demo
	$(DEBIAN) pytest $(WORKERS) -m 'not once' $(PYTEST_ARGS)
	$(PYPI) pytest $(WORKERS) $(PYTEST_ARGS)

test-all: lint demo test-debian test-pypi

test-debian: debian
	$(DEBIAN) pytest $(WORKERS) $(PYTEST_ARGS)

test-pypi: pypi
	$(PYPI) pytest $(WORKERS) $(PYTEST_ARGS)

test-engines: engines
	$(CLEAN) HGD_ENGINES=1 "$(ENVIRONMENTS)/engines/bin/python" \
		-m pytest tests/server/test_engines_real.py $(PYTEST_ARGS)

test-crash: pypi
	$(CLEAN) HGD_CRASHES=1000 "$(ENVIRONMENTS)/pypi/bin/python" \
		-m pytest -n 2 tests/server/test_crash.py tests/server/test_gate_crash.py

test-faults: pypi
	$(CLEAN) HGD_FAULTS=$(FAULTS) "$(ENVIRONMENTS)/pypi/bin/python" \
		-m pytest -s tests/server/test_faults.py tests/server/test_gate_faults.py

test-matrix:
	@python3 -E -s tests/lib/matrix.py "$(ENVIRONMENTS)" $(MATRIX_ARGS)

bench: pypi
	$(CLEAN) "$(ENVIRONMENTS)/pypi/bin/python" contrib/bench.py $(BENCH_ARGS)

lint: pypi
	$(PYPI) ruff check .
	$(PYPI) ruff format --check .
	$(PYPI) mypy

format: pypi
	$(PYPI) ruff check --fix .
	$(PYPI) ruff format .

debian:
	@python3 -I tests/lib/environment.py "$(ENVIRONMENTS)/debian" --debian $(OLDEST)

pypi:
	@python3 -I tests/lib/environment.py "$(ENVIRONMENTS)/pypi" $(NEWEST)

engines:
	@python3 -I tests/lib/environment.py "$(ENVIRONMENTS)/engines" --engines \
		$(NEWEST) $(ANSIBLE)

pot: pypi
	$(CLEAN) "$(ENVIRONMENTS)/pypi/bin/python" tests/lib/messages.py \
		i18n/hgext_delegate.pot hgext_delegate

pictures: pypi
	$(CLEAN) HGD_PICTURES=1 "$(ENVIRONMENTS)/pypi/bin/python" \
		-m pytest -k pictures tests/server/test_web_browser.py

demo:
	@contrib/demo

clean:
	rm -rf "$(ENVIRONMENTS)" build dist hg_delegate.egg-info docs/_build
	rm -rf debian .pybuild .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Built as soon as there is a manual.
ifneq ($(wildcard docs/conf.py),)
.PHONY: docs man
test test-all: docs
docs: pypi
	$(PYPI) sphinx -q -W -E -b html docs docs/_build/html
	$(PYPI) sphinx -q -W -E -b man docs docs/_build/man
man: docs
	cp docs/_build/man/hg-delegate.1 man/
endif
