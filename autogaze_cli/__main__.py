"""``python -m autogaze_cli``: the same as the command ``autogaze``."""

from autogaze_cli.cli.main import cli

if __name__ == "__main__":
    cli(prog_name="autogaze")
