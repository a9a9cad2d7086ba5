# Commands for developers of netusage. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BINARY := .build/release/netusage
# Package.swift puts the commit into the binary, so its result must not be cached from one build to the next.
RELEASE := -c release --manifest-cache none --disable-build-manifest-caching --static-swift-stdlib -Xlinker --no-export-dynamic
PYTHON := .build/python/bin/python

BUILD_PACKAGES := libbpf-dev libc6-dev libcrypt-dev libisal-dev libsqlite3-dev libyaml-dev tzdata
DEB_PACKAGES := build-essential debhelper python3
TEST_PACKAGES := $(DEB_PACKAGES) chromium curl debootstrap iperf3 iproute2 lintian man-db mandoc openssl procps prometheus \
	prometheus-alertmanager python3-venv shellcheck sqlite3 strace systemd systemd-container util-linux vnstat
NIGHTLY_PACKAGES := cpio qemu-system-x86
BENCH_PACKAGES := prometheus-node-exporter vnstat wrk

# Installs the Debian packages named in $(1) that are missing.
install = missing=$$(for package in $(1); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'install ok installed' || echo $$package; done); \
	if [ -n "$$missing" ]; then \
		echo "installing" $$missing; \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		$$sudo apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

.PHONY: help
help: ## List these commands.
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: packages
packages:
	@$(call install,$(BUILD_PACKAGES))

.PHONY: build
build: packages ## Build the release binary.
	swift build $(RELEASE) --product netusage

.PHONY: run
run: build ## Build and start the exporter on the loopback address.
	@echo "Starting: see http://127.0.0.1:10073/metrics, and http://127.0.0.1:10073/ for people. Ctrl-C ends it."
	$(BINARY) serve

.PHONY: demo
demo: build ## Run netusage, Prometheus and Alertmanager on the loopback address, and show a breach alert arrive.
	@$(call install,prometheus prometheus-alertmanager python3)
	@python3 deploy/demo.py $(BINARY)

.PHONY: test
test: build test-units test-program ## Run all tests.

.PHONY: quick
quick: packages ## Run the quick tests, with fewer random cases and without root: less than a minute after a build.
	NETUSAGE_TEST_QUICK=1 swift test --skip '^LedgerStoreTests\.' --skip KernelNetworkTests --skip ZoneDatabaseTests

# All tests check for memory errors. Tests of code with threads run again, to check for data races: fewer random cases will do for that.
# XCTest itself leaks a few bytes, so leaks are not checked.
.PHONY: test-units
test-units: packages
	@$(call install,$(TEST_PACKAGES))
	ASAN_OPTIONS=detect_leaks=0 swift test --sanitize=address --scratch-path .build-address
	NETUSAGE_TEST_QUICK=1 swift test --sanitize=thread --scratch-path .build-thread --filter '^(Exporter|Machine|Netlink|Web)Tests'

# Applications are counted on the whole machine, so what other tests send at the same time would count, too.
.PHONY: test-program
test-program: build python
	@$(call install,$(TEST_PACKAGES))
	$$([ "$$(id -u)" = 0 ] || echo sudo) $(PYTHON) -m pytest --numprocesses=2 --ignore-glob='*application*' Tests/Program
	$$([ "$$(id -u)" = 0 ] || echo sudo) $(PYTHON) -m pytest Tests/Program/*application*.py

.PHONY: nightly
nightly: build python ## Run the tests that take too long for each change: fifty programs of Debian, and other kernels.
	@$(call install,$(NIGHTLY_PACKAGES))
	$$([ "$$(id -u)" = 0 ] || echo sudo) $(PYTHON) -m pytest Tests/Program/nightly_*.py

.PHONY: python
python:
	@$(call install,$(TEST_PACKAGES))
	@[ -x $(PYTHON) ] || python3 -m venv .build/python
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement Tests/Program/requirements.txt

.PHONY: deb
deb: build ## Build the Debian package.
	@$(call install,$(DEB_PACKAGES))
	@rm -rf .build/deb
	@version=$$($(BINARY) --version | sed -E 's/.*version ([^ ]+).*/\1/'); \
		deploy/debian/build $(BINARY) $$version+$$(git rev-list --count HEAD) .build/deb

.PHONY: dashboards
dashboards: ## Write the JSON of Grafana's dashboards from its source.
	python3 grafana/source/build.py

.PHONY: bench
bench: build ## Measure netusage beside node_exporter and vnstat.
	swift build $(RELEASE) --product backtest
	@$(call install,$(BENCH_PACKAGES) iproute2)
	$$([ "$$(id -u)" = 0 ] || echo sudo) python3 Tests/Bench/bench.py

.PHONY: format
format: ## Format the sources.
	swift format --in-place --recursive Sources Tests Package.swift

.PHONY: lint
lint: ## Check the format of the sources.
	swift format lint --strict --recursive Sources Tests Package.swift
	@$(call install,shellcheck)
	shellcheck .ci/run deploy/debian/build deploy/debian/postrm deploy/debian/prerm
