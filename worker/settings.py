"""config.yaml and the environment, checked as a whole, become one frozen Settings."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError

from worker.errors import ConfigurationError
from worker.expectation import Expectations, parse_expectations
from worker.shipped import MODEL, shipped_folder

PREFIX = "DIGIT_WORKER_"
CONFIG_VARIABLE = PREFIX + "CONFIG"  # which file to read; no key of it
_PATHS = ("inbox", "outbox", "model")
_METRICS_WORDS = ("auto", "none")  # values of metrics_file that are no path

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Interval = Annotated[float, Field(gt=0, le=86_400)]
Days = Annotated[float, Field(gt=0, le=36_500)]
Megabytes = Annotated[float, Field(gt=0, le=1e9)]


class Settings(BaseModel):
    """Everything the worker can be told; every key has the shipped value as its default.

    Paths are absolute after loading. Times are in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    # Where things are
    inbox: Path = Path("inbox")
    outbox: Path = Path("outbox")
    model: Path = Path("models/digits")

    # Which files are ready
    watch: Literal["auto", "inotify", "polling"] = "auto"
    poll_interval_s: Interval = 1.0
    rescan_s: Interval = 30.0
    settle_s: Seconds = 0.5
    incomplete_after_s: Seconds = 30.0
    ignore: tuple[str, ...] = ()
    max_file_mb: Annotated[float, Field(gt=0, le=2_000)] = 50.0
    max_megapixels: Annotated[float, Field(gt=0, le=268)] = 100.0

    # How pictures are read
    engine: Literal["tensorflow", "litert"] = "tensorflow"
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 256
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    helpers: Annotated[int, Field(ge=0, le=64)] | Literal["auto"] = "auto"
    accept_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    digit_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    expect: Annotated[Expectations, PlainValidator(parse_expectations)] | None = None

    trial_limit_s: Annotated[float, Field(gt=0, le=3_600)] = 60.0

    # What comes out
    annotate: Literal["all", "review", "none"] = "all"
    annotated_max_side_px: Annotated[int, Field(ge=200, le=10_000)] = 1000
    durability: Literal["full", "none"] = "full"

    # What is said
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"
    heartbeat_s: Interval = 2.0
    metrics_file: Annotated[str, Field(min_length=1)] = "auto"
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0

    # What is kept
    keep_done_days: Days | None = None
    keep_done_mb: Megabytes | None = None
    keep_failed_days: Days | None = None
    keep_failed_mb: Megabytes | None = None

    @property
    def metrics_path(self) -> Path | None:
        """Where the figures for Prometheus are written, or None where they are not."""
        if self.metrics_file == "auto":
            return self.outbox / ".digit-worker" / "metrics.prom"
        return None if self.metrics_file == "none" else Path(self.metrics_file)

    @property
    def reader_threads(self) -> int:
        """How many threads decode and draw; 0 in the file means one for each processor."""
        return self.threads or len(os.sched_getaffinity(0))

    @property
    def most_helpers(self) -> int:
        """How many processes may help to read; `auto` means one for each further processor, at most three."""
        return min(3, len(os.sched_getaffinity(0)) - 1) if self.helpers == "auto" else self.helpers


def load_settings(config: Path, environment: Mapping[str, str]) -> Settings:
    """The settings of the file `config`, overridden by `environment`; every mistake named at once.

    Relative paths of the file are relative to its folder, those of the environment to the working
    directory. Raises ConfigurationError (exit code 2).
    """
    try:
        text = config.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{config}: there is no such configuration file. Name it with --config FILE, or start where"
            " config.yaml lies."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{config}: cannot be read: {error}") from None
    values, problems = _parse(config, text)
    overrides, unknown = _overrides(environment)
    sources = dict.fromkeys(values, str(config)) | {key: PREFIX + key.upper() for key in overrides}
    for name in unknown:
        problems.append(f"{name}: unknown variable{_suggestion(name.removeprefix(PREFIX).lower())}")
    base = config.absolute().parent
    defaults = {key: str(Settings.model_fields[key].default) for key in _PATHS}
    if not (base / defaults["model"]).exists():
        # An installed program brings its model along; a checkout has it beside its configuration.
        defaults["model"] = str(shipped_folder() / MODEL)
    values = _resolved(defaults | values, base) | _resolved(overrides, Path.cwd())
    return _checked(values, sources, problems, config)


def shipped_settings(root: Path, environment: Mapping[str, str]) -> Settings:
    """The defaults, with paths below `root`, for commands that need no configuration file."""
    overrides, _ = _overrides(environment)
    defaults = _resolved({key: str(Settings.model_fields[key].default) for key in _PATHS}, root)
    return _checked(defaults | _resolved(overrides, Path.cwd()), {}, [], root)


def parse_expect(text: str) -> Expectations:
    """The rules that `text`, written as in the file, means. Raises ConfigurationError (exit code 2)."""
    try:
        return parse_expectations(yaml.load(text, Loader=_UniqueKeys))  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(f"--expect {text!r}: {error}") from None


def _parse(config: Path, text: str) -> tuple[dict[str, Any], list[str]]:
    try:
        values = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader that also refuses double keys
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{config}: is not valid YAML: {error}") from None
    if values is None:
        return {}, []
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigurationError(f"{config}: must hold keys and values, like `inbox: inbox`.")
    # A key without a value means its default, as in most programs.
    given = {key: value for key, value in values.items() if value is not None}
    known = {key: value for key, value in given.items() if key in Settings.model_fields}
    unknown = [key for key in values if key not in Settings.model_fields]
    return known, [f"{key}: unknown key{_suggestion(key)}" for key in unknown]


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets the last of two equal keys win silently; a person who wrote both meant something else."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a word", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands here a second time", key_node.start_mark
                )
            seen.add(key)
        return dict(super().construct_mapping(node, deep))


def _overrides(environment: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """What the environment says, each value read as YAML, and the variables that name no key."""
    known: dict[str, Any] = {}
    unknown = []
    for name, raw in environment.items():
        if not name.startswith(PREFIX) or name == CONFIG_VARIABLE:
            continue
        key = name.removeprefix(PREFIX).lower()
        if key not in Settings.model_fields:
            unknown.append(name)
        elif key in _PATHS:
            known[key] = raw
        else:
            try:
                known[key] = yaml.safe_load(raw)
            except yaml.YAMLError:
                known[key] = raw
    return known, unknown


def _resolved(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    resolved = dict(values)
    for key in _PATHS:
        if isinstance(resolved.get(key), str) and resolved[key]:
            resolved[key] = Path(os.path.abspath(base / Path(resolved[key]).expanduser()))
    metrics = resolved.get("metrics_file")
    if isinstance(metrics, str) and metrics and metrics not in _METRICS_WORDS:
        resolved["metrics_file"] = os.path.abspath(base / Path(metrics).expanduser())
    return resolved


def _checked(
    values: dict[str, Any], sources: Mapping[str, str], problems: list[str], config: Path
) -> Settings:
    good: dict[str, Any] = {}
    for key, value in values.items():
        wrong = _wrong(key, value)
        if wrong is None:
            good[key] = value
        else:
            problems.append(f"{_named(key, sources)} = {value!r}: {wrong}")
    settings = Settings(**good)
    problems += _impossible(settings, set(values) - set(good))
    if problems:
        listing = "\n".join(f"  - {problem}" for problem in problems)
        raise ConfigurationError(f"{config}: {len(problems)} mistake{'s' * (len(problems) > 1)}:\n{listing}")
    return settings


def _wrong(key: str, value: object) -> str | None:
    """What is wrong with one value by itself, in words; None if nothing is."""
    if key in _PATHS and value == "":
        return "must name a path"
    # YAML's `true` is no number and no text, whatever Python thinks of it.
    if isinstance(value, bool):
        return "true and false mean nothing here"
    field = Settings.model_fields[key]
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        said = "; ".join(sorted({detail["msg"].removeprefix("Value error, ") for detail in error.errors()}))
        return said[:1].lower() + said[1:]
    return None


def _impossible(settings: Settings, bad: set[str]) -> list[str]:
    """Combinations that cannot work, told only of keys that are right by themselves."""
    problems = []
    if not bad & {"inbox", "outbox"}:
        inbox, outbox = _real(settings.inbox), _real(settings.outbox)
        if inbox == outbox:
            problems.append(f"inbox and outbox are the same folder ({inbox}): give each one of its own")
        elif outbox.is_relative_to(inbox):
            problems.append(f"outbox ({outbox}) lies inside inbox ({inbox}): put it beside, not below")
        elif inbox.is_relative_to(outbox):
            problems.append(f"inbox ({inbox}) lies inside outbox ({outbox}): put it beside, not below")
        if "model" not in bad:
            model = _real(settings.model)
            for name, folder in (("inbox", inbox), ("outbox", outbox)):
                if model.is_relative_to(folder):
                    problems.append(f"model ({model}) lies inside {name} ({folder}): put it elsewhere")
    return problems


def _real(path: Path) -> Path:
    """The path without symbolic links, so that a link does not hide one folder in another."""
    return Path(os.path.realpath(path))


def _named(key: str, sources: Mapping[str, str]) -> str:
    source = sources.get(key, "")
    return f"{source} ({key})" if source.startswith(PREFIX) else key


def _suggestion(key: str) -> str:
    close = difflib.get_close_matches(key, Settings.model_fields, n=1)
    if close:
        return f"; did you mean `{close[0]}`?"
    return "; the keys are listed in docs/reference/configuration.md"
