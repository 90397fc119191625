"""The audit as a call."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType

import click
import pytest

import autogaze_cli
from autogaze_cli.cli.main import cli
from autogaze_cli.errors import ConfigError, InputError

BAD = "def f(out, if_padded_gazing):\n    return out.gazing_pos % 265\n"

# Options that say how the command reports, not what is found.
REPORTING = {
    "format", "output", "fix", "diff", "fail_on", "exit_zero", "strict_coverage", "write_baseline",
    "show_suppressed", "profile",
    "check_patch", "show_patch", "list_rules", "explain", "color", "paths", "json", "jsonl", "help",
    "q", "v", "log_file", "no_progress", "config", "version",
}  # fmt: skip


def test_arguments_are_the_options_with_their_defaults() -> None:
    command = cli.get_command(click.Context(cli), "audit-readout")
    assert command is not None
    options = {str(option.name): option for option in command.params}
    arguments = dict(inspect.signature(autogaze_cli.audit_readout).parameters)
    assert arguments.pop("paths").kind is inspect.Parameter.VAR_POSITIONAL
    assert set(arguments) == set(options) - REPORTING
    for name, argument in arguments.items():
        assert argument.kind is inspect.Parameter.KEYWORD_ONLY
        default = options[name].to_info_dict()["default"] or None
        assert (argument.default or None) == default, name


def test_the_call_is_no_module() -> None:
    import autogaze_cli.audit

    assert type(autogaze_cli.audit) is ModuleType
    assert not callable(autogaze_cli.audit)


def test_arguments_and_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(BAD)
    (tmp_path / ".autogaze-audit.toml").write_text('tests = "skip"\nrules = ["AGR104"]\n')
    assert autogaze_cli.audit_readout(tmp_path).findings == []
    found = autogaze_cli.audit_readout(tmp_path, tests="same", severity={"AGR104": "warning"})
    assert [(f.rule, f.level) for f in found.findings] == [("AGR104", "warning")]
    found = autogaze_cli.audit_readout(tmp_path, tests="note", rules=["AGR101"])
    assert [(f.rule, f.level) for f in found.findings] == [("AGR101", "note")]


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no path"):
        autogaze_cli.audit_readout()
    with pytest.raises(ConfigError, match="AGR9x"):
        autogaze_cli.audit_readout(tmp_path, rules=["AGR9x"])
