# Everything that a developer or an operator does with this repository.
# Tools that the machine lacks are installed by scripts/setup.

GO       ?= go
LINT      = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.0
SERVICES  = $(GO) build -o bin/services ./test/services && exec bin/services --
FUZZTIME ?= 20s
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.DEFAULT_GOAL := help
.PHONY: help setup run test soak check lint generate network e2e screenshots fuzz bench load build

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what the machine lacks (browser, PostgreSQL, compiler)
	@scripts/setup

run: setup ## the whole product with a local network and demo content
	@$(GO) build -o bin/demo ./test/demo && exec bin/demo # go run would turn Ctrl-C into an error

build: ## build bin/atoll
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/atoll ./cmd/atoll

test: setup build ## every test: both database engines, the official servers, the browser
	@$(SERVICES) scripts/test

soak: setup build ## the same with the full counts, under an hour
	@export TEST_SIZE=full; $(SERVICES) $(GO) test -count=1 -timeout 60m ./...

check: lint ## what must hold before a commit: lint, vet, architecture, formatting
	$(GO) vet ./...
	$(GO) test -count=1 .

lint: ## the rules of the house style that a machine can judge
	$(LINT) run ./...

generate: ## what is generated from proto/
	@scripts/generate

network: setup ## only the local network, until Ctrl-C
	@$(SERVICES) sleep infinity

e2e: setup build ## only the whole program against the network and a browser
	@$(SERVICES) $(GO) test -count=1 ./test/e2e/...

screenshots: setup ## the pictures of the README, anew from the demo
	@export TEST_README_PICTURES=$(CURDIR)/docs/screenshots; $(GO) test -count=1 -run TestReadmePictures ./test/e2e

fuzz: ## every parser of outside input, FUZZTIME each
	@scripts/fuzz $(FUZZTIME)

bench: setup ## every benchmark, one table
	@$(SERVICES) $(GO) test -run '^$$' -bench . -benchmem -benchtime 1s ./bench/...

load: setup build ## the built program under load by wrk; LOAD="-posts 1000000" for more, -help says what else
	@$(GO) build -o bin/load ./test/load && exec bin/load $(LOAD)
