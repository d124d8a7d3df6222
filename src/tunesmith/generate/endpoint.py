"""The name of a remote model, `openai:NAME@URL` or `vllm:NAME@URL`, and the key that opens it."""

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from tunesmith.errors import ConfigError
from tunesmith.files import fingerprint

KINDS = ("openai", "vllm")
KEY_VARIABLE, OPENAI_VARIABLE, OPENAI_HOST = "TUNESMITH_API_KEY", "OPENAI_API_KEY", "api.openai.com"
SPELLING = re.compile(r"(?P<kind>openai|vllm):(?P<model>.+)@(?P<url>https?://[^@\s]+)")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind an OpenAI-compatible address, such as http://localhost:8000/v1."""

    kind: str
    model: str
    url: str

    @property
    def digest(self) -> str:
        """A name, for the weights behind an address cannot be seen: whoever serves them may change them."""
        return f"{self.kind}:{self.model}@{self.url}"

    @property
    def engine(self) -> str:
        """The report's line: who answers, and what is known of its determinism."""
        if self.kind == "vllm":
            return f"vLLM at {self.url}, batch-invariant where its server was started with VLLM_BATCH_INVARIANT=1"
        return f"OpenAI-compatible endpoint at {self.url}, seeded, determinism unknown"

    @property
    def mark(self) -> str:
        """Names its answers in the ledger."""
        return fingerprint(["remote", self.digest])


def is_remote(name: str) -> bool:
    """Whether a model's name is one of a remote model."""
    return name.partition(":")[0] in KINDS and "@" in name


def endpoint_from(name: str) -> Endpoint:
    """Read `openai:NAME@URL`; raises ConfigError where it is spelled otherwise."""
    match = SPELLING.fullmatch(name.strip())
    parts = urlsplit(match["url"]) if match else None
    if match is None or parts is None or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(
            f"{name!r} names no remote model; spell it KIND:NAME@URL with KIND {' or '.join(KINDS)}, such as "
            "openai:gpt-4.1-mini@https://api.openai.com/v1 or vllm:my-model@http://localhost:8000/v1"
        )
    return Endpoint(match["kind"], match["model"], match["url"].rstrip("/"))


def api_key(url: str) -> str | None:
    """The key from the environment: TUNESMITH_API_KEY; OPENAI_API_KEY for OpenAI's own address and no other."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key and urlsplit(url).hostname == OPENAI_HOST:
        key = os.environ.get(OPENAI_VARIABLE, "").strip()
    return key or None
