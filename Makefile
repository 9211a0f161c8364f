# make demo    install into .venv, then see syncron work against an SSH server of its own
# make test    install what the tests need, then run them
# make clients Ansible on syncron by the name of rsync (installs half a gigabyte)
# make check   format, lint, types, import contracts, the helper's Python 3.9, man pages
# make format  put the source into its format
# make fuzz    coverage-guided noise for all that reads what others wrote (SECONDS=60 for each)
# make bench   the benchmark tables (ROWS="tiny first-100k-push" for some of them)
# make clean   remove what the others made

PYTHON ?= python3
ROWS ?=
SECONDS ?= 60
venv = .venv
bin = $(venv)/bin

# COMMAND=PACKAGE: what is installed where the command is missing.
ssh_packages = sshd=openssh-server ssh=openssh-client rsync=rsync
test_packages = $(ssh_packages) strace=strace git=git mandoc=mandoc ip=iproute2 tcsh=tcsh \
    fish=fish systemd-analyze=systemd cron=cron zsh=zsh \
    rsnapshot=rsnapshot unison=unison
check_packages = mandoc=mandoc

.DEFAULT_GOAL := help
.PHONY: help demo test clients check format fuzz bench clean install-check

help:
	@sed -n '/^#/!q; s/^# //p' Makefile

demo: $(venv)/.installed
	$(bin)/syncron --demo

test: $(venv)/.installed-test
	@.ci/packages $(test_packages)
	$(bin)/pytest -q -n 3

clients: $(venv)/.installed-test
	@.ci/packages $(test_packages)
	$(PYTHON) -m venv build/clients
	build/clients/bin/pip install --quiet ansible
	SYNCRON_CLIENTS="$(CURDIR)/build/clients/bin" $(bin)/pytest -q tests/e2e/test_ansible.py

check: $(venv)/.installed-dev
	@.ci/packages $(check_packages)
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy
	$(bin)/lint-imports --no-logo
	files=$$($(bin)/python .ci/closure) && $(bin)/vermin -q --no-tips --violations -t=3.9- $$files
	mandoc -Tlint -W warning man/*.[1-9]

format: $(venv)/.installed-dev
	$(bin)/ruff format .
	$(bin)/ruff check --fix .

fuzz: $(venv)/.installed-test
	$(bin)/pip install --quiet atheris
	$(bin)/python -m tests.fuzz $(SECONDS)

bench: $(venv)/.installed-test
	@.ci/packages $(ssh_packages)
	$(bin)/python -m benchmarks $(ROWS)

# As a user installs it: a wheel, not the checkout.
install-check:
	rm -rf build
	$(PYTHON) -m venv build/user
	build/user/bin/pip install --quiet .
	cd / && "$(CURDIR)/build/user/bin/syncron" --version
	test -e build/user/share/man/man1/syncron.1
	test -e build/user/share/man/man5/syncron.5
	test -e build/user/share/bash-completion/completions/syncron
	test -e build/user/share/zsh/site-functions/_syncron
	test -e build/user/share/fish/vendor_completions.d/syncron.fish
	rm -rf build

clean:
	rm -rf $(venv) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	    .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# Installed so that the source is used in place: edit and run. A stamp a set of extras, so that
# a repeated call does nothing.
$(bin)/python:
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/packages ensurepip=python3-venv
	$(PYTHON) -m venv $(venv)

$(venv)/.installed: $(bin)/python setup.cfg pyproject.toml
	$(bin)/pip install --quiet -e .
	@touch $@

$(venv)/.installed-test: $(bin)/python setup.cfg pyproject.toml
	$(bin)/pip install --quiet -e '.[test]'
	@touch $@ $(venv)/.installed

$(venv)/.installed-dev: $(bin)/python setup.cfg pyproject.toml
	$(bin)/pip install --quiet -e '.[test,dev]'
	@touch $@ $(venv)/.installed $(venv)/.installed-test
