"""The subcommands of `autogaze`, one module each."""
