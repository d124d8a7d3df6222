"""How much memory, time and network a training takes on many devices: arithmetic, never a measurement.

`docs/scale.md` explains the formulas; its tables are `tables()`. All sizes are in bytes, all rates in a second.
"""

from typing import Literal, NamedTuple

BF16, FP32 = 2, 4
CHUNK_TOKENS = 512
"""Tokens whose logits exist at once, as `train.loss.chunk_tokens` has it by default."""


class Shape(NamedTuple):
    """A dense Llama-like model with a head of its own."""

    num_layers: int
    width: int
    inner: int
    """Width inside the MLP."""

    key_width: int
    """Width of keys, and of values, of all key heads together."""

    vocabulary: int

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of the linear layers of a layer: query, key, value, output, gate, up, down."""
        wide, inner, key = self.width, self.inner, self.key_width
        return ((wide, wide), (wide, key), (wide, key), (wide, wide), (wide, inner), (wide, inner), (inner, wide))

    @property
    def layer(self) -> int:
        """Weights of a layer; norms, less than a ten-thousandth, are left out here and below."""
        return sum(inputs * outputs for inputs, outputs in self.matrices)

    @property
    def root(self) -> int:
        """Weights outside the layers: embeddings and head."""
        return 2 * self.vocabulary * self.width

    @property
    def total(self) -> int:
        return self.num_layers * self.layer + self.root

    def adapter(self, rank: int) -> int:
        """Weights of LoRA matrices on all linear layers but the head."""
        return self.num_layers * sum(rank * (inputs + outputs) for inputs, outputs in self.matrices)


class Cluster(NamedTuple):
    """Devices, and what connects them. `share` is the part of `matmul_rate` that training is assumed to reach."""

    num_nodes: int = 1
    devices_per_node: int = 8
    memory: float = 80e9
    matmul_rate: float = 989e12
    share: float = 0.35
    inside: float = 450e9
    """Bytes a second that a device sends and receives inside a node."""

    between: float = 50e9
    """The same between nodes."""

    @property
    def num_devices(self) -> int:
        return self.num_nodes * self.devices_per_node


class Work(NamedTuple):
    """What is trained, and on how much at once."""

    method: Literal["full", "lora"] = "full"
    rank: int = 16
    row_tokens: int = 8192
    """Tokens of a row, which is what a device passes through the model at once."""

    conversation_tokens: int = 1024
    supervised_share: float = 0.5

    def trained(self, shape: Shape) -> int:
        """Weights that are trained."""
        return shape.total if self.method == "full" else shape.adapter(self.rank)


class Memory(NamedTuple):
    """Bytes on each device."""

    weights: float
    """This rank's part: trained weights in float32, frozen ones in bfloat16."""

    gradients: float
    """float32, this rank's part."""

    moments: float
    """The two of AdamW, float32, this rank's part."""

    gathered: float
    """bfloat16: what lies outside the layers, a layer at work and the next one on its way."""

    reduced: float
    """Gradients of a unit before they are summed over the ranks: bfloat16, and float32 for the sum."""

    activations: float
    """With recomputation: the input of each layer, all outputs of one, and a chunk of logits with its gradient."""

    @property
    def total(self) -> float:
        return sum(self)


def memory(shape: Shape, work: Work, cluster: Cluster) -> Memory:
    """What a device holds in the backward pass, with all ranks in one group."""
    trained, devices = work.trained(shape), cluster.num_devices
    frozen = shape.total if work.method == "lora" else 0
    outputs = sum(outputs for _, outputs in shape.matrices)
    # The largest unit that is summed at once: embeddings and head come last and together.
    unit = max(shape.root, shape.layer) if work.method == "full" else shape.adapter(work.rank) // shape.num_layers
    kept = work.row_tokens * BF16 * (shape.num_layers * shape.width + 3 * outputs)
    return Memory(
        weights=(FP32 * trained + BF16 * frozen) / devices,
        gradients=FP32 * trained / devices,
        moments=2 * FP32 * trained / devices,
        gathered=BF16 * (shape.root + 2 * shape.layer),
        reduced=(BF16 + FP32) * unit,
        activations=kept + CHUNK_TOKENS * shape.vocabulary * (2 * BF16 + FP32),
    )


def operations(shape: Shape, work: Work) -> float:
    """Floating-point operations that a token costs: forward, recomputation of the layers, backward."""
    body, head = shape.num_layers * shape.layer, shape.root / 2
    seen = work.conversation_tokens / 2
    forward = 2 * body + 4 * seen * shape.width * shape.num_layers
    backward = (4 if work.method == "full" else 2) * body + 8 * seen * shape.width * shape.num_layers
    return 2 * forward + backward + work.supervised_share * (6 if work.method == "full" else 4) * head


class Pace(NamedTuple):
    """One pass of a row through the model, forward and backward, on every device."""

    computing: float
    """Seconds."""

    sent: float
    """Bytes that each device receives (and about as many sends): weights twice, gradients once."""

    moving: float
    """Seconds, at the rate of the slowest link on the way round."""

    tokens_per_second: float
    """Of all devices, when the shorter of computing and moving hides behind the longer."""

    tokens_to_hide: float
    """Tokens of a row from which on moving hides behind computing."""


def pace(shape: Shape, work: Work, cluster: Cluster) -> Pace:
    """How fast all devices are together."""
    devices = cluster.num_devices
    moved = (2 * BF16 * shape.total - BF16 * shape.root + FP32 * work.trained(shape)) * (devices - 1) / devices
    link = cluster.inside if cluster.num_nodes == 1 else cluster.between
    a_token = operations(shape, work) / (cluster.share * cluster.matmul_rate)
    computing, moving = work.row_tokens * a_token, moved / link
    speed = devices * work.row_tokens / max(computing, moving)
    return Pace(computing, moved, moving, speed, moving / a_token)


MODELS = {"8B": Shape(32, 4096, 14336, 1024, 128256), "70B": Shape(80, 8192, 28672, 1024, 128256)}
METHODS: tuple[Literal["full", "lora"], ...] = ("full", "lora")
NODES = (1, 2, 4, 8)


def tables() -> str:
    """The two tables of docs/scale.md."""
    return f"{_memory_table()}\n\n{_pace_table()}"


def _memory_table() -> str:
    lines = [
        "| GB a device | method | nodes x devices | weights | gradients | moments | gathered | reduced | activations "
        "| together | of 80 |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, method, cluster in _cases():
        found = memory(MODELS[name], Work(method), cluster)
        cells = " | ".join(f"{part / 1e9:,.1f}" for part in (*found, found.total))
        fits = "fits" if found.total < 0.9 * cluster.memory else "too much"
        lines.append(f"| {name} | {method} | {_size(cluster)} | {cells} | {fits} |")
    return "\n".join(lines)


def _pace_table() -> str:
    lines = [
        "| model | method | nodes x devices | computing | moved | moving | tokens/s | tokens of a row to hide moving |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, method, cluster in _cases():
        found = pace(MODELS[name], Work(method), cluster)
        lines.append(
            f"| {name} | {method} | {_size(cluster)} | {found.computing:,.2f} s | {found.sent / 1e9:,.0f} GB | "
            f"{found.moving:,.2f} s | {found.tokens_per_second:,.0f} | {found.tokens_to_hide:,.0f} |"
        )
    return "\n".join(lines)


def _cases() -> list[tuple[str, Literal["full", "lora"], Cluster]]:
    return [(name, method, Cluster(nodes)) for name in MODELS for method in METHODS for nodes in NODES]


def _size(cluster: Cluster) -> str:
    return f"{cluster.num_nodes} x {cluster.devices_per_node}"


if __name__ == "__main__":
    print(tables())
