#!/usr/bin/env bash
# Make or refresh a virtual environment that holds this checkout, installed in editable form.
#
#   scripts/setup_venv.sh PYTHON VENV [EXTRA]
#
# PYTHON is the interpreter to make it with, EXTRA extras of pyproject.toml such as "dev" or "dev,docs".
# Versions come from constraints.txt; nothing but the package index is asked for anything.
set -euo pipefail

python=$1 venv=$2 extra=${3:-}
cd "$(dirname "$0")/.."

fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 2
}

command -v "$python" >/dev/null || fail "no command '$python'" \
  "install Python 3.11 or later, or name one: make PYTHON=python3.12 ..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail \
  "$python is $("$python" --version 2>&1); 3.11 or later is needed" \
  "name one: make PYTHON=python3.12 ..."
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail \
  "$python cannot make virtual environments: its venv or ensurepip module is missing" \
  "on Debian and Ubuntu: apt install python3-venv"

# An environment whose interpreter is gone (a Python upgrade, a moved folder) is made anew.
if ! "$venv/bin/python" -c '' 2>/dev/null; then
  printf 'setup: making %s with %s\n' "$venv" "$("$python" --version 2>&1)" >&2
  "$python" -m venv --clear "$venv"
fi

printf 'setup: installing into %s; the first time takes some minutes\n' "$venv" >&2
export PIP_DISABLE_PIP_VERSION_CHECK=1
# The build tool is installed first and used as it is, so that it too has the version of
# constraints.txt; an isolated build would fetch the newest.
"$venv/bin/python" -m pip install -qq -c constraints.txt setuptools
"$venv/bin/python" -m pip install -qq -c constraints.txt --no-build-isolation \
  -e ".${extra:+[$extra]}"
