"""The door: finds the command, runs it, and turns every mistake into one sentence."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

import dyninfer
from dyninfer.cli.arguments import Parser
from dyninfer.cli.commands import COMMANDS
from dyninfer.cli.signals import as_interrupts
from dyninfer.cli.spelling import unrecognized

# Mistakes in the request, and what a machine may run out of; anything else is a fault of ours and
# ends with a traceback.
ERRORS = (KeyError, ValueError, TypeError, OSError, MemoryError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0, 2 for a mistake in the request or a bad file, 130 for Ctrl-C, 143 for SIGTERM.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        words = ["--help"]
    with warnings.catch_warnings(), as_interrupts() as signals:
        warnings.showwarning = _print_warning  # type: ignore[assignment]
        try:
            arguments, rest = make_parser(words).parse_known_args(words)
            if rest:
                # By the parser of the command, which knows what may have been meant.
                options = arguments.parser.options()
                arguments.parser.error(unrecognized(rest, options))
            arguments.run(arguments)
        except KeyboardInterrupt:
            print("dyninfer: interrupted", file=sys.stderr)
            return signals.exit_status
        except ERRORS as error:
            if "--traceback" in words:
                raise
            print(f"dyninfer: error: {_sentence(error)}", file=sys.stderr)
            return 2
    return 0


def make_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Parser of all commands; the flags of a method are added where ``argv`` names it."""
    top = Parser(
        prog="dyninfer",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Learn the dynamics behind snapshots of a population, then simulate them.",
        epilog="example: dyninfer demo\n\n'dyninfer COMMAND --help' explains a command.",
    )
    top.add_argument("--version", action="version", version=f"dyninfer {dyninfer.__version__}")
    common = Parser(add_help=False)
    # Before or after the command; where it is absent after, the value from before must stay.
    for parser, default in ((top, False), (common, argparse.SUPPRESS)):
        parser.add_argument(
            "--traceback",
            action="store_true",
            default=default,
            help="show where an error came from",
        )
    # Required: without a command there is nothing to do, and the error names them.
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        title = "examples:" if len(module.EXAMPLES) > 1 else "example:"
        parser = commands.add_parser(
            name,
            parents=[common],
            help=module.SUMMARY,
            description=module.SUMMARY,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog="\n  ".join([title, *module.EXAMPLES]),
        )
        parser.set_defaults(run=module.run, parser=parser)
        module.add_arguments(parser, argv)
    return top


def _print_warning(message: Warning | str, *_: object) -> None:
    print(f"dyninfer: warning: {message}", file=sys.stderr)


def _sentence(error: BaseException) -> str:
    # A KeyError prints its message in quotes.
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    # In one line, as of some errors of libraries; others have no text at all.
    words = " ".join(str(text).split())
    return words or type(error).__name__
