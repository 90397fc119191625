"""Write what the docs repeat: the ``--help`` of every command, and the pages of the audit's rules.

Both stand between the markers of their page, docs/commands.md and docs/audit.md.

python scripts/update_docs.py            # rewrite it
python scripts/update_docs.py --check    # exit 1 if it is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from autogaze_cli.audit.rules import RULES
from autogaze_cli.main import COMMANDS, cli

DOCS = Path(__file__).parents[1] / "docs"
START, END = "<!-- start: scripts/update_docs.py -->\n", "<!-- end -->\n"


def reference() -> str:
    """One heading and one block of help for each command, in the order of the table."""
    parts = []
    group = click.Context(cli, info_name="autogaze", **cli.context_settings)
    for name in COMMANDS:
        command = cli.get_command(group, name)
        assert command is not None
        parts += _help(name, command, group, "##")
    return "\n".join(parts)


def _help(name: str, command: click.Command, parent: click.Context, heading: str) -> list[str]:
    """The help of a command, and that of its own subcommands one heading further down."""
    with click.Context(command, info_name=name, parent=parent, terminal_width=98) as context:
        title = context.command_path.removeprefix("autogaze ")
        parts = [f"{heading} {title}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"]
        if isinstance(command, click.Group):
            for below, its in command.commands.items():
                parts += _help(below, its, context, heading + "#")
    return parts


def rules() -> str:
    """The page of each rule of the audit."""
    return "\n".join(f"### {r.id} {r.name} ({r.level})\n\n{r.markdown()}" for r in RULES)


def update(path: Path, text: str, *, check: bool) -> bool:
    """Rewrite a page between its markers, or only say whether it is up to date."""
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    renewed = f"{before}{START}\n{text}\n{END}{after}"
    if renewed == page:
        return True
    if check:
        print(f"{path.name} is out of date; run: python scripts/update_docs.py", file=sys.stderr)
        return False
    path.write_text(renewed, encoding="utf-8")
    return True


def main() -> int:
    """Rewrite the pages, or compare them."""
    check = "--check" in sys.argv[1:]
    pages = {"commands.md": reference(), "audit.md": rules()}
    current = [update(DOCS / name, text, check=check) for name, text in pages.items()]
    return int(not all(current))


if __name__ == "__main__":
    sys.exit(main())
