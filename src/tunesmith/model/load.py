"""Loading with torch: weights, number format, adapters. The only part of `tunesmith.model` that imports torch."""

import contextlib
import importlib.util
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tunesmith.errors import MissingExtra, ModelError
from tunesmith.files import atomic_folder
from tunesmith.model import ModelConfig, copy_tokenizer, model_folder

if TYPE_CHECKING:
    from tunesmith.model.scratch import Architecture
    from tunesmith.model.tokenizer import Tokenizer

try:
    import transformers
    from transformers import AutoModelForCausalLM
except ImportError as error:
    raise MissingExtra("transformers", "train", "loading a model") from error


_QUANTIZING_DEVICES = ("cuda",)  # bitsandbytes has kernels for the CPU too, slow ones


def pick_device() -> torch.device:
    """CUDA, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")


def pick_dtype(asked: str, device: torch.device) -> tuple[torch.dtype, str]:
    """The number format of the weights, and the reason for it."""
    if asked != "auto":
        return getattr(torch, asked), "asked for in the recipe"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "this GPU computes bfloat16 natively"
        return torch.float32, "this GPU has no bfloat16"
    if device.type == "cpu" and _cpu_is_fast_at_bfloat16():
        return torch.bfloat16, "this CPU has bfloat16 instructions"
    return torch.float32, f"no fast bfloat16 on this {device.type}"


def _cpu_is_fast_at_bfloat16() -> bool:
    """Only instructions made for bfloat16 help; emulation is slower than float32."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name)() for name in checks if hasattr(torch.cpu, name))


def load_model(
    config: ModelConfig, *, adapter: Path | None = None, attention: str | None = None, quantize: str = "none"
) -> torch.nn.Module:
    """The causal language model in evaluation mode, on the best device.

    `adapter` is a peft adapter folder of any kind, merged into the full weights in float32. `attention` names a
    registered attention implementation. `quantize` keeps linear layers as nf4 or int8, through bitsandbytes on CUDA.
    Raises ModelError with the folder's name when something does not fit.
    """
    folder = model_folder(config)
    device = pick_device()
    dtype, _ = pick_dtype(config.dtype, device)
    if quantize != "none":
        options = quantized(quantize, dtype, device)
        small: torch.nn.Module = _from_folder(folder, dtype, config.trust_remote_code, attention, options)
        return small.eval()
    model = _from_folder(folder, torch.float32 if adapter else dtype, config.trust_remote_code, attention)
    if adapter is not None:
        model = _merge(model, adapter)
    # Only parameters change their format: rotary frequencies are buffers and lose their precision in bfloat16.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    placed: torch.nn.Module = model.to(device=device).eval()
    return placed


def quantized(kind: str, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """What transformers is told to load linear layers as `nf4` (with the scales quantized too) or `int8`.

    Raises ModelError without CUDA, MissingExtra without bitsandbytes.
    """
    if device.type not in _QUANTIZING_DEVICES:
        raise ModelError(
            f"train.adapter.quantize = {kind!r} needs a CUDA device and the extra 'qlora' "
            f"(pip install 'tunesmith[qlora]'); this device is {device.type}. Set it to 'none' here"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtra("bitsandbytes", "qlora", f"train.adapter.quantize = {kind!r}")
    options = (
        {"load_in_8bit": True}
        if kind == "int8"
        else {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": dtype,
        }
    )
    return {"quantization_config": transformers.BitsAndBytesConfig(**options), "device_map": {"": str(device)}}


def _from_folder(
    folder: Path,
    dtype: torch.dtype | str,
    trust_remote_code: bool,
    attention: str | None,
    more: dict[str, Any] | None = None,
) -> Any:
    options: dict[str, Any] = {**({"attn_implementation": attention} if attention else {}), **(more or {})}
    with _quiet():
        try:
            return AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, trust_remote_code=trust_remote_code, **options
            )
        except Exception as error:  # transformers raises many kinds; each means that this folder does not load
            raise ModelError(f"{folder}: transformers cannot load this model ({_first_line(error)})") from error


def empty_model(folder: Path, trust_remote_code: bool = False) -> Any:
    """The model of a folder with the shapes of its weights and no memory for them (on PyTorch's meta device)."""
    with _quiet(), torch.device("meta"):
        try:
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
            return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
        except Exception as error:  # as above
            raise ModelError(f"{folder}: transformers knows no such model ({_first_line(error)})") from error


def load_adapted(config: ModelConfig, adapter: Path) -> Any:
    """The model with a peft adapter beside its weights, not merged, so that it can be switched off."""
    model = load_model(config)
    return _with_adapter(model, adapter).eval()


def _merge(model: Any, adapter: Path) -> Any:
    return _with_adapter(model, adapter, merges=True)


def _with_adapter(model: Any, adapter: Path, *, merges: bool = False) -> Any:
    from peft import PeftModel

    if not (adapter / "adapter_model.safetensors").is_file():
        raise ModelError(f"{adapter}: no adapter_model.safetensors; only safetensors adapters are loaded")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            adapted = PeftModel.from_pretrained(model, str(adapter))
            return adapted.merge_and_unload(safe_merge=True) if merges else adapted
        except Exception as error:  # peft raises many kinds; each means that the adapter does not fit
            raise ModelError(f"{adapter}: does not fit its base model ({_first_line(error)})") from error


def write_merged(config: ModelConfig, adapter: Path, folder: Path) -> None:
    """Write the model with an adapter merged into its weights, in float32, as a model folder, atomically."""
    model: Any = load_model(config.model_copy(update={"dtype": "float32"}), adapter=adapter)
    with atomic_folder(folder) as temporary, _quiet():
        model.cpu().save_pretrained(temporary)
        copy_tokenizer(model_folder(config), temporary)


def write_random_llama(shape: "Architecture", tokenizer: "Tokenizer", seed: int, folder: Path) -> None:
    """Write a Llama with random weights, in float32, for the vocabulary of `tokenizer`; a function of the seed."""
    backend = tokenizer.backend
    last = max(backend.get_vocab(with_added_tokens=True).values())
    ends = {name: backend.token_to_id(text) for name, text in tokenizer.special.items()}
    config = transformers.LlamaConfig(
        vocab_size=last + 1,
        hidden_size=shape.width,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_heads,
        intermediate_size=shape.mlp_width,
        max_position_embeddings=shape.max_tokens,
        tie_word_embeddings=True,
        bos_token_id=ends.get("bos_token"),
        eos_token_id=ends.get("eos_token"),
        pad_token_id=None,  # else its embedding, often that of the stop token, would be zero and never learn
    )
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        transformers.LlamaForCausalLM(config).save_pretrained(folder)


@torch.no_grad()
def write_extended(base: Path, pieces: dict[int, list[int]], folder: Path, trust_remote_code: bool) -> None:
    """Write the model of `base` with a row for each new token id, the mean of the rows of its pieces, into `folder`.

    The weights keep the number format of their files. Tables that have room for the ids already are not made larger.
    """
    model = _from_folder(base, "auto", trust_remote_code, None)
    means = [[table[ids].float().mean(0) for ids in pieces.values()] for table in _token_tables(model)]
    if max(pieces) >= model.get_input_embeddings().weight.shape[0]:
        with _quiet():
            model.resize_token_embeddings(max(pieces) + 1, mean_resizing=False)
    for table, rows in zip(_token_tables(model), means, strict=True):
        for index, row in zip(pieces, rows, strict=True):
            table[index] = row.to(table.dtype)
    with _quiet():
        model.save_pretrained(folder)


def _token_tables(model: Any) -> list[torch.Tensor]:
    """The embedding, and the head where it has weights of its own."""
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    return [embedding] if head is None or head.weight is embedding else [embedding, head.weight]


def convert_weights(gguf: Path, folder: Path) -> None:
    """Write the weights of a GGUF file as fp32 safetensors with `config.json` into `folder`."""
    # gguf draws its own bar on stderr, whatever transformers is told
    with _quiet(), contextlib.redirect_stderr(io.StringIO()):
        try:
            model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        except Exception as error:  # a damaged file shows in many ways
            raise ModelError(f"{gguf}: cannot be converted ({_first_line(error)})") from error
        # The weights are plain fp32 from here on; the note that they were quantized would block saving.
        del model.config.quantization_config
        model.hf_quantizer, model.is_quantized = None, False
        model.save_pretrained(folder)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0][:200]}"


class _quiet:
    """Silence transformers' progress bars and advice while a model loads; errors still raise."""

    def __enter__(self) -> None:
        self._level = transformers.logging.get_verbosity()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()

    def __exit__(self, *error: object) -> None:
        transformers.logging.set_verbosity(self._level)
        transformers.logging.enable_progress_bar()
