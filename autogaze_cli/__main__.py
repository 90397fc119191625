"""``python -m autogaze_cli``: the same as the command ``autogaze``."""

import os
import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being loaded ends the process silently."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from autogaze_cli.batch.stopping import END_AT_ONCE
    from autogaze_cli.cli.main import cli

    try:
        cli(prog_name="autogaze")
    except SystemExit as end:
        if END_AT_ONCE.is_set() and isinstance(end.code, int):
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            os._exit(end.code)
        raise


if __name__ == "__main__":
    main()
