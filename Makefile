# Set-up, checks and the demonstration, all through one virtual environment.
# `make` alone lists the targets; each sets up first whatever it needs.

VENV ?= .venv
PYTHON ?= python3
# How the demonstration runs: isolated against naive, as many blocks as fit into three minutes; and
# more options for pytest.
DEMO_ARGS ?= --conditions naive,isolated --load 0.5 --max-minutes 2.8 --warmup 0.5 --label-delay 0.3
PYTEST_ARGS ?=
# What bench-ci holds this checkout against (by default its merge base with origin/main), what both
# versions run in turn, and by how much each metric may get worse (docs/ci.md).
BASE ?=
COLOCATE_ARGS ?= --preset demo --conditions isolated --duration 1 --max-minutes 3
COLOCATE_GATES ?= latency_p50[isolated]=20%;latency_p95[isolated]=25%
KERNELS_ARGS ?= --kernels lookup,lora,update,index --peers= --dim 64 --table-mib 64 --pooling 20 \
  --distribution uniform --rounds 101
KERNELS_GATES ?= lookup_row_s[pages=2m]=15%;lora_row_s[kernel=lookup_lora,inputs=pooled]=15%;$\
  update_row_s[stage=forward,inputs=all adapted]=15%;index_find_s[candidate=lorabench]=15%
ON_UNKNOWN ?= fail
# How many tests run at once.
JOBS ?= 3

# What Debian needs beyond its bare system: Python.h and venv are packages of their own there.
SYSTEM_PACKAGES := gcc libc6-dev make python3 python3-dev python3-venv
# What some tests compare with or run in, and skip without: lstopo-no-graphics reads topologies
# independently (hwloc-nox is hwloc without X11), chromium shows reports, fuse3 mounts the double of
# resctrl, qemu emulates a machine with several NUMA nodes.
TEST_PACKAGES := chromium fuse3 hwloc-nox qemu-system-x86

STAMP := $(VENV)/.lorabench-installed
# The tools find each other by PATH, but for CYTHON: meson notes that one down as it is named, and
# the editable install calls it again wherever `lorabench` is started from.
IN_VENV := PATH="$(abspath $(VENV))/bin:$$PATH"
PIP := $(IN_VENV) python -m pip -qq --disable-pip-version-check --require-virtualenv
# The build folder of the editable install lies in the environment whose tools it names, so that
# two environments of one checkout never share it and none outlives its tools.
BUILD_DIR := $(abspath $(VENV))/lorabench-build
# A file's tests stay together, since they read what one of its fixtures made; those that run whole
# experiments begin.
PYTEST := pytest --quiet --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
C_FILES = $(shell find kernels tests -name '*.[ch]')

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Targets take turns whatever make's own -j says: tests that measure want no compiler beside them.
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1 /p' $(firstword $(MAKEFILE_LIST)) | \
	  while read -r target text; do printf '  make %-16s %s\n' "$$target" "$$text"; done
	@echo "  VENV=$(VENV), PYTHON=$(PYTHON) and JOBS=$(JOBS) can be set on the command line."

.PHONY: demo
demo: install ## set up, then run the main job on a generated workload
	@$(IN_VENV) lorabench colocate --preset demo $(DEMO_ARGS)

.PHONY: test
test: prepare install lint ## set up, then run every check and every test
	@$(IN_VENV) $(PYTEST) $(PYTEST_ARGS)

.PHONY: unit
unit: install ## run the unit tests that are not slow
	@$(IN_VENV) $(PYTEST) tests/unit -m "not slow" $(PYTEST_ARGS)

.PHONY: coverage
coverage: prepare install ## run every test; say which lines and branches of lorabench none reaches
	@$(IN_VENV) $(PYTEST) --cov --cov-report= $(PYTEST_ARGS)
	@$(IN_VENV) coverage report

# What cannot be had is skipped by the tests that need it, in a line that says so.
.PHONY: prepare
prepare: ## as root, install the Debian packages of the set-up and the tests, and fetch the guest
	@test "$$(id -u)" = 0 && command -v apt-get >/dev/null || exit 0; \
	  $(MAKE) system-packages test-packages guest || echo "some tests will be skipped" >&2

# What is asked for goes to the shell as variables, of which it reads no word as a command.
.PHONY: bench-ci
bench-ci: export BASE := $(BASE)
bench-ci: export ON_UNKNOWN := $(ON_UNKNOWN)
bench-ci: export COLOCATE_ARGS := $(COLOCATE_ARGS)
bench-ci: export COLOCATE_GATES := $(COLOCATE_GATES)
bench-ci: export KERNELS_ARGS := $(KERNELS_ARGS)
bench-ci: export KERNELS_GATES := $(KERNELS_GATES)
bench-ci: install ## hold this checkout against its merge base, both measured in turn: docs/ci.md
	@$(IN_VENV) .ci/bench "$(VENV)" "$(VENV)/lorabench-bench" "$$BASE"

# The emulated machine of test-numa: kernel, modules and busybox out of Debian's packages, which are
# unpacked here and not installed, so that this machine's own kernel and boot loader are left alone.
GUEST_DIR := $(abspath $(VENV))/lorabench-guest
GUEST_MODULES := drivers/virtio net/9p fs/9p fs/netfs fs/fscache
.PHONY: test-numa
test-numa: install guest ## test memory placement and cgroup v2 on an emulated machine of three NUMA nodes
	@command -v qemu-system-x86_64 >/dev/null || { test "$$(id -u)" = 0 && $(MAKE) test-packages; } || { \
	  echo "there is no qemu-system-x86_64; on Debian, run as root: make test-packages" >&2; exit 1; }
	@$(IN_VENV) pytest --quiet tests/integration/test_guest.py $(PYTEST_ARGS)

.PHONY: guest
guest: $(GUEST_DIR)/vmlinuz ## fetch the kernel that test-numa boots (from Debian, 70 MB)

fetch_guest = apt-get download -qq -o APT::Sandbox::User="$$(id -un)" busybox-static \
  "$$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9]\)/\1/p')"

$(GUEST_DIR)/vmlinuz:
	@command -v apt-get >/dev/null || { \
	  echo "there is no apt-get, and the guest's kernel comes from Debian" >&2; exit 1; }
	@echo "Fetching the kernel of the emulated machine (70 MB)"
	@rm -rf "$(GUEST_DIR)" && mkdir -p "$(GUEST_DIR)/unpacked"
	@cd "$(GUEST_DIR)" && { $(fetch_guest) 2>/dev/null || { \
	    test "$$(id -u)" = 0 && apt-get update -qq && $(fetch_guest); } || { \
	    echo "cannot fetch linux-image-amd64 and busybox-static; run as root: apt-get update" >&2; \
	    exit 1; }; }
	@cd "$(GUEST_DIR)" && for package in *.deb; do \
	    dpkg-deb --fsys-tarfile "$$package" | tar -x -C unpacked --wildcards --no-anchored \
	      bin/busybox 'boot/vmlinuz-*' $(GUEST_MODULES:%='kernel/%/*') 2>/dev/null || true; done; \
	  rm -f *.deb; find unpacked -name '*.ko.xz' -exec unxz {} +; \
	  mkdir modules && find unpacked -name '*.ko' -exec mv -t modules {} + && \
	  mv "$$(find unpacked -path '*bin/busybox')" busybox && \
	  mv "$$(find unpacked -name 'vmlinuz-*')" vmlinuz && rm -rf unpacked

# A build of its own, installed into its own folder: the editable install's import hook, told to
# skip its build folder, steps aside and PYTHONPATH decides.
SANITIZE_DIR := $(abspath $(VENV))/lorabench-sanitize
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -g -O1
.PHONY: sanitize
sanitize: install ## run the kernels' tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@rm -rf "$(SANITIZE_DIR)"
	@$(IN_VENV) CYTHON="'$(abspath $(VENV))/bin/cython'" meson setup "$(SANITIZE_DIR)" \
	  --buildtype=debug --optimization=1 -Db_sanitize=address,undefined -Db_lundef=false \
	  -Dc_args=-fno-sanitize-recover=all >/dev/null
	@$(IN_VENV) meson compile -C "$(SANITIZE_DIR)" >/dev/null
	@$(IN_VENV) meson install -C "$(SANITIZE_DIR)" --destdir root --quiet
	@$(IN_VENV) MESONPY_EDITABLE_SKIP="$(BUILD_DIR)" \
	  PYTHONPATH="$$(dirname "$$(find "$(SANITIZE_DIR)/root" -type d -path "*/site-packages/lorabench" -prune)")" \
	  LD_PRELOAD="$$($(CC) -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 \
	  UBSAN_OPTIONS=print_stacktrace=1 LORABENCH_SANITIZED="$(SANITIZE_DIR)" \
	  pytest --quiet tests/unit/kernels -m "not slow" $(PYTEST_ARGS)
	@$(CC) -std=gnu11 $(SANITIZE) -I kernels tests/stress/publication.c \
	  -o "$(SANITIZE_DIR)/publication" -lm
	@ASAN_OPTIONS=detect_leaks=0 "$(SANITIZE_DIR)/publication" torn 1 500000 60

.PHONY: lint
lint: lint-python lint-imports lint-kernels ## check style, types and layers

.PHONY: lint-python
lint-python: install ## ... ruff (lint and format) and mypy
	@$(IN_VENV) ruff check --quiet
	@$(IN_VENV) ruff format --quiet --check --diff
	@$(IN_VENV) mypy --no-error-summary

# The editable install's import hook hides the package's folder from import-linter; told to skip
# its build folder it steps aside, and the package is found in the checkout.
.PHONY: lint-imports
lint-imports: install ## ... the direction of imports
	@$(IN_VENV) MESONPY_EDITABLE_SKIP="$(BUILD_DIR)" lint-imports --no-logo

.PHONY: lint-kernels
lint-kernels: install ## ... the Cython seam and the C headers
	@$(IN_VENV) cython-lint kernels
	@$(IN_VENV) clang-format --dry-run --Werror $(C_FILES)

.PHONY: format
format: install ## rewrite the sources as the style wants them
	@$(IN_VENV) ruff check --quiet --fix-only
	@$(IN_VENV) ruff format --quiet
	@$(IN_VENV) clang-format -i $(C_FILES)

.PHONY: docs
docs: install ## rewrite the tables of options and metrics in docs/ from these themselves
	@$(IN_VENV) python tests/support/option_docs.py

# The newest result in results/ unless another is named; SCREENS is the folder of the pictures.
REPORT_RESULT ?=
SCREENS ?= results/screens
.PHONY: report-screens
report-screens: install ## take pictures of a result's report: light, dark, narrow (needs chromium)
	@$(IN_VENV) python tests/support/report_screens.py "$(SCREENS)" $(REPORT_RESULT)

.PHONY: install
install: $(STAMP) ## make the virtual environment and install into it
	@:

# True where PYTHON can make a virtual environment, and cc an extension for it.
can_build = "$(PYTHON)" -c 'import ensurepip, os, sysconfig; \
  os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))' 2>/dev/null \
  && command -v $(firstword $(CC)) >/dev/null

# Otava, the extra trend, holds NumPy at one release and brings clients of several clouds, and what is
# used of it needs neither: it comes without them. So do torchrec, which asks for FBGEMM's build for
# CUDA, and torchsnapshot; the tests have them write checkpoints.
$(STAMP): pyproject.toml constraints.txt meson.build
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "'$(PYTHON)' is no Python 3.11 or newer; name one: make PYTHON=python3.11" >&2; exit 1; }
	@$(can_build) || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	    && $(MAKE) system-packages; } || true
	@$(can_build) || { \
	  echo "'$(PYTHON)' lacks venv or Python.h, or there is no '$(firstword $(CC))';" \
	    "on Debian, run as root: make system-packages" >&2; exit 1; }
	@echo "Setting up $(VENV) (the first time takes some minutes: torch is large)"
	@test -x "$(VENV)/bin/pip" || "$(PYTHON)" -m venv "$(VENV)"
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --constraint constraints.txt --group build
	@CYTHON="'$(abspath $(VENV))/bin/cython'" $(PIP) install --constraint constraints.txt \
	  --group dev --no-build-isolation --config-settings build-dir="$(BUILD_DIR)" --editable ".[fbgemm,mlperf]"
	@$(PIP) install --constraint constraints.txt --no-deps apache-otava torchrec torchsnapshot
	@touch $@

# Installs those of the Debian packages $(1) that are missing; does nothing where none is.
define install_packages
@if [ "$$(dpkg-query --show --showformat='$${db:Status-Status}\n' $(1) \
    2>/dev/null | grep -cx installed)" -ge $(words $(1)) ]; then exit 0; fi; \
  echo "Installing the Debian packages $(1)"; \
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends $(1) >/dev/null
endef

.PHONY: system-packages
system-packages: ## install the Debian packages that the set-up needs (as root)
	$(call install_packages,$(SYSTEM_PACKAGES))

.PHONY: test-packages
test-packages: ## install the Debian packages that some tests skip without (as root)
	$(call install_packages,$(TEST_PACKAGES))

.PHONY: clean
clean: ## remove the virtual environment and every build output; results/ stays
	@if test -f "$(VENV)/pyvenv.cfg"; then rm -rf "$(VENV)"; fi
	@rm -rf build dist .mesonpy-* .hypothesis .import_linter_cache .mypy_cache .pytest_cache \
	  .ruff_cache .coverage*
	@find lorabench tests -name __pycache__ -prune -exec rm -rf {} +
