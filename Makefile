# netusage: what a developer types. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BINARY := .build/release/netusage
# Package.swift names the commit in the binary, so what it says isn't kept from one build to the next.
RELEASE := -c release --product netusage --manifest-cache none --disable-build-manifest-caching --static-swift-stdlib -Xlinker --no-export-dynamic
PYTHON := .build/python/bin/python

BUILD_PACKAGES := libc6-dev libcrypt-dev libisal-dev libsqlite3-dev libyaml-dev tzdata
DEB_PACKAGES := build-essential debhelper python3
TEST_PACKAGES := $(DEB_PACKAGES) chromium debootstrap iproute2 lintian man-db mandoc openssl procps prometheus \
	prometheus-alertmanager python3-venv shellcheck sqlite3 strace systemd systemd-container util-linux vnstat
BENCH_PACKAGES := prometheus-node-exporter vnstat wrk

# Installs the Debian packages that are missing; $(1) is their names.
install = missing=$$(for package in $(1); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'install ok installed' || echo $$package; done); \
	if [ -n "$$missing" ]; then \
		echo "installing" $$missing; \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		$$sudo apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

.PHONY: help
help: ## Say what there is.
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: packages
packages:
	@$(call install,$(BUILD_PACKAGES))

.PHONY: build
build: packages ## Build the release binary.
	swift build $(RELEASE)

.PHONY: run
run: build ## Build and start the exporter on the loopback address.
	@echo "Starting: see http://127.0.0.1:10073/metrics, and http://127.0.0.1:10073/ for people. Ctrl-C ends it."
	$(BINARY) serve

.PHONY: demo
demo: build ## Show a breach alert arrive: netusage, Prometheus and Alertmanager on the loopback address.
	@$(call install,prometheus prometheus-alertmanager python3)
	@python3 deploy/demo.py $(BINARY)

.PHONY: test
test: build test-units test-program ## Run all tests.

.PHONY: quick
quick: packages ## Run the tests that need neither root nor a ledger file: under a minute after a build.
	swift test --skip '^LedgerStoreTests\.' --skip KernelNetworkTests --skip ZoneDatabaseTests

# All for memory errors, and what has threads again for data races. XCTest itself leaks a few bytes, so leaks aren't looked for.
.PHONY: test-units
test-units: packages
	@$(call install,$(TEST_PACKAGES))
	ASAN_OPTIONS=detect_leaks=0 swift test --sanitize=address --scratch-path .build-address
	swift test --sanitize=thread --scratch-path .build-thread --filter '^(Exporter|LedgerStore|Machine|Netlink)Tests'

.PHONY: test-program
test-program: build python
	@$(call install,$(TEST_PACKAGES))
	$$([ "$$(id -u)" = 0 ] || echo sudo) $(PYTHON) -m pytest Tests/Program

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
dashboards: ## Make Grafana's dashboards from their source.
	python3 grafana/source/build.py

.PHONY: bench
bench: build ## Measure against node_exporter and vnstat, side by side.
	swift build -c release --product backtest
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
