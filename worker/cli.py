"""The command line: one function a command; the only place where exceptions become exit codes.

Nothing heavy is imported here: each command imports what it needs, so that `--help`, `status` and
`schema` answer at once.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from worker import __version__
from worker.errors import ExitCode, UsageError, WorkerError, WorldError
from worker.streams import drop_unwritable_output, replace_closed_streams, say

if TYPE_CHECKING:
    from worker.settings import Settings


NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (see `ExitCode`)."""
    replace_closed_streams()
    try:
        return _guarded(arguments)
    finally:
        drop_unwritable_output()


def _guarded(arguments: Sequence[str] | None) -> int:
    """Run one command; what it raises becomes a sentence on stderr and an exit code."""
    try:
        try:
            return _obey(arguments)
        finally:
            sys.stdout.flush()  # whether what was printed arrived is part of the command
    except WorkerError as error:
        say(f"digit-worker: {error}")
        return error.exit_code
    except WorldError as fault:
        say(f"digit-worker: {fault}")
        return ExitCode.FINDINGS
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.FINE  # whoever read our output has seen enough (`| head`)
    except OSError as fault:
        if fault.errno in NOT_ALLOWED and fault.filename is not None:
            say(
                f"digit-worker: {fault.filename}: {fault.strerror}."
                " Run it as a user who may, or name another place."
            )
            return ExitCode.FINDINGS
        if fault.errno not in NO_ROOM:
            return _confess()
        say(f"digit-worker: the output is not complete: {fault.strerror}. Make room, and run it again.")
        return ExitCode.FINDINGS
    except Exception:
        return _confess()


def _confess() -> int:
    """Print what nobody foresaw, and ask for a report."""
    import traceback

    say(
        f"{traceback.format_exc()}"
        f"digit-worker {__version__}: this is a bug; please report it with the lines above."
    )
    return ExitCode.BUG


def _obey(arguments: Sequence[str] | None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int] | None = getattr(options, "command", None)
    if command is None:
        parser.print_help()
        return ExitCode.USAGE
    return int(command(options))


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands and their options."""
    parser = argparse.ArgumentParser(
        prog="digit-worker",
        description="Reads scanned handwritten digits: pictures in, JSON records and annotated pictures out.",
        epilog="Exit codes: 0 fine; 1 some inputs failed, findings, no worker running; 2 usage or configuration;"
        " 3 model; 4 folders; 5 another worker owns them; 70 a bug; 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"digit-worker {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    def add_config(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--config", type=Path, metavar="FILE", help="configuration file (default: ./config.yaml)"
        )

    def add_engine(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--engine", choices=("tensorflow", "litert"), help="default: what the configuration says"
        )

    sub = add("run", run, "Watch the inbox and answer what is dropped there, until SIGTERM.")
    add_config(sub)
    add_engine(sub)
    sub.add_argument(
        "--once", action="store_true", help="read what is there, wait for what still settles, end"
    )

    sub = add("predict", predict, "Read files or folders now; nothing is moved.")
    sub.add_argument("paths", nargs="+", metavar="PATH", help="a picture, or a folder to walk through")
    sub.add_argument("--model", type=Path, metavar="BUNDLE_OR_KERAS", help="a model bundle or a .keras file")
    sub.add_argument(
        "--output", type=Path, metavar="DIR", help="write records and annotated pictures there, too"
    )
    sub.add_argument("--json", action="store_true", help="JSON lines also on a terminal")
    sub.add_argument(
        "--expect", metavar="RULE", help="what the pictures shall say, as in config.yaml: '{digits: 4-6}'"
    )
    add_engine(sub)
    add_config(sub)

    sub = add("train", train, "Make a model bundle.")
    sub.add_argument("--data", type=Path, metavar="FILE", help="MNIST as .npz (default: Keras' own download)")
    sub.add_argument(
        "--preset",
        default="digits",
        help="digits, mlp or mlp-dropout; transcriber adds the reader of lines to the bundle --output"
        " (default: digits)",
    )
    sub.add_argument("--output", type=Path, required=True, metavar="DIR", help="the bundle's folder")
    sub.add_argument("--seed", type=int, default=1, help="for everything that chance decides (default: 1)")
    sub.add_argument("--epochs", type=float, help="default: what the preset says")
    sub.add_argument(
        "--further", action="store_true",
        help="the networks of the bundle --output learn on where they stopped, over what is newly drawn",
    )  # fmt: skip

    sub = add("evaluate", evaluate, "Measure a model on labelled pictures: accuracy, calibration, refusal.")
    sub.add_argument("--model", type=Path, metavar="BUNDLE_OR_KERAS", help="a model bundle or a .keras file")
    sub.add_argument(
        "--data", type=Path, required=True, metavar="PATH",
        help="a labelled .npz, or a folder with labels.csv, labels.json, or one sub-folder a label",
    )  # fmt: skip
    sub.add_argument(
        "--through", choices=("pages", "boxes", "tiles"),
        help="whole pictures, digits cut by their boxes, or tiles (default: what suits the data)",
    )  # fmt: skip
    sub.add_argument(
        "--against", type=Path, metavar="PATH", help="take digits from here to hold outliers against"
    )
    sub.add_argument(
        "--output", type=Path, metavar="DIR", help="write figures, plots and a page to read there"
    )
    sub.add_argument("--json", action="store_true", help="print all figures as JSON")
    add_engine(sub)
    add_config(sub)

    sub = add(
        "convert", convert,
        "Make a bundle of a .keras file, or of an .h5 file or SavedModel folder that you trust;"
        " or give a bundle its LiteRT form.",
    )  # fmt: skip
    sub.add_argument(
        "old", type=Path, metavar="OLD",
        help="the file or folder; loading an .h5 file or a SavedModel runs its code",
    )  # fmt: skip
    sub.add_argument(
        "--output", type=Path, metavar="DIR", help="the new bundle's folder (default for a bundle: itself)"
    )
    sub.add_argument("--data", type=Path, metavar="FILE", help="MNIST as .npz, to measure it on")

    sub = add("status", status, "Show what the running worker does.")
    add_config(sub)
    sub.add_argument("--json", action="store_true", help="as JSON")

    sub = add("doctor", doctor, "Find what is wrong with this installation, and how to mend it.")
    add_config(sub)
    sub.add_argument(
        "--audit",
        action="store_true",
        help="hold inbox, outbox, originals and log against each other instead",
    )
    sub.add_argument("--json", action="store_true", help="as JSON")

    sub = add("retry", retry, "Put originals of failed or reviewed pictures back into the inbox.")
    sub.add_argument("names", nargs="*", metavar="NAME", help="as in source.name (default: all of them)")
    sub.add_argument("--dry-run", action="store_true", help="only say what would be put back")
    add_config(sub)

    sub = add("export", export, "Print the records of the outbox as one table.")
    sub.add_argument("--format", choices=("csv", "jsonl"), default="csv", help="default: csv")
    sub.add_argument(
        "--since", metavar="TIME", help="only what was finished since, e.g. 2026-11-20 or 2026-11-20T08:00Z"
    )
    sub.add_argument(
        "--output", type=Path, metavar="FILE", help="write to a file that spreadsheets open well"
    )
    add_config(sub)

    sub = add("service", service, "Print, install or uninstall the systemd unit for this installation.")
    sub.add_argument("action", choices=("print", "install", "uninstall"), help="what to do with the unit")
    sub.add_argument(
        "--config", type=Path, metavar="FILE",
        help="the service's configuration; made where there is none (default: /etc/digit-worker/config.yaml)",
    )  # fmt: skip
    sub.add_argument(
        "--folder", type=Path, metavar="DIR",
        help="where a new configuration puts inbox and outbox (default: /srv/digit-worker)",
    )  # fmt: skip
    sub.add_argument("--user", action="store_true", help="a service of your own, in your home folder")
    sub.add_argument(
        "--account", default="digit-worker", metavar="NAME", help="who runs it (default: digit-worker)"
    )
    sub.add_argument(
        "--group", metavar="NAME", help="who may drop and take files (default: the account's name)"
    )
    sub.add_argument("--now", action="store_true", help="install: also enable and start it")
    sub.add_argument("--dry-run", action="store_true", help="only say what would be done")

    add("schema", schema, "Print the JSON Schema of a record.")
    return parser


# --- the commands ---------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> int:
    """Watch the inbox until SIGTERM; with --once, until it is empty."""
    from worker.logs import configure_logs
    from worker.service.daemon import run_worker
    from worker.service.native import native_words_kept_apart

    settings = _with_engine(_settings(options), options)
    configure_logs(settings.log_level, settings.log_format)
    with native_words_kept_apart(os.environ) as native_words:
        return run_worker(
            settings,
            once=options.once,
            read_settings=lambda: _settings(options),
            on_heartbeat=native_words.tidy,
        )


def predict(options: argparse.Namespace) -> int:
    """Read files or folders now; records on stdout."""
    from worker.prediction import find_inputs, predict_inputs

    inputs = find_inputs(options.paths)
    settings = _settings_or_shipped(options)
    if options.model is not None:
        settings = settings.model_copy(update={"model": options.model})
    if options.expect is not None:
        from worker.settings import parse_expect

        settings = settings.model_copy(update={"expect": parse_expect(options.expect)})
    settings = _with_engine(settings, options)
    as_table = sys.stdout.isatty() and not options.json
    return predict_inputs(inputs, settings, output=options.output, as_table=as_table)


def _train_transcriber(options: argparse.Namespace) -> int:
    """Give the bundle `--output` a transcriber."""
    from worker.recognition.card import files_of
    from worker.training.recipe import train_lines

    summary = train_lines(options.data, options.output, seed=options.seed, epochs=options.epochs)
    print(
        f"transcriber: {summary.parameters:,} parameters, {summary.multiply_adds:,} multiply-adds a window,"
        f" {summary.duration_s:.0f} s; {summary.chosen_on}"
    )
    print(f"written to {options.output}: {', '.join(files_of(summary.bundle.card))}")
    return ExitCode.FINE


def _train_further(options: argparse.Namespace) -> int:
    """Let the networks of the bundle `--output` learn on."""
    from worker.recognition.card import files_of
    from worker.training.further import train_further

    if options.preset != "digits":
        raise UsageError(
            "--further goes with the preset digits alone: it trains both networks of the bundle --output."
        )
    bundle = train_further(options.data, options.output, seed=options.seed, epochs=options.epochs)
    found = [
        f"{name}: {figures['accuracy']:.2%} right"
        for name, figures in bundle.card.metrics.items()
        if "accuracy" in figures
    ]
    print(f"{bundle.card.name}, further: {'; '.join(found)}")
    print(f"written to {options.output}: {', '.join([*files_of(bundle.card), 'curves.png'])}")
    return ExitCode.FINE


def train(options: argparse.Namespace) -> int:
    """Make a model bundle from MNIST, and for the preset `digits` from what the pen draws as well."""
    from worker.recognition.card import files_of
    from worker.training.recipe import train_digits
    from worker.training.trainer import train as train_preset

    if options.further:
        return _train_further(options)
    if options.preset == "transcriber":
        return _train_transcriber(options)
    if options.preset == "digits":
        summary = train_digits(options.data, options.output, seed=options.seed, epochs=options.epochs)
    else:
        summary = train_preset(
            options.preset, options.data, options.output, seed=options.seed, epochs=options.epochs
        )
    print(
        f"{summary.preset}: {summary.test_accuracy:.2%} of MNIST's test tiles right"
        f" ({summary.test_errors} of {summary.test_tiles:,} wrong), {summary.parameters:,} parameters,"
        f" {summary.multiply_adds:,} multiply-adds a tile, {summary.epochs:g} epochs in {summary.duration_s:.0f} s"
    )
    files = ", ".join([*files_of(summary.bundle.card), "curves.png"])
    print(f"written to {options.output}: {files}")
    return ExitCode.FINE


def evaluate(options: argparse.Namespace) -> int:
    """Measure a model on labelled pictures."""
    import shlex

    from worker.training.evaluation import evaluate as measure

    settings = _settings_or_shipped(options)
    if options.model is not None:
        settings = settings.model_copy(update={"model": options.model})
    settings = _with_engine(settings, options)
    command = shlex.join(["digit-worker", *sys.argv[1:]])
    return measure(
        options.data, settings, way=options.through, against=options.against,
        output=options.output, as_json=options.json, command=command,
    )  # fmt: skip


def convert(options: argparse.Namespace) -> int:
    """Make a bundle of what another program saved, or give a bundle its LiteRT form."""
    from worker.recognition.card import files_of
    from worker.training.conversion import convert as convert_model

    bundle = convert_model(options.old, options.output, options.data)
    print(f"written to {bundle.path}: {', '.join(files_of(bundle.card))}")
    return ExitCode.FINE


def status(options: argparse.Namespace) -> int:
    """Show what the running worker does; 1 when none is running."""
    from worker.service.health import show_status

    return show_status(_settings(options), as_json=options.json)


def doctor(options: argparse.Namespace) -> int:
    """Check the installation; 1 when something has to be mended."""
    if options.audit:
        from worker.service.audit import show_audit

        return show_audit(_settings(options), as_json=options.json)
    from worker.service.doctor import show_findings

    return show_findings(_settings(options), as_json=options.json)


def retry(options: argparse.Namespace) -> int:
    """Put originals back into the inbox, to be answered anew."""
    from worker.delivery.retrial import retry as put_back

    settings = _settings(options)
    return put_back(settings.inbox, settings.outbox, options.names, dry_run=options.dry_run)


def export(options: argparse.Namespace) -> int:
    """Print the records of the outbox as one table."""
    from worker.delivery.table import export as export_table

    settings = _settings(options)
    return export_table(settings.outbox, options.format, since=options.since, output=options.output)


def service(options: argparse.Namespace) -> int:
    """Print, install or uninstall the systemd unit for this installation."""
    from worker.service import installation

    wish = installation.Wish(
        of_user=options.user,
        config=options.config,
        folder=options.folder,
        account=options.account,
        group=options.group or options.account,
        now=options.now,
        dry_run=options.dry_run,
    )
    places = installation.Places.of_user(os.environ) if options.user else installation.Places.of_system()
    if options.action == "print":
        return installation.print_unit(wish, places, os.environ)
    machine = installation.ThisMachine()
    if options.action == "install":
        return installation.install(wish, places, machine, os.environ)
    return installation.uninstall(wish, places, machine)


def schema(options: argparse.Namespace) -> int:
    """Print the JSON Schema of a record."""
    import json

    from worker.delivery.records import json_schema

    print(json.dumps(json_schema(), indent=2))
    return ExitCode.FINE


# --- which configuration --------------------------------------------------------------------------


def _config_file(options: argparse.Namespace) -> Path:
    from worker.settings import CONFIG_VARIABLE

    if options.config is not None:
        return Path(options.config)
    return Path(os.environ.get(CONFIG_VARIABLE) or "config.yaml")


def _settings(options: argparse.Namespace) -> Settings:
    from worker.settings import load_settings

    return load_settings(_config_file(options), os.environ)


def _with_engine(settings: Settings, options: argparse.Namespace) -> Settings:
    """The settings with the engine of the command line, where one is named there."""
    if options.engine is None:
        return settings
    return settings.model_copy(update={"engine": options.engine})


def _settings_or_shipped(options: argparse.Namespace) -> Settings:
    """The configuration where there is one; predict works without, with what is shipped."""
    from worker.settings import CONFIG_VARIABLE, load_settings, shipped_settings
    from worker.shipped import shipped_folder

    config = _config_file(options)
    if options.config is None and CONFIG_VARIABLE not in os.environ and not config.exists():
        return shipped_settings(shipped_folder(), os.environ)
    return load_settings(config, os.environ)
