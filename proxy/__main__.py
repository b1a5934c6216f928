"""``safeguard``: the command line."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from proxy.audit import options as audit_options
from proxy.config_error import ConfigError
from proxy.evaluation.arguments import add_calibrate, add_evaluate
from proxy.replay.arguments import add_replay
from proxy.review import options as review_options
from proxy.tuning.arguments import add_tune

DEFAULT_CONFIG = Path("config.yaml")
EXAMPLE_CONFIG = Path("config.example.yaml")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; argparse puts the usage before it, which for some commands fills a screen."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    common = _Parser(add_help=False)
    common.add_argument(
        "--config",
        type=Path,
        default=None,
        metavar="FILE",
        help="configuration (default: config.yaml, then config.example.yaml)",
    )
    as_json = _Parser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON instead of a table")

    parser = _Parser(prog="safeguard", description="Judge every prompt and completion by your policies.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", parents=[common], help="run the proxy")
    serve.add_argument("--host", type=_host, help="address of the data port")
    serve.add_argument("--port", type=_port, help="data port (0: any free one)")
    serve.add_argument(
        "--admin-port", type=_port, help="admin port, on loopback if the configuration has no admin section"
    )
    serve.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")

    check = commands.add_parser("check", parents=[common, as_json], help="judge one text by a route's rules")
    check.add_argument("text", metavar="TEXT", help="the text, or - for standard input")
    check.add_argument("--route", help="name of the route (default: the first)")
    check.add_argument("--stage", choices=("input", "output"), default="input")

    test = commands.add_parser(
        "test", parents=[common, as_json], help="ask the guards about the examples of the policies"
    )
    test.add_argument(
        "--policy", nargs="+", action="extend", metavar="NAME", help="only these policies (default: all with examples)"
    )
    test.add_argument("--guard", metavar="NAME", help="have this guard judge, whatever the rules say")
    test.add_argument("--junit", type=Path, metavar="FILE", help="also write JUnit XML, for CI")
    test.add_argument("--show", action="store_true", help="show the examples' contents in the reports")

    screen = commands.add_parser(
        "screen", parents=[common, as_json], help="judge the rows of a file and write a line for each; resumable"
    )
    screen.add_argument("input", metavar="IN", help="JSON lines or CSV, or - for standard input")
    screen.add_argument("-o", "--output", required=True, metavar="OUT.jsonl", help="JSON lines; - for standard output")
    screen.add_argument("--route", help="name of the route whose rules judge (default: the first)")
    screen.add_argument("--stage", choices=("input", "output"), default="input")
    screen.add_argument("--format", choices=("jsonl", "csv"), help="of the input (default: by its name, jsonl for -)")
    screen.add_argument("--text-field", metavar="NAME", help="the field or column to judge (default: see docs)")
    screen.add_argument("--id-field", metavar="NAME", default="id", help="the field that names a row (default: id)")
    screen.add_argument("--keep-text", action="store_true", help="copy the content into the output")
    screen.add_argument(
        "--on-bad-row",
        choices=("fail", "error"),
        default="fail",
        help="what cannot be read ends the run, or is an error row",
    )
    screen.add_argument("--restart", action="store_true", help="write the output anew instead of going on with it")
    screen.add_argument(
        "--at-once", type=_count, metavar="N", help="contents that each guard is given at once (default: what suits it)"
    )

    config = commands.add_parser("config", help="about the configuration")
    config_commands = config.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    config_commands.add_parser("check", parents=[common, as_json], help="read, check and build it without serving")

    doctor = commands.add_parser(
        "doctor", parents=[as_json], help="do refusals survive the gateway in front, and which refusal mode fits it?"
    )
    doctor.add_argument(
        "--via", type=_base_url, required=True, metavar="URL", help="what clients use as base URL, ending in /v1"
    )
    doctor.add_argument("--model", required=True, help="model to ask for")
    doctor.add_argument("--api-key-env", metavar="NAME", help="environment variable with the client's key")
    doctor.add_argument("--probe", metavar="TEXT", help="a text that the route refuses (default: a prompt injection)")
    doctor.add_argument(
        "--config", type=Path, metavar="FILE", help="safeguard's configuration: refusal mode, texts, and a sure probe"
    )
    doctor.add_argument("--route", help="name of the route in --config (default: the first)")
    doctor.add_argument(
        "--admin", type=_base_url, metavar="URL", help="safeguard's admin port, to count how often a refusal is tried"
    )
    doctor.add_argument("--admin-token-env", metavar="NAME", help="environment variable with the admin port's token")
    doctor.add_argument("--timeout-s", type=_seconds, default=60.0, help="longest time for one answer (default: 60)")

    audit = commands.add_parser("audit", parents=[common, as_json], help="look decisions up, export them")
    audit_options.add_options(audit)
    review = commands.add_parser("review", help="what was flagged: look, decide, draw the consequence")
    review_options.add_options(review, [common, as_json])
    add_evaluate(commands, common, as_json)
    add_calibrate(commands, common, as_json)
    add_tune(commands, common, as_json)
    add_replay(commands, common, as_json)

    models = commands.add_parser("models", help="model files")
    model_commands = models.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    anywhere = _Parser(add_help=False)
    anywhere.add_argument(
        "--config", type=Path, metavar="FILE", help="taken, as by every command; models are the same for all"
    )
    model_commands.add_parser("list", parents=[anywhere, as_json], help="known models and where their files are")
    for name, text in (
        ("pull", "download a model, resumable"),
        ("verify", "compare a model's files with their hashes"),
    ):
        command = model_commands.add_parser(name, parents=[anywhere, as_json], help=text)
        command.add_argument("name", metavar="NAME")
    return parser


def _host(value: str) -> str:
    if not value:  # would mean every interface
        raise argparse.ArgumentTypeError("must be an address or a name")
    return value


def _port(value: str) -> int:
    if not value.isdigit() or int(value) > 65535:
        raise argparse.ArgumentTypeError("must be a number from 0 to 65535")
    return int(value)


def _count(value: str) -> int:
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 100_000):
        raise argparse.ArgumentTypeError("must be a number from 1 to 100000")
    return int(value)


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("must be a number of seconds, at most 3600")
    return seconds


def _base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    else:
        usable = usable and "@" not in parts.netloc and not parts.query and not parts.fragment
    if not usable:  # not shown: a password can be part of it
        raise argparse.ArgumentTypeError("must be http(s)://host[:port][/path], without user, query and fragment")
    return value.rstrip("/")


def config_path(given: Path | None) -> Path:
    """The configuration to use: the one named, else ``config.yaml``, else ``config.example.yaml`` here.

    Raises:
        ConfigError: None of them exists.
    """
    if given is not None:
        return given
    for candidate in (DEFAULT_CONFIG, EXAMPLE_CONFIG):
        if candidate.is_file():
            return candidate
    raise ConfigError("config.yaml: no such file; name a configuration with --config FILE")


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 where something was found; 2 for wrong usage or configuration.
    """
    _open_closed_streams()
    args = build_parser().parse_args(argv)
    # imported after the arguments are known to be right, `--help` answers at once; and no more than the command needs
    try:
        match args.command:
            case "audit":
                from proxy.audit.command import audit

                return audit(None if args.folder is not None else config_path(args.config), args)
            case "review":
                from proxy.review.command import review

                return review(config_path(args.config), args)
            case "test":
                from proxy.policy_tests import run_tests

                return asyncio.run(run_tests(config_path(args.config), args))
            case "screen":
                from proxy.batch.command import screen

                return screen(config_path(args.config), args)
            case "evaluate":
                from proxy.commands_evaluate import evaluate

                return evaluate(args, config_path)
            case "replay":
                from proxy.replay.command import replay

                return replay(config_path(args.config), args)
            case "calibrate":
                from proxy.commands_calibrate import calibrate

                return calibrate(config_path(args.config), args)
            case "tune":
                from proxy.tuning.command import tune

                return tune(config_path(args.config), args)
            case "serve":
                from proxy.commands_serve import serve

                return serve(config_path(args.config), args)
            case _:
                pass  # the others share a module
        from proxy import commands

        match args.command:
            case "check":
                return asyncio.run(commands.check(config_path(args.config), args))
            case "doctor":
                return asyncio.run(commands.doctor(args))
            case "config":
                return commands.config_check(config_path(args.config), as_json=args.json)
            case _:
                return commands.models(args)
    except ConfigError as e:
        sys.stderr.write(f"{e}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except OSError as e:  # 1 would read as a finding
        sys.stderr.write(f"safeguard {args.command}: {e.strerror or e}\n")
        return 2


def _open_closed_streams() -> None:
    """Give a process that was started without one of its standard streams an empty one in its place.

    Not only because Python leaves None there: the next file that is opened, a socket for instance, would get its number.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


if __name__ == "__main__":
    sys.exit(main())
