# `make help` lists the targets. What they need they install, or say how.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test check e2e bench crds image

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a cluster with Milvus and the operator; fill, back up, drop, restore, compare (KUBECONFIG=... for your own cluster)
	@tests/demo/demo $(if $(filter command,$(firstword $(origin KUBECONFIG))),--kubeconfig "$(KUBECONFIG)")

demo-down: ## remove all that the demo started
	@ENV_DIR=$(CURDIR)/target/env/demo tests/env/env down

test: ## every test: check, unit, storage, engine, API server, end to end
	@tests/run

check: ## format, clippy, generated files, licences
	@tests/check/check

e2e: ## the end-to-end tests alone, those without and those with outages
	@tests/run e2e outages

bench: ## operator: time to a running pod, memory; engine: against a bare copy loop (ARGS="engine --quick" for that alone, in short)
	@tests/run bench $(ARGS)

crds: ## write crds/ and the charts' copies from the types
	@UPDATE_CRDS=1 cargo test --locked --quiet --test crds
	@charts/generate.sh

image: ## the operator's image as an OCI archive, made without Docker; built for size, some 20 minutes
	@BUILD_PROFILE=dist tests/env/env image
