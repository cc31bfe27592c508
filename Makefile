# Plain cargo does the work; this file names the common calls. `make help` lists them.

# Queries are checked against the committed metadata, never against a database that the environment happens to name.
export SQLX_OFFLINE = true

.PHONY: help run test audit bench

help:
	@echo 'make run    build ruad, load the sample reports, show what they say, and serve on http://127.0.0.1:8080'
	@echo 'make test   formatting, lints, tests, documentation, query metadata'
	@echo 'make audit  licences and known faults of the dependencies'
	@echo 'make bench  measure speed'

run:
	@scripts/install run
	cargo build --release
	@scripts/run

test:
	@scripts/install test
	@scripts/test

audit:
	@scripts/audit

bench:
	@scripts/install test
	@scripts/bench
