"""Serving, and what is looked at before: serve, check-config, doctor, demo, route."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
from importlib.util import find_spec
from pathlib import Path

from routewright import logs
from routewright.cli.options import Commands, add_config, add_data_dir, add_lenient, command, fail, in_range

log = logging.getLogger("routewright")
MAX_WORKERS = 256


def add(commands: Commands) -> None:
    _add_serve(commands)
    _add_check_config(commands)
    _add_doctor(commands)
    _add_demo(commands)
    _add_route(commands)


def _add_serve(commands: Commands) -> None:
    parser = command(commands, "serve", "Serve the gateway until SIGTERM.")
    add_config(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every interface")
    parser.add_argument("--port", type=in_range(0, 65535), default=4000, help="0 takes a free one")
    parser.add_argument("--workers", "--num_workers", type=in_range(1, MAX_WORKERS), default=1, help="processes")
    add_data_dir(parser)
    parser.add_argument(
        "--drain-seconds", type=in_range(0, 86_400, float), default=30.0,
        help="time that running requests get on SIGTERM",
    )  # fmt: skip
    parser.add_argument("--tls-cert", type=Path, help="PEM file; with --tls-key the port speaks TLS")
    parser.add_argument("--tls-key", type=Path, help="PEM file")
    add_lenient(parser)
    parser.add_argument("--debug", "--detailed_debug", action="store_true", help="log more")
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    from routewright.app.processes import serve
    from routewright.config import ConfigError, load_settings
    from routewright.config.environment import with_environment
    from routewright.config.overrides import Overrides
    from routewright.settings import ServerSettings, Settings

    logs.configure()
    if (options.tls_cert is None) != (options.tls_key is None):
        fail("--tls-cert and --tls-key go together")
    if options.config is None:
        fail("no configuration: give --config FILE (or set CONFIG_FILE_PATH); `routewright demo` runs without one")
    server = ServerSettings(
        host=options.host,
        port=options.port,
        workers=options.workers,
        data_dir=options.data_dir,
        drain_s=options.drain_seconds,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
    )

    def load(overrides: Overrides) -> Settings:
        settings = load_settings(
            options.config, environ=os.environ, lenient=options.lenient_config, server=server, overrides=overrides
        )
        settings = with_environment(settings, os.environ)
        if options.debug:
            settings = dataclasses.replace(settings, logs=dataclasses.replace(settings.logs, level="DEBUG"))
        return settings

    try:
        settings = load({})
    except (ConfigError, ValueError) as error:
        fail(str(error))
    logs.configure(level=settings.logs.level, as_json=settings.logs.as_json)
    # The store's process, which is a child, says what it has to say in the same way.
    os.environ[logs.FOR_CHILDREN] = f"{settings.logs.level} {'json' if settings.logs.as_json else 'text'}"
    for warning in settings.warnings:
        log.warning(warning)
    if settings.valkey is not None and find_spec("hiredis") is None:
        fail("limits over a Valkey or Redis need the extra `valkey`: pip install 'routewright[valkey]'")
    try:
        return serve(settings, load)
    except OSError as error:
        fail(f"can't serve on {options.host}:{options.port} with data in {options.data_dir}: {error.strerror or error}")


def _add_check_config(commands: Commands) -> None:
    about = "Check a configuration without serving it: every fault with file, line and field."
    parser = command(commands, "check-config", about)
    parser.add_argument("file", type=Path, help="the config.yaml to check")
    add_data_dir(parser)
    add_lenient(parser)
    parser.set_defaults(run=_check_config)


def _check_config(options: argparse.Namespace) -> int:
    from routewright.config.check import check_config
    from routewright.explain import placement_lines

    return check_config(
        options.file,
        lenient=options.lenient_config,
        more=lambda settings: placement_lines(settings, options.data_dir),
    )


def _add_doctor(commands: Commands) -> None:
    about = "Look for what would keep this machine from serving well, and say what to do about it."
    parser = command(commands, "doctor", about)
    add_config(parser)
    add_data_dir(parser)
    parser.add_argument("--workers", "--num_workers", type=in_range(1, MAX_WORKERS), default=1, help="as for serve")
    parser.add_argument("--offline", action="store_true", help="reach for nobody")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from routewright.doctor.examine import doctor

    return doctor(
        options.config, options.data_dir, workers=options.workers, is_offline=options.offline, as_json=options.json
    )


def _add_demo(commands: Commands) -> None:
    about = "Start the gateway with stand-in models, send sample prompts to `auto`, and stay up for yours."
    parser = command(commands, "demo", about)
    parser.add_argument("--port", type=in_range(0, 65535), default=4000, help="0 takes a free one")
    parser.add_argument("--data-dir", type=Path, help="by default a folder that is deleted at the end")
    parser.add_argument("--once", action="store_true", help="end after the sample prompts instead of staying up")
    parser.add_argument("--real", action="store_true", help="use the models of the providers whose keys are set")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from routewright.demo.run import run_demo

    return run_demo(port=options.port, data_dir=options.data_dir, once=options.once, real=options.real)


def _add_route(commands: Commands) -> None:
    parser = command(commands, "route", "Show where a prompt would go and why, without sending it.")
    parser.add_argument("query", help="a prompt")
    add_config(parser)
    parser.add_argument("--route", default="auto", help="the route to ask")
    parser.add_argument("--quality", type=in_range(0, 1, float), help="the dial, 0 cheapest to 1 best")
    add_data_dir(parser)
    parser.set_defaults(run=_route)


def _route(options: argparse.Namespace) -> int:
    from routewright.explain import print_decision

    return print_decision(options.query, options.config, options.route, options.quality, options.data_dir)
