"""The command line: serve, check-config, demo, fit, evaluate, route, usage."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

# Routing multiplies small arrays on the loop's own thread; a pool of BLAS threads would cost memory and save nothing.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import typer

from routewright import __version__

cli = typer.Typer(
    name="routewright",
    help="An OpenAI-compatible gateway that learns which model to send each request to.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # tracebacks with local variables would print keys
)
log = logging.getLogger("routewright")

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="A LiteLLM config.yaml, with our sections")]
DataDirOption = Annotated[Path, typer.Option(help="Where the journal and fitted routers are kept")]


def _start_logging(level: int) -> None:
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S"
    )


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"routewright {__version__}")
        raise typer.Exit


@cli.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which")] = False,
) -> None:
    """Options of every command."""


@cli.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every interface")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 4000,
    workers: Annotated[int, typer.Option("--workers", "--num_workers", min=1, max=256, help="Processes")] = 1,
    data_dir: DataDirOption = Path(".data"),
    drain_seconds: Annotated[float, typer.Option(min=0, help="Time that running requests get on SIGTERM")] = 30.0,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file; with --tls-key the port speaks TLS")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file")] = None,
    lenient_config: Annotated[bool, typer.Option(help="Warn of unknown keys instead of stopping")] = False,
    debug: Annotated[bool, typer.Option("--debug", "--detailed_debug", help="Log more")] = False,
) -> None:
    """Serve the gateway until SIGTERM."""
    from routewright.app import serve as run
    from routewright.config import ConfigError, load_settings
    from routewright.config.environment import with_environment
    from routewright.settings import ServerSettings

    _start_logging(logging.DEBUG if debug else logging.INFO)
    if (tls_cert is None) != (tls_key is None):
        _fail("--tls-cert and --tls-key go together")
    config = config or _config_from_environment()
    if config is None:
        _fail("no configuration: give --config FILE (or set CONFIG_FILE_PATH); `routewright demo` runs without one")
    try:
        settings = load_settings(config, environ=os.environ, lenient=lenient_config)
        settings = with_environment(settings, os.environ)
    except (ConfigError, ValueError) as error:
        _fail(str(error))
    for warning in settings.warnings:
        log.warning(warning)
    if not settings.deployments:
        log.warning("no deployment can be used; every inference request will be refused")
    server = ServerSettings(
        host=host,
        port=port,
        workers=workers,
        data_dir=data_dir,
        drain_s=drain_seconds,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    try:
        status = run(dataclasses.replace(settings, server=server))
    except OSError as error:
        _fail(f"can't serve on {host}:{port}: {error.strerror}")
    raise typer.Exit(status)


def _config_from_environment() -> Path | None:
    named = os.environ.get("CONFIG_FILE_PATH")
    return Path(named) if named else None


@cli.command("check-config")
def check_config(
    file: Annotated[Path, typer.Argument(help="The config.yaml to check")],
    lenient_config: Annotated[bool, typer.Option(help="Warn of unknown keys instead of failing")] = False,
) -> None:
    """Check a configuration without serving it: every fault with file, line and field."""
    from routewright.config.check import check_config as check

    raise typer.Exit(check(file, lenient=lenient_config))


@cli.command()
def demo(
    port: Annotated[int, typer.Option(min=0, max=65535)] = 4000,
    data_dir: Annotated[Path | None, typer.Option(help="Default: a folder that is deleted at the end")] = None,
    once: Annotated[bool, typer.Option("--once", help="End after the sample prompts instead of staying up")] = False,
    real: Annotated[bool, typer.Option("--real", help="Use the models of the providers whose keys are set")] = False,
) -> None:
    """Start the gateway with stand-in models, send sample prompts to `auto`, and stay up for yours."""
    from routewright.demo.run import run_demo

    raise typer.Exit(run_demo(port=port, data_dir=data_dir, once=once, real=real))


@cli.command()
def fit(
    data: Annotated[Path, typer.Option(help="A folder in the layout of CONTRIBUTING.md")],
    set_name: Annotated[str, typer.Option("--set", help="The set's name in that folder")],
    out: Annotated[Path, typer.Option(help="The router file to write")],
    router: Annotated[str, typer.Option(help="knn, cluster, ...")] = "knn",
    features: Annotated[str, typer.Option(help="hashed")] = "hashed",
    seed: Annotated[int, typer.Option()] = 0,
    force: Annotated[bool, typer.Option(help="Write it even if it is no better than the best single model")] = False,
) -> None:
    """Learn a router from recorded scores, and write it as one file."""
    from routewright.learning.fit import fit_command

    raise typer.Exit(fit_command(data, set_name, router, features, out, seed, force))


@cli.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="A folder in the layout of CONTRIBUTING.md")],
    set_name: Annotated[str, typer.Option("--set", help="The set's name in that folder")],
    router: Annotated[str, typer.Option(help="Comma-separated names")] = "knn,cluster",
    features: Annotated[str, typer.Option(help="hashed")] = "hashed",
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the figures here too")] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Fit on train, tune on valid, report on test, beside every baseline."""
    from routewright.learning.evaluate import evaluate_command

    raise typer.Exit(evaluate_command(data, set_name, router.split(","), features, json_out, seed))


@cli.command()
def route(
    query: Annotated[str, typer.Argument(help="A prompt")],
    config: ConfigOption = None,
    name: Annotated[str, typer.Option("--route", help="The route to ask")] = "auto",
    quality: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="The dial")] = None,
    data_dir: DataDirOption = Path(".data"),
) -> None:
    """Show where a prompt would go and why, without sending it."""
    from routewright.explain import print_decision

    raise typer.Exit(print_decision(query, config or _config_from_environment(), name, quality, data_dir))


@cli.command()
def usage(
    data_dir: DataDirOption = Path(".data"),
    as_json: Annotated[bool, typer.Option("--json", help="For programs")] = False,
) -> None:
    """Totals by key and model, from the journal."""
    from routewright.record.usage import print_usage

    raise typer.Exit(print_usage(data_dir / "journal", as_json=as_json))


def _fail(message: str) -> NoReturn:
    typer.echo(f"routewright: {message}", err=True)
    raise typer.Exit(2)


def main() -> None:
    """The `routewright` command."""
    cli()
