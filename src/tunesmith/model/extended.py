"""A model with more tokens: strings that its vocabulary lacks get an id, and rows in the embedding and the head.

Written once into the cache as a model folder like any other, named by the content of the base and the strings. A new
row begins as the mean of the rows of the tokens that spelled the string before, so that the model starts from what it
already knew of it (Hewitt 2021, "Initializing new word embeddings", on means). New tokens are ordinary ones: they are
found in any text, and end or open nothing by themselves.
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from tunesmith.errors import ModelError
from tunesmith.files import atomic_folder, fingerprint
from tunesmith.model import cache_folder, copy_tokenizer, model_digest
from tunesmith.model.tokenizer import Tokenizer


def extended_tokenizer(base: Path, tokens: Sequence[str]) -> Path:
    """The folder of the tokenizer of `base` with `tokens`; made on first use, without torch.

    Raises ModelError for a token that is empty, given twice, or in the vocabulary already.
    """
    known = Tokenizer.load(base)
    _check(tokens, known, base)
    folder = cache_folder() / "extended" / f"{fingerprint([known.fingerprint, list(tokens)])}-tokenizer"
    if not folder.exists():
        with atomic_folder(folder) as temporary:
            _write_tokenizer(base, tokens, temporary)
    return folder


def extended_folder(base: Path, tokens: Sequence[str], trust_remote_code: bool = False) -> Path:
    """The model folder of `base` with `tokens`; made on first use. Raises ModelError as `extended_tokenizer` does."""
    _check(tokens, Tokenizer.load(base), base)
    folder = cache_folder() / "extended" / f"{fingerprint([model_digest(base), list(tokens)])}-model"
    if not folder.exists():
        from tunesmith.model.load import write_extended

        with atomic_folder(folder) as temporary:
            _write_tokenizer(base, tokens, temporary)
            write_extended(base, pieces_of(base, tokens), temporary, trust_remote_code)
    return folder


def pieces_of(base: Path, tokens: Sequence[str]) -> dict[int, list[int]]:
    """The id that each new token gets -> the ids of the tokens that spell it in `base`."""
    known = Tokenizer.load(base)
    first = known.backend.get_vocab_size(with_added_tokens=True)
    return {first + number: known.encode(token) for number, token in enumerate(tokens)}


def _check(tokens: Sequence[str], known: Tokenizer, base: Path) -> None:
    vocabulary = known.backend.get_vocab(with_added_tokens=True)
    for token in tokens:
        if not token or token != token.strip():
            raise ModelError(f"model.add_tokens: {token!r} is empty or begins or ends with white space")
        if token in vocabulary:
            raise ModelError(
                f"model.add_tokens: {token!r} is in the vocabulary of {base} already (id {vocabulary[token]}); take it "
                "out, and name it in train.adapter.new_tokens where an adapter should train its rows"
            )
    twice = sorted({token for token in tokens if list(tokens).count(token) > 1})
    if twice:
        raise ModelError(f"model.add_tokens: {twice[0]!r} is given twice")


def _write_tokenizer(base: Path, tokens: Sequence[str], folder: Path) -> None:
    copy_tokenizer(base, folder)
    backend = Backend.from_file(str(base / "tokenizer.json"))
    backend.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    for token in tokens:
        written = backend.decode(backend.encode(token, add_special_tokens=False).ids)
        if written != token:
            raise ModelError(
                f"model.add_tokens: the tokenizer of {base} would write {token!r} as {written!r}, as its decoder reads "
                "letters beyond ASCII as bytes; spell the token in ASCII"
            )
    backend.save(str(folder / "tokenizer.json"))
