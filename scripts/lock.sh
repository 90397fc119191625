#!/usr/bin/env bash
# Write requirements/*.lock: every distribution of constraints.txt's versions that the package index
# has, with its hash, for every platform.
#
#   scripts/lock.sh [UV]
#
# UV is the program uv, by default that of .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${1:-.venv/bin/uv}
compile() {
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes -c constraints.txt \
    --no-header --no-annotate "$@"
}
mkdir -p requirements
compile pyproject.toml --all-extras -o requirements/dev.lock
# The auditor alone, without what it audits.
compile - -o requirements/audit.lock <<<pip-audit
