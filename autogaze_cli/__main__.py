"""``python -m autogaze_cli``: the same as the command ``autogaze``."""

import signal


def main() -> None:
    """Run the command line; Ctrl-C while it is still being loaded ends the process silently."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from autogaze_cli.cli.main import end_with_exit_code

    end_with_exit_code()


if __name__ == "__main__":
    main()
