"""The subcommands of `autogaze`, one file each."""
