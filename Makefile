# Each target does all of its own set-up.
PREFIX ?= /usr/local
# Relative relocations packed (DT_RELR): 3 to 4 MB less are read and kept at every start. glibc's loader knows them from 2.36 on;
# lld, which writes them, is part of the Swift toolchain.
PACKED := $(shell getconf GNU_LIBC_VERSION | awk '{ split($$2, v, "."); exit !(v[1] * 100 + v[2] >= 236) }' && \
    echo -Xswiftc -Xclang-linker -Xswiftc -fuse-ld=lld -Xlinker -z -Xlinker pack-relative-relocs)
RELEASE := swift build -c release --static-swift-stdlib $(PACKED) --product
# Tests that start servers or many programs have processes of their own: others' runs, whose orphans the process adopts and
# ends, are kept apart from those.
TEST := SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=4 swift test --skip-build
RELEASE_BIN = .build/release/agent
STATE := $(CURDIR)/.agent

.PHONY: run test test-faults bench lint format build release install uninstall clean packages packages-test

## Builds in release, deploys this repository's own commit, and prints the record, with the tasks of deploy.yaml.
run: release
	@AGENT_STATE_DIR=$(STATE) AGENT_LEDGER_URL=sqlite:$(STATE)/ledger.sqlite \
	    $(RELEASE_BIN) run-once --force --workspace $(CURDIR)
	@echo
	@AGENT_STATE_DIR=$(STATE) AGENT_LEDGER_URL=sqlite:$(STATE)/ledger.sqlite \
	    $(RELEASE_BIN) show "$$(git -C $(CURDIR) rev-parse HEAD)" --workspace $(CURDIR)
	@echo
	@AGENT_STATE_DIR=$(STATE) AGENT_LEDGER_URL=sqlite:$(STATE)/ledger.sqlite \
	    $(RELEASE_BIN) history --limit 5 --workspace $(CURDIR)
	@echo
	@AGENT_STATE_DIR=$(STATE) AGENT_LEDGER_URL=sqlite:$(STATE)/ledger.sqlite \
	    $(RELEASE_BIN) tasks --workspace $(CURDIR)

## Everything that can be tested on one machine.
test: packages-test
	@.ci/environment
	swift build --build-tests
	$(TEST) --skip '^(AgentTests|LedgerTests|PostgresTests|RemoteTests)\.'
	$(TEST) --filter '^(LedgerTests|PostgresTests|RemoteTests)\.'
	$(TEST) --filter '^AgentTests\.'

## A fleet in trouble: every scenario with SEEDS random seeds from FIRST_SEED on. Takes hours; `make test` has a minute of it.
SEEDS ?= 50
FIRST_SEED ?= 1
test-faults: packages-test
	swift build --product agent
	python3 -m unittest discover -s Tests/Faults
	python3 Tests/Faults/main.py .build/debug/agent --seeds $(SEEDS) --first-seed $(FIRST_SEED)

## Figures in release, each beside the floor measured in the same run.
bench: packages-test release
	$(RELEASE) agent-bench
	python3 Benchmarks/bench.py $(RELEASE_BIN) .build/release/agent-bench

lint: packages-test
	swift format lint --strict --recursive Sources Tests Benchmarks Package.swift
	shellcheck .ci/run .ci/packages .ci/environment $$(git ls-files '*.sh')

format:
	swift format --in-place --recursive Sources Tests Benchmarks Package.swift

build: packages
	swift build --product agent

release: packages
	$(RELEASE) agent

## Installs the stripped binary, shell completions and the manual page below PREFIX.
install: release
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
	    $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 755 -s $(RELEASE_BIN) $(DESTDIR)$(PREFIX)/bin/agent
	install -m 644 docs/agent.1 $(DESTDIR)$(PREFIX)/share/man/man1/agent.1
	$(RELEASE_BIN) --generate-completion-script bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/agent
	$(RELEASE_BIN) --generate-completion-script zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_agent
	$(RELEASE_BIN) --generate-completion-script fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/agent.fish

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/agent $(DESTDIR)$(PREFIX)/share/man/man1/agent.1 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/agent \
	    $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_agent \
	    $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/agent.fish

packages:
	@.ci/packages

packages-test:
	@.ci/packages --test

clean:
	rm -rf .build .agent .venv
