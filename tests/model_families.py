"""Tiny models of many families, of transformers' own classes, with random weights that make attention matter."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from builders import build_tokenizer

SIZES = {
    "vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "output_router_logits": True}
ALTERNATING = ["sliding_attention", "full_attention"]


@dataclass(frozen=True)
class Family:
    """A family: transformers' classes, and what its tiny model has that others have not."""

    name: str
    classes: str
    """transformers' name before `Config` and `ForCausalLM`."""

    options: dict[str, Any] = field(default_factory=dict)
    has: str = ""
    """What is special about it, in the words of the table."""

    refused: str | None = None
    """Why training it is refused, as in the message of the error; None where it is trained."""

    model_class: str | None = None

    def build(self, folder: Path) -> Path:
        """Write a tiny model with a tokenizer into `folder`."""
        import transformers

        torch.manual_seed(0)
        config = getattr(transformers, f"{self.classes}Config")(**{**SIZES, **self.options})
        model = getattr(transformers, self.model_class or f"{self.classes}ForCausalLM")(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * (0.2 if parameter.ndim > 1 else 0.1))
        model.save_pretrained(folder)
        build_tokenizer(folder)
        return folder


TRAINED = (
    Family("Llama", "Llama", {"tie_word_embeddings": False}, "untied head"),
    Family("Llama, tied head", "Llama", {"tie_word_embeddings": True}, "tied head"),
    Family("Qwen 2", "Qwen2", {}, "biases on queries, keys and values"),
    Family("Qwen 3", "Qwen3", {"head_dim": 16}, "norms on queries and keys"),
    Family("Mistral", "Mistral", {"sliding_window": 6}, "sliding window in every layer"),
    Family(
        "Gemma 2",
        "Gemma2",
        {"head_dim": 8, "sliding_window": 6, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0,
         "query_pre_attn_scalar": 4, "layer_types": ALTERNATING},
        "soft-capped scores and logits, alternating windows, a scale of its own",
    ),
    Family(
        "Gemma 3",
        "Gemma3Text",
        {"head_dim": 8, "sliding_window": 6, "layer_types": ALTERNATING},
        "alternating windows with their own rotary frequencies",
        model_class="Gemma3ForCausalLM",
    ),
    Family("Phi-3", "Phi3", {}, "queries, keys and values in one matrix"),
    Family(
        "GPT-2",
        "GPT2",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
         "attn_pdrop": 0.0},
        "learned positions, Conv1D layers",
        model_class="GPT2LMHeadModel",
    ),
    Family("GPT-NeoX", "GPTNeoX", {}, "parallel attention and MLP, partial rotary"),
    Family("OLMo 2", "Olmo2", {}, "norms after each part"),
    Family(
        "Granite",
        "Granite",
        {"embedding_multiplier": 3.0, "attention_multiplier": 0.2, "residual_multiplier": 0.5, "logits_scaling": 2.0},
        "four scalings",
    ),
    Family("Cohere", "Cohere", {"logit_scale": 0.25}, "scaled logits, interleaved rotary"),
    Family(
        "Cohere 2",
        "Cohere2",
        {"logit_scale": 0.25, "sliding_window": 6, "layer_types": ALTERNATING},
        "alternating windows, no positions in full layers",
    ),
    Family(
        "StarCoder 2",
        "Starcoder2",
        {"sliding_window": 6, "residual_dropout": 0.0, "embedding_dropout": 0.0},
        "sliding window, biases, layer norms",
    ),
    Family(
        "Mixtral",
        "Mixtral",
        {"num_local_experts": 4, "num_experts_per_tok": 2, "output_router_logits": True},
        "mixture of experts",
    ),
    Family("Qwen 3 MoE", "Qwen3Moe", {**EXPERTS, "head_dim": 8}, "mixture of experts"),
    Family("OLMoE", "Olmoe", EXPERTS, "mixture of experts"),
    Family(
        "gpt-oss",
        "GptOss",
        {"num_local_experts": 4, "num_experts_per_tok": 2, "output_router_logits": True, "head_dim": 8,
         "sliding_window": 6, "layer_types": ALTERNATING},
        "attention sinks, alternating windows, mixture of experts",
    ),
    Family("OPT", "OPT", {"word_embed_proj_dim": 32, "ffn_dim": 48, "dropout": 0.0}, "learned positions, shifted"),
)  # fmt: skip
CARRIES = "layers of the kind {}, in which packed conversations would see each other"
STATES = f"{CARRIES.format('linear_attention')}|packed conversations see each other"
REFUSED = (
    Family("Qwen 3 Next", "Qwen3Next", {**EXPERTS, "head_dim": 8}, "linear attention", STATES),
    Family("LFM 2", "Lfm2", {"layer_types": ["conv", "full_attention"]}, "short convolutions", CARRIES.format("conv")),
    Family("Bamba", "Bamba", {"mamba_n_heads": 8, "mamba_d_head": 8}, "state spaces", STATES),
    Family("Jamba", "Jamba", {"use_mamba_kernels": False}, "state spaces", STATES),
    Family("Mamba", "Mamba", {}, "state spaces", STATES),
    Family("Llama 4", "Llama4Text", {}, "chunked attention", CARRIES.format("chunked_attention"), "Llama4ForCausalLM"),
    Family("BLOOM", "Bloom", {}, "ALiBi", "packed conversations see each other"),
    Family("MPT", "Mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2}, "ALiBi", "cannot be called"),
)  # fmt: skip
FAMILIES = (*TRAINED, *REFUSED)
