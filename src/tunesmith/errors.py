"""Everything tunesmith raises on purpose.

    TunesmithError
    ├── ConfigError        a recipe, a --set or a combination of fields that cannot work   (ValueError)
    ├── DataError          a file, line or record that cannot become a conversation        (ValueError)
    ├── RenderError        a template, tokenizer or conversation that cannot be tokenized  (ValueError)
    │   ├── MaskError      what is trained cannot be proven; has a `name` for each cause
    │   └── TemplateRefusal a chat template refuses a conversation, in its own words
    ├── ModelError         a model name, folder or download that cannot be loaded
    ├── TrainError         training cannot start or go on (NaN loss, nothing supervised)
    ├── EvaluateError      a golden set, scorer or report that cannot be used
    ├── SkippedError       a task cannot be measured here; it is shown as SKIPPED, never counted as wrong
    ├── GenerateError      a ledger, engine or endpoint that cannot answer
    ├── PoolError          a pool entry, alias or promotion that is refused
    ├── MissingExtra       an optional dependency is not installed                          (ImportError)
    └── Interrupted        the person pressed Ctrl-C; the message says how to go on

Each error says what was seen, what is accepted, and how to mend it. The command line prints the message without
a traceback. To add one: name it after the stage that raises it, put it into the tree above, and inherit the
standard-library error it refines, so that callers may catch either.
"""


class TunesmithError(Exception):
    """The root: catch this to catch everything tunesmith raises on purpose."""


class ConfigError(TunesmithError, ValueError):
    """A recipe, a `--set` or a combination of fields that cannot work."""


class DataError(TunesmithError, ValueError):
    """A file, line or record that cannot become a conversation."""


class RenderError(TunesmithError, ValueError):
    """A template, tokenizer or conversation that cannot be turned into tokens with a proven mask."""


class MaskError(RenderError):
    """What would be trained cannot be proven.

    `name` says why in one word, so that programs can tell the causes apart; `readings` are the two texts that should
    agree, where there are two.
    """

    def __init__(self, name: str, message: str, readings: tuple[str, str] | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.readings = readings


class TemplateRefusal(RenderError):
    """A chat template refuses a conversation; the text carries its own message."""


class ModelError(TunesmithError):
    """A model name, folder or download that cannot be loaded."""


class TrainError(TunesmithError):
    """Training cannot start or go on."""


class EvaluateError(TunesmithError, ValueError):
    """A golden set, scorer or report that cannot be used."""


class SkippedError(TunesmithError):
    """A task cannot be measured on this machine, with the reason: a scorer raises it, the whole task is SKIPPED."""


class GenerateError(TunesmithError):
    """A ledger, engine or endpoint that cannot answer."""


class NoLikelihoodError(GenerateError):
    """An engine that does not tell the log-likelihood of given texts."""


class PoolError(TunesmithError):
    """A pool entry, alias or promotion that is refused."""


class MissingExtra(TunesmithError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Install it with: pip install 'tunesmith[{extra}]'"
        )


class Interrupted(TunesmithError):
    """The person pressed Ctrl-C; everything done so far is on disk and the message says how to go on."""
