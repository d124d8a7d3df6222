"""Sharded checkpoints through torch.distributed.checkpoint: each rank writes what it holds, as safetensors.

A checkpoint of any number of ranks is read by any number: every rank reads the stretches of the files that hold its
part. (DCP's own file format keeps its index as a pickle, so the safetensors writer is used, which keeps it in the
files' headers.)
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from tunesmith.errors import TrainError


def save_sharded(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `tensors` into the existing `folder`, each rank its shards; every rank must call it.

    A plain tensor under a name that several ranks have is written once. Raises OSError or TrainError on every rank
    when one of them cannot write.
    """
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save(dict(tensors), storage_writer=writer)
    except CheckpointException as error:
        first = error.failures[min(error.failures)][0]
        if isinstance(first, OSError | SafetensorError):
            raise first from error
        raise TrainError(f"{folder}: the checkpoint cannot be written ({_causes(error)})") from error


def load_sharded(folder: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of the checkpoint in `folder`, whoever wrote it.

    A tensor `KIND/NAME` of the shape of `like[NAME]` is read sharded as that is, and of others the whole.
    """
    reader = HuggingFaceStorageReader(str(folder))
    tensors: dict[str, Tensor] = {}
    for key, info in reader.read_metadata().state_dict_metadata.items():
        assert isinstance(info, TensorStorageMetadata)  # safetensors hold nothing else
        model, dtype = like.get(key.partition("/")[2]), info.properties.dtype
        if model is not None and model.shape == info.size:
            tensors[key] = torch.zeros_like(model, dtype=dtype)
        else:
            tensors[key] = torch.zeros(info.size, dtype=dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load(tensors, storage_reader=reader)
    except CheckpointException as error:
        raise TrainError(f"{folder}: the checkpoint cannot be read ({_causes(error)})") from error
    return tensors


def _causes(error: CheckpointException) -> str:
    return "; ".join(f"rank {rank}: {cause[0]}" for rank, cause in sorted(error.failures.items()))
