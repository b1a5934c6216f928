"""``safeguard``: the command line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from proxy.loading import ConfigError

DEFAULT_CONFIG = Path("config.yaml")
EXAMPLE_CONFIG = Path("config.example.yaml")


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        type=Path,
        default=None,
        metavar="FILE",
        help="configuration (default: config.yaml, then config.example.yaml)",
    )
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON instead of a table")

    parser = argparse.ArgumentParser(
        prog="safeguard", description="Judge every prompt and completion by your policies."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", parents=[common], help="run the proxy")
    serve.add_argument("--host", help="address of the data port")
    serve.add_argument("--port", type=_port, help="data port (0: any free one)")
    serve.add_argument(
        "--admin-port", type=_port, help="admin port, on loopback if the configuration has no admin section"
    )
    serve.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")

    check = commands.add_parser("check", parents=[common, as_json], help="judge one text by a route's rules")
    check.add_argument("text", metavar="TEXT", help="the text, or - for standard input")
    check.add_argument("--route", help="name of the route (default: the first)")
    check.add_argument("--stage", choices=("input", "output"), default="input")

    config = commands.add_parser("config", help="about the configuration")
    config_commands = config.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    config_commands.add_parser("check", parents=[common, as_json], help="read, check and build it without serving")

    models = commands.add_parser("models", help="model files")
    model_commands = models.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    model_commands.add_parser("list", parents=[as_json], help="known models and where their files are")
    for name, text in (
        ("pull", "download a model, resumable"),
        ("verify", "compare a model's files with their hashes"),
    ):
        command = model_commands.add_parser(name, parents=[as_json], help=text)
        command.add_argument("name", metavar="NAME")
    return parser


def _port(value: str) -> int:
    if not value.isdigit() or int(value) > 65535:
        raise argparse.ArgumentTypeError("must be a number from 0 to 65535")
    return int(value)


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
    args = build_parser().parse_args(argv)
    from proxy import commands  # after the arguments are known to be right: `--help` answers at once

    try:
        match args.command:
            case "serve":
                return commands.serve(config_path(args.config), args)
            case "check":
                return asyncio.run(commands.check(config_path(args.config), args))
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


if __name__ == "__main__":
    sys.exit(main())
