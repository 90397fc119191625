"""Write the generated docs: one page per command from its ``--help``, and the audit's rules.

The pages docs/commands/NAME.md are generated completely. The table in docs/commands/index.md, the
rules in docs/audit.md and the site's menu in mkdocs.yml are generated between markers.

python scripts/update_docs.py            # rewrite them
python scripts/update_docs.py --check    # exit 1 if one is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from autogaze_cli.audit.rules import RULES
from autogaze_cli.cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[1]
MADE = "<!-- Made by scripts/update_docs.py: edit the help texts instead. -->\n"
MARKS = {
    ".md": ("<!-- start: scripts/update_docs.py -->\n", "<!-- end -->\n"),
    ".yml": ("# start: scripts/update_docs.py\n", "# end\n"),
}


def commands() -> dict[str, str]:
    """The page of each command by its name, in the order of the table."""
    pages = {}
    group = click.Context(cli, info_name="autogaze", **cli.context_settings)
    for name in COMMANDS:
        command = cli.get_command(group, name)
        assert command is not None
        pages[name] = MADE + "\n" + "\n".join(_help(name, command, group, "#"))
    return pages


def _help(name: str, command: click.Command, parent: click.Context, heading: str) -> list[str]:
    """The help of a command, and of its subcommands one heading level lower.

    The width is Click's for a terminal of 80 columns, which also fits on a page.
    """
    with click.Context(command, info_name=name, parent=parent, terminal_width=78) as context:
        title = f"{heading} {context.command_path}"
        parts = [f"{title}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"]
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                its = command.get_command(context, below)
                assert its is not None
                parts += _help(below, its, context, heading + "#")
    return parts


def overview() -> str:
    """The table of commands, and the help of the group."""
    rows = [f"| [{name}]({name}.md) | {line} |" for name, (_, line) in COMMANDS.items()]
    with click.Context(cli, info_name="autogaze", terminal_width=78) as context:
        text = cli.get_help(context).rstrip()
    return "\n".join(["| command | does |", "| --- | --- |", *rows, "", "```text", text, "```"])


def menu() -> str:
    """The commands' entries in the site's menu."""
    return "\n".join(f"      - {name}: commands/{name}.md" for name in COMMANDS)


def rules() -> str:
    """The page of each rule of the audit."""
    return "\n".join(f"### {r.id} {r.name} ({r.level})\n\n{r.markdown()}" for r in RULES)


def between_marks(path: Path, text: str) -> str:
    """The page at ``path`` with ``text`` between its markers."""
    start, end = MARKS[path.suffix]
    page = path.read_text(encoding="utf-8")
    before, found, rest = page.partition(start)
    _, ended, after = rest.partition(end)
    assert found, f"{path} has no line {start!r}"
    assert ended, f"{path} has no line {end!r}"
    space = "\n" if path.suffix == ".md" else ""
    body = text.rstrip("\n")
    return f"{before}{start}{space}{body}\n{space}{end}{after}"


def main() -> int:
    """Rewrite the pages, or compare them."""
    check = "--check" in sys.argv[1:]
    folder = ROOT / "docs" / "commands"
    wanted = {folder / f"{name}.md": page for name, page in commands().items()}
    for place, text in (
        ("docs/commands/index.md", overview()),
        ("docs/audit.md", rules()),
        ("mkdocs.yml", menu()),
    ):
        wanted[ROOT / place] = between_marks(ROOT / place, text)
    there = {path: path.read_text(encoding="utf-8") for path in wanted if path.exists()}
    stale = set(folder.glob("*.md")) - wanted.keys()
    differ = [path for path in wanted if there.get(path) != wanted[path]]
    if check:
        for path in [*differ, *sorted(stale)]:
            name = path.relative_to(ROOT).as_posix()
            print(f"{name} is out of date; run: python scripts/update_docs.py", file=sys.stderr)
        return int(bool(differ or stale))
    for path in differ:
        path.write_text(wanted[path], encoding="utf-8")
    for path in stale:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
