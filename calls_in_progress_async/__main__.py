"""``python -m calls_in_progress_async`` and ``calls-in-progress``: the command line, if its extra is installed."""

from __future__ import annotations

import sys

_LIBRARIES = ("click", "rich")  # the extra [cli]


def main() -> int:
    """Run the command line.

    Returns:
        The exit code: see ``calls-in-progress --help``; 2 without the extra.
    """
    try:
        from .cli.program import program  # noqa: PLC0415 - only the command line needs click and rich
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _LIBRARIES:
            raise
        if sys.stderr is not None:  # closed by the shell
            sys.stderr.write('The command line needs its extra: pip install "calls-in-progress-async[cli]"\n')
        return 2
    except KeyboardInterrupt:
        return 130
    return program.run()


if __name__ == "__main__":
    sys.exit(main())
