"""Remote models, against a server on this machine that answers, stumbles and refuses."""

import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from tunesmith.cli import app
from tunesmith.errors import ConfigError, GenerateError, SkippedError
from tunesmith.files import read_json
from tunesmith.generate import Completion, Prompt, Sampling
from tunesmith.generate.endpoint import Endpoint, api_key, endpoint_from, is_remote
from tunesmith.generate.ledger import Ledger, Recorded
from tunesmith.generate.remote import RemoteGenerator
from tunesmith.generate.wire import completion_from
from tunesmith.types import Message, ToolCall
from tunesmith.verify.calls import tool_call

KEY = "sk-very-secret-123"


class Server:
    """Answers with what `reply(body)` gives: (status, JSON or text[, headers]). Notes each request."""

    def __init__(self):
        self.reply = said
        self.requests = []
        self.at_once = self.most_at_once = 0
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    server.requests.append((self.path, body, dict(self.headers)))
                    server.at_once += 1
                    server.most_at_once = max(server.most_at_once, server.at_once)
                status, found, *more = server.reply(body)
                with lock:
                    server.at_once -= 1
                raw = (found if isinstance(found, str) else json.dumps(found)).encode()
                self.send_response(status)
                for name, value in {**(more[0] if more else {}), "content-length": str(len(raw))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def generator(self, **options):
        return RemoteGenerator(Endpoint("openai", "small", self.url), first_wait_seconds=0.01, **options)


def said(body, text=None, reason="stop"):
    text = text if text is not None else f"re: {body['messages'][-1]['content']}"
    message = {"role": "assistant", "content": text}
    return 200, {"choices": [{"message": message, "finish_reason": reason}], "usage": {"completion_tokens": 3}}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("TUNESMITH_API_KEY", KEY)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def prompts(*texts):
    return [Prompt((Message("user", text),)) for text in texts]


def test_answers_come_back_in_order_whatever_the_server_does_first(server):
    def slow_first(body):
        time.sleep(0.05 if body["messages"][-1]["content"] == "0" else 0)
        return said(body)

    server.reply, told = slow_first, []
    found = server.generator(requests=3).generate(prompts(*"01234"), Sampling(9), lambda at, one: told.append(at))
    assert [each.text for each in found] == [f"re: {n}" for n in range(5)]
    assert found[0] == Completion("re: 0", (), True, None, 3) and sorted(told) == list(range(5))
    assert 1 <= server.most_at_once <= 3
    path, body, headers = server.requests[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
    assert body == {"model": "small", "max_tokens": 9, "temperature": 0.0, "seed": 0, "messages": body["messages"]}


def test_a_plain_text_is_completed_and_samples_have_seeds_of_their_own(server):
    server.reply = lambda body: (200, {"choices": [{"text": " 4, 5", "finish_reason": "length"}]})
    asked = [Prompt(text="1, 2, 3,", sample=number) for number in range(3)]
    found = server.generator(requests=1).generate(asked, Sampling(4, temperature=0.5, top_p=0.9, seed=7))
    assert found[0] == Completion(" 4, 5", (), False)
    assert {path for path, _, _ in server.requests} == {"/v1/completions"}
    assert len({body["seed"] for _, body, _ in server.requests}) == 3
    assert server.requests[0][1]["prompt"] == "1, 2, 3," and server.requests[0][1]["top_p"] == 0.9


def test_tools_go_and_calls_come_in_the_form_that_scorers_read(server):
    calls = [{"id": "x", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}]
    server.reply = lambda body: (200, {"choices": [{"message": {"content": None, "tool_calls": calls}}]})
    asked = (
        Message("user", "1 + 1, then 1 + 2"),
        Message("assistant", tool_calls=(ToolCall("add", {"a": 1, "b": 1}),)),
        Message("tool", "2", tool_call_id="call_1_0"),
    )
    (found,) = server.generator().generate([Prompt(asked, ({"name": "add", "parameters": {}},))], Sampling())
    item = {"answer": {"type": "tool_calls", "value": [{"name": "add", "arguments": {"a": 1, "b": 2}}]}}
    assert tool_call(item, found.text)[0] == 1.0
    body = server.requests[0][1]
    assert body["tools"] == [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    assert body["messages"][1]["tool_calls"][0]["id"] == body["messages"][2]["tool_call_id"]
    assert json.loads(body["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"a": 1, "b": 1}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_stumbling_server_is_asked_again(server, status):
    def stumble(body):
        return (
            said(body) if len(server.requests) > 2 else (status, {"error": {"message": "busy"}}, {"Retry-After": "0"})
        )

    server.reply = stumble
    assert server.generator().generate(prompts("a"), Sampling())[0].text == "re: a"
    assert len(server.requests) == 3


def test_a_server_that_never_recovers_is_named_and_what_it_answered_is_kept(server, tmp_path):
    server.reply = lambda body: said(body) if body["messages"][-1]["content"] == "a" else (503, "down for repairs")
    ledger = Ledger(tmp_path / "ledger.sqlite")

    def behind():
        return Recorded(lambda: server.generator(requests=1), ledger, digest="d", engine="e", mark="m")

    with pytest.raises(GenerateError, match=rf"{server.url}/chat/completions: no answer after 7 tries .*503: down for"):
        behind().generate(prompts("a", "b"), Sampling())
    server.reply, server.requests = said, []
    assert [each.text for each in behind().generate(prompts("a", "b"), Sampling())] == ["re: a", "re: b"]
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "hint"), [(401, "TUNESMITH_API_KEY"), (404, "'small'"), (400, "Mend the request")])
def test_a_refusal_is_told_at_once_and_without_the_key(server, status, hint):
    server.reply = lambda body: (status, {"error": {"message": f"not with {KEY}"}})
    with pytest.raises(GenerateError, match=rf"refuses: HTTP {status}: not with \(the key\).*{hint}") as raised:
        server.generator().generate(prompts("a"), Sampling())
    assert KEY not in str(raised.value) and len(server.requests) == 1


def test_the_newer_name_of_the_token_limit_is_taken_up(server):
    def strict(body):
        if "max_tokens" in body:
            return 400, {"error": {"message": "Unsupported parameter: use 'max_completion_tokens' instead."}}
        return said(body, f"{body['max_completion_tokens']}")

    server.reply = strict
    assert server.generator().generate(prompts("a"), Sampling(11))[0].text == "11"


def test_a_redirect_does_not_carry_the_key_away(server):
    server.reply = lambda body: (307, "", {"Location": "http://127.0.0.1:1/elsewhere"})
    with pytest.raises(GenerateError, match="HTTP 307"):
        server.generator().generate(prompts("a"), Sampling())


@pytest.mark.parametrize("answer", [{}, {"choices": []}, "<html>", {"choices": [{"message": 4}]}, [1]])
def test_another_form_of_answer_is_refused(server, answer):
    server.reply = lambda body: (200, answer)
    with pytest.raises(GenerateError, match="no answer in OpenAI's form"):
        server.generator().generate(prompts("a"), Sampling())


def test_half_a_surrogate_pair_becomes_a_text_that_files_can_hold():
    found = completion_from({"choices": [{"text": "a\ud800"}]})
    assert found.text == "a?"


def test_a_server_that_is_not_there_is_named():
    gone = RemoteGenerator(Endpoint("openai", "small", "http://127.0.0.1:9/v1"), first_wait_seconds=0.001)
    with pytest.raises(GenerateError, match=r"127\.0\.0\.1:9/v1/chat/completions: no answer after 7 tries"):
        gone.generate(prompts("a"), Sampling())


def test_a_begun_answer_is_skipped_by_name(server):
    with pytest.raises(SkippedError, match=r"openai:small@.*begun answer"):
        server.generator().generate([Prompt((Message("user", "a"),), begun="Well,")], Sampling())


def test_prices_are_refused_by_name(server):
    with pytest.raises(GenerateError, match=r"openai:small@.*log-likelihood"):
        server.generator().log_likelihood(prompts("a"), [["b"]])


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("openai:gpt-x@https://api.openai.com/v1/", Endpoint("openai", "gpt-x", "https://api.openai.com/v1")),
        ("vllm:org/model:1@http://localhost:8000/v1", Endpoint("vllm", "org/model:1", "http://localhost:8000/v1")),
        ("openai:a@b@http://host/v1", Endpoint("openai", "a@b", "http://host/v1")),
    ],
)
def test_the_spelling_of_a_remote_model(name, endpoint):
    assert is_remote(name) and endpoint_from(name) == endpoint
    assert endpoint.engine.startswith({"openai": "OpenAI-compatible", "vllm": "vLLM"}[endpoint.kind])


@pytest.mark.parametrize(
    "name", ["openai:x@ftp://host", "openai:@http://host", "vllm:x@http://h/v1?key=1", "openai:x@h"]
)
def test_a_misspelled_remote_model_is_told(name):
    with pytest.raises(ConfigError, match="KIND:NAME@URL"):
        endpoint_from(name)
    assert not is_remote("smollm2-135m") and not is_remote("pool:cron")


def test_the_openai_key_goes_to_openai_alone(monkeypatch):
    monkeypatch.delenv("TUNESMITH_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert api_key("https://api.openai.com/v1") == KEY
    assert api_key("https://api.openai.com.example.org/v1") is None
    monkeypatch.setenv("TUNESMITH_API_KEY", "other")
    assert api_key("http://localhost/v1") == "other"


def test_a_remote_model_is_evaluated_and_no_file_holds_the_key(server, in_tmp, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TUNESMITH_CACHE", str(in_tmp / "cache"))
    item = {"id": "a", "messages": [{"role": "user", "content": "hi"}], "answer": {"type": "text", "value": "re: hi"}}
    (in_tmp / "golden.jsonl").write_text(json.dumps(item) + "\n")
    command = ["evaluate", "golden.jsonl", "--model", f"openai:small@{server.url}", "--out"]
    for out in ("first", "second"):
        done = CliRunner().invoke(app, [*command, out])
        assert done.exit_code == 0, done.output
    report = read_json(in_tmp / "second" / "report.json")
    assert report["model_digest"] == f"openai:small@{server.url}" and report["tasks"][0]["scores"] == {"a": 1.0}
    assert len(server.requests) == 1
    held = [path for path in in_tmp.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert held == [] and KEY not in done.output and KEY not in caplog.text
