"""Llama-shaped models with random weights, for speed alone: no download, and no weights worth anything."""

import json
from pathlib import Path

VOCABULARY = 128_256
SHAPES = {
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
}


def random_model(size: str, folder: Path, device: str) -> Path:
    """A folder with the shape of Llama 3.2 1B or Llama 3.1 8B and bfloat16 weights drawn on `device`."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        tie_word_embeddings=size == "1b",
        dtype="bfloat16",
        **SHAPES[size],
    )
    with torch.device(device):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="4GB")
    # TRL asks for a tokenizer, though it is handed tokens.
    words = {"<end>": 0, **{str(number): number for number in range(1, 300)}}
    Tokenizer(models.WordLevel(words, unk_token="<end>")).save(str(folder / "tokenizer.json"))
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "pad_token": "<end>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return folder
