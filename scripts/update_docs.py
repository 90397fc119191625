"""Write docs/commands.md: the ``--help`` of every command, between the markers of the page.

python scripts/update_docs.py            # rewrite it
python scripts/update_docs.py --check    # exit 1 if it is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from autogaze_cli.main import COMMANDS, cli

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
START, END = "<!-- start: scripts/update_docs.py -->\n", "<!-- end -->\n"


def reference() -> str:
    """One heading and one block of help for each command, in the order of the table."""
    parts = []
    group = click.Context(cli, info_name="autogaze", **cli.context_settings)
    for name in COMMANDS:
        command = cli.get_command(group, name)
        assert command is not None
        with click.Context(command, info_name=name, parent=group, terminal_width=98) as context:
            parts.append(f"## {name}\n\n```text\n{command.get_help(context).rstrip()}\n```\n")
    return "\n".join(parts)


def main() -> int:
    """Rewrite the page, or compare it."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    page = f"{before}{START}\n{reference()}\n{END}{after}"
    if page == PAGE.read_text(encoding="utf-8"):
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{PAGE.name} is out of date; run: python scripts/update_docs.py", file=sys.stderr)
        return 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
