"""The entry point of the command `noisybench`, and of `python -m noisybench`."""

import signal


def main() -> None:
    """Carry out the command line.

    While it is being imported, and when it has ended, Ctrl-C ends the process at once, without a traceback.
    In between, `noisybench.cli.main` handles it.  A process that ignores Ctrl-C goes on to ignore it.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    outside = signal.SIG_IGN if ignored else signal.SIG_DFL
    signal.signal(signal.SIGINT, outside)
    from noisybench.cli import main as carry_out

    try:
        carry_out()
    finally:
        signal.signal(signal.SIGINT, outside)


if __name__ == "__main__":
    main()
