"""Generation by a remote model: any OpenAI-compatible endpoint, vLLM's among them.

Requests run side by side, a bounded number of them. What a busy or stumbling server refuses is asked again, later and
later. The key comes from the environment, and goes into the request's header and nowhere else.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.errors import GenerateError, MissingExtra, NoLikelihoodError, SkippedError
from tunesmith.files import canonical_json
from tunesmith.generate import (
    Completion,
    Continuation,
    Likelihood,
    OnCompletion,
    OnLikelihoods,
    Prompt,
    Sampling,
    Window,
)
from tunesmith.generate.endpoint import KEY_VARIABLE, Endpoint, api_key
from tunesmith.generate.wire import completion_from, request_for

if TYPE_CHECKING:
    import httpx

AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)
"""HTTP statuses that another try may change."""
ATTEMPTS = 7
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 60.0
TIMEOUT_SECONDS = 300.0


class RemoteGenerator:
    """A model behind an endpoint. Greedy and seeded; whether the same comes back twice is the server's business."""

    def __init__(
        self, endpoint: Endpoint, *, requests: int = 8, first_wait_seconds: float = FIRST_WAIT_SECONDS
    ) -> None:
        self.endpoint = endpoint
        self.digest = endpoint.digest
        self.engine = endpoint.engine
        self.requests = requests
        self.first_wait_seconds = first_wait_seconds

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_done: OnCompletion | None = None
    ) -> list[Completion]:
        if any(prompt.begun for prompt in prompts):
            raise SkippedError(f"{self.digest}: an endpoint of this kind does not go on behind a begun answer")
        return asyncio.run(self._generate(prompts, sampling, on_done))

    def log_likelihood(
        self,
        prompts: Sequence[Prompt],
        continuations: Sequence[Sequence[Continuation]],
        window: Window | None = None,
        on_done: OnLikelihoods | None = None,
    ) -> list[tuple[Likelihood, ...]]:
        raise NoLikelihoodError(
            f"{self.digest}: an endpoint of this kind does not tell the log-likelihood of given texts. Take a scorer "
            "that reads answers (exact, contains, number, label ...), or evaluate the weights on this machine"
        )

    async def _generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_done: OnCompletion | None
    ) -> list[Completion]:
        found: dict[int, Completion] = {}
        waiting = iter(range(len(prompts)))

        async def work(client: "httpx.AsyncClient") -> None:
            for index in waiting:
                found[index] = await self._answer(client, prompts[index], sampling)
                if on_done:
                    on_done(index, found[index])

        async with _client(self.endpoint.url) as client:
            workers = [asyncio.create_task(work(client)) for _ in range(min(self.requests, len(prompts)))]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        return [found[index] for index in range(len(prompts))]

    async def _answer(self, client: "httpx.AsyncClient", prompt: Prompt, sampling: Sampling) -> Completion:
        path, body = request_for(self.endpoint.model, prompt, sampling)
        answer = await self._post(client, path, body)
        found = completion_from(answer)
        if found is None:
            raise GenerateError(
                f"{self.endpoint.url}{path}: this is no answer in OpenAI's form: {canonical_json(answer)[:200]}. "
                "Is it an OpenAI-compatible address, with its /v1?"
            )
        return found

    async def _post(self, client: "httpx.AsyncClient", path: str, body: dict[str, Any]) -> Any:
        """The answer's JSON, after as many tries as it takes, or GenerateError."""
        import httpx

        trouble = ""
        for attempt in range(ATTEMPTS):
            asked_to_wait = 0.0
            try:
                response = await client.post(f"{self.endpoint.url}{path}", json=body)
            except httpx.TransportError as error:  # no connection, no answer in time
                trouble = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            else:
                if response.is_success:
                    return _json(response)
                trouble = f"HTTP {response.status_code}: {_said(response, self.endpoint.url)}"
                if response.status_code == 400 and "max_completion_tokens" in trouble and "max_tokens" in body:
                    body = {**body, "max_completion_tokens": body["max_tokens"]}  # newer models want this name
                    del body["max_tokens"]
                    continue
                if response.status_code not in AGAIN:
                    raise GenerateError(self._refused(path, response.status_code, trouble))
                asked_to_wait = _seconds(response.headers)
            if attempt + 1 < ATTEMPTS:
                await asyncio.sleep(self._wait_seconds(attempt, asked_to_wait))
        raise GenerateError(
            f"{self.endpoint.url}{path}: no answer after {ATTEMPTS} tries ({trouble}). What was answered before is "
            "kept: run the same command again when the server is well, with fewer requests at once if it is "
            "overloaded: --set evaluate.remote_requests=1"
        )

    def _wait_seconds(self, attempt: int, asked: float) -> float:
        """Twice as long each time, or as long as the server asks, at most a minute; spread, so that not all come back
        at once."""
        own = self.first_wait_seconds * 2.0**attempt * random.uniform(0.7, 1.3)
        return min(LONGEST_WAIT_SECONDS, max(own, asked))

    def _refused(self, path: str, status: int, trouble: str) -> str:
        hints = {
            401: f"put the right key into the environment variable {KEY_VARIABLE}",
            403: f"the key in the environment variable {KEY_VARIABLE} may not use this model",
            404: f"is the model named {self.endpoint.model!r} there, and does the address end where its /v1 does?",
        }
        return f"{self.endpoint.url}{path} refuses: {trouble}. {hints.get(status, 'Mend the request or the server')}"


def _client(url: str) -> "httpx.AsyncClient":
    try:
        import httpx
    except ImportError as error:
        raise MissingExtra("httpx", "remote", "asking a remote model") from error
    key = api_key(url)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # A redirect is not followed: it could carry the key elsewhere.
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=False, limits=limits)


def _json(response: "httpx.Response") -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text


def _said(response: "httpx.Response", url: str) -> str:
    """The server's own words, shortened; a key that it repeats is left out."""
    found = _json(response)
    error = found.get("error", found) if isinstance(found, dict) else found
    text = str(error.get("message", error) if isinstance(error, dict) else error)
    key = api_key(url)
    text = text.replace(key, "(the key)") if key else text
    return " ".join(text.split())[:300] or "no message"


def _seconds(headers: Mapping[str, str]) -> float:
    """How long the server asks to wait: `Retry-After` in seconds; a date there counts as nothing."""
    value = headers.get("retry-after", "")
    return float(value) if value.replace(".", "", 1).isdigit() else 0.0
