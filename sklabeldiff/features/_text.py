"""`TextFeatures`: sentence encoders as a transformer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from os import PathLike
from reprlib import repr as shortened
from threading import Lock
from typing import Any

import numpy as np
import torch
from sklearn.utils import Tags
from torch import Tensor
from torch.nn.functional import normalize, pad
from torch.nn.utils.rnn import pad_sequence

from sklabeldiff._optional import require
from sklabeldiff._parameters import check_option

from ._base import FeatureExtractor
from ._encoding import Encoder, Rows, Source, cut
from ._gathering import refuse_nothing
from ._store import content_key
from ._transformers import content_of, loading

PART_ROWS = 4096  # of a stream that are in memory together
# A tokenizer changes its own settings while it works, and refuses a second thread.
_TOKENIZING = Lock()
_LENGTHS = 16  # tokens: texts are filled up to multiples of it


class TextFeatures(FeatureExtractor):
    """Features of texts from a frozen sentence encoder.

    Turns every text into one vector by a model of the library sentence-transformers
    [1]_, so that texts that mean the same lie close together. A classifier on top of it
    then needs few labels, and bears imprecise ones. No label is used.

    The weights are loaded on first use (`fit` or `transform`), never on construction,
    and are left out of copies and pickles, which load them again when needed.

    Parameters
    ----------
    model : str or path-like, default="sentence-transformers/all-MiniLM-L6-v2"
        Name of a model on the Hugging Face hub (downloaded once, then cached), or a
        folder that sentence-transformers or transformers saved. What tells only the
        network, and not how to pool, is pooled by the mean over tokens.
    prompt : str or None, default=None
        Put before every text, as some models want it: ``"query: "``. None takes the
        prompt that the model was saved with as its default, if any; "" takes none.
    normalize : bool, default=True
        Whether to bring all features to length 1.
    device : str or torch.device, default="auto"
        Where the network runs. "auto" takes the accelerator that torch finds, or else
        the CPU.
    batch_size : int, default=64
        Texts that pass through the network together.
    precision : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        Number format of the network. "auto" is float16 on CUDA devices and float32
        elsewhere. The features are float32 in any case.
    cache_dir : path-like or None, default=None
        Folder where features are kept and found again by the content of the texts;
        see `CLIPFeatures`.
    cache_dtype : {"float32", "float16"}, default="float32"
        Number format in the cache.
    on_error : {"raise", "nan"}, default="raise"
        What to do with a row that is no text: raise an error that names it, or give it
        features that are NaN, with a warning.
    verbose : int, default=0
        If positive, show progress bars on stderr, for the download too.
    n_jobs : int, default=None
        Processes that encode, each some rows. None is 1 unless joblib's context says
        otherwise, as ``joblib.parallel_config("dask")`` around ``transform`` does; -1
        is all there are. An iterator is encoded by one.

    Attributes
    ----------
    n_features_out_ : int
        Length of a feature vector; 384 for the default model.

    Raises
    ------
    ImportError
        If sentence-transformers is not installed.
    OSError
        If the model cannot be loaded.
    TypeError
        If X is a single text, or a row is no text (the message names the row), or if
        `prompt` is neither a str nor None.
    ValueError
        If X holds no row, or is no single column.

    See Also
    --------
    sklearn.feature_extraction.text.TfidfVectorizer : Needs no network.

    Notes
    -----
    X may be a list, array or Series of str, a one-column DataFrame, or an iterator over
    str. Texts longer than the model can take are cut off by it.

    Texts of similar length share a block, filled up to a multiple of 16 tokens, so that
    short texts cost little, and a row depends on its own text alone, to the last bit
    (on the CPU).

    References
    ----------
    .. [1] N. Reimers, I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
           BERT-Networks", EMNLP 2019, arXiv:1908.10084.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklabeldiff.features import TextFeatures
    >>> model = make_pipeline(TextFeatures(), LogisticRegression())

    From here on the weights are needed:

    >>> texts = ["a moving film", "two hours lost"]
    >>> TextFeatures().fit_transform(texts).shape  # doctest: +SKIP
    (2, 384)
    """

    _unit = "text"
    # Rows that the cache encodes at a time. Sorted by length, few texts would leave
    # blocks of most lengths partly empty, and every block costs as much as a full one.
    _claim_rows = PART_ROWS

    def __init__(
        self,
        model: str | PathLike[str] = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        prompt: str | None = None,
        normalize: bool = True,
        device: str | torch.device = "auto",
        batch_size: int = 64,
        precision: str = "auto",
        cache_dir: str | PathLike[str] | None = None,
        cache_dtype: str = "float32",
        on_error: str = "raise",
        verbose: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.model = model
        self.prompt = prompt
        self.normalize = normalize
        self.device = device
        self.batch_size = batch_size
        self.precision = precision
        self.cache_dir = cache_dir
        self.cache_dtype = cache_dtype
        self.on_error = on_error
        self.verbose = verbose
        self.n_jobs = n_jobs

    def _sources(self, X: Any, *, reset: bool) -> tuple[Iterator[Source], int | None]:
        """Check parameters and texts; a stream's texts when they come."""
        self._check_params()
        if isinstance(X, str):
            raise TypeError(f"X is one text ({X!r}). Pass a collection of texts: [X].")
        stream = not hasattr(X, "__len__") and not hasattr(X, "__array__")
        texts = iter(X) if stream else _as_list(X)
        bad = self.on_error == "nan"
        if stream:
            return _parts(texts, bad), None
        refuse_nothing({}, len(texts))
        return iter([Texts(texts, 0, bad)]), len(texts)

    def _check_params(self) -> None:
        """Check the parameters, before any work."""
        super()._check_params()
        check_option("normalize", self.normalize, (True, False))
        if not isinstance(self.prompt, str | None):
            raise TypeError(
                f"prompt={self.prompt!r}: give a str to put before every text, or None "
                "for the model's own default."
            )

    def _loaded_from(self) -> tuple[Any, ...]:
        return str(self.model), self.prompt, self.normalize

    def _identity(self) -> dict[str, Any]:
        return {
            "model": content_of(self.model, "sentence encoder", self.verbose),
            "prompt": self.prompt,  # None: the model's files say which
            "normalize": bool(self.normalize),
        }

    def _load(self) -> Encoder:
        """Load the sentence encoder with its tokenizer."""
        require("transformers", "text")
        library = require("sentence_transformers", "text")
        name = str(self.model)
        with loading(name, "sentence encoder", verbose=self.verbose):
            module = _load_module(library, name)
        tokenize = getattr(module, "preprocess", None) or module.tokenize
        prompt, unit_length = _prompt_of(module, self.prompt), self.normalize

        def preprocess(texts: list[str]) -> dict[str, Any]:
            with _TOKENIZING:
                batch = tokenize([prompt + text for text in texts])
            if not callable(module.tokenizer):
                return _in_rows(batch) if "offsets" in batch else batch
            return {k: _filled_up(v, k, module.tokenizer) for k, v in batch.items()}

        def encode(batch: dict[str, Any]) -> Tensor:
            if "rows" in batch:
                batch = _end_to_end(batch["rows"])
            features = module(batch)["sentence_embedding"]
            # float32 before the norm: in half precision the squares lose digits.
            return normalize(features.float(), dim=-1) if unit_length else features

        return Encoder(module, preprocess, encode, _width(module))

    def _blocks(self, encoder: Encoder, source: Source, rows: Rows) -> Iterator[Rows]:
        """Put texts of the same filled-up length into blocks."""
        module: Any = encoder.module
        # That of static embeddings, for one. They gain nothing from equal lengths.
        if not callable(module.tokenizer):
            yield from cut(rows, self.batch_size)
            return
        prompt = _prompt_of(module, self.prompt)
        for part in cut(rows, PART_ROWS):  # what is tokenized twice is soon used
            with _TOKENIZING:
                tokens = module.tokenizer(
                    [prompt + text for text in source.items(part)],
                    truncation=True,
                    max_length=module.max_seq_length,
                )
            of_length: dict[int, list[int]] = defaultdict(list)
            for row, ids in zip(part, tokens["input_ids"], strict=True):
                of_length[_rounded_up(len(ids))].append(row)
            for length in sorted(of_length):
                yield from cut(np.array(of_length[length]), self.batch_size)

    def __sklearn_tags__(self) -> Tags:
        """Say that X is a column of strings."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        return tags


class Texts:
    """Texts without a prompt, which is the encoder's business; a `Source`."""

    def __init__(self, texts: list[Any], first_row: int, note_bad: bool) -> None:
        self.first_row = first_row
        self.bad_rows: dict[int, str] | None = {} if note_bad else None
        self._texts = texts
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                self._refuse(row, text)

    def __len__(self) -> int:
        return len(self._texts)

    def part(self, start: int, stop: int) -> Texts:
        """Give these texts alone."""
        note_bad = self.bad_rows is not None
        return Texts(self._texts[start:stop], self.first_row + start, note_bad)

    def keys(self) -> list[bytes | None]:
        """Name every text by its content."""
        bad = self.bad_rows or {}
        return [
            None if row in bad else content_key(text.encode(), "text")
            for row, text in enumerate(self._texts)
        ]

    def check(self, rows: Rows) -> None:
        """Do nothing: all was checked on construction."""

    def items(self, rows: Rows) -> list[str]:
        """Give the texts of these rows."""
        return [self._texts[row] for row in rows]

    def _refuse(self, row: int, value: Any) -> None:
        text = (
            f"row {self.first_row + row} is {shortened(value)} of type "
            f"{type(value).__name__}, not a text. Fill the missing texts, by '' for "
            "example, or drop the row."
        )
        if self.bad_rows is None:
            raise TypeError(text)
        self.bad_rows[row] = text


def _as_list(X: Any) -> list[Any]:
    """List the texts of a 1-D collection or a one-column table."""
    if isinstance(X, (list, tuple)):
        return list(X)
    shape = tuple(getattr(X, "shape", (len(X),)))
    if len(shape) == 2 and shape[-1] == 1:
        return list(np.asarray(X, dtype=object)[:, 0])
    if len(shape) != 1:
        raise ValueError(
            f"X has shape {shape}. Give one column of texts: a list, a Series, "
            "or X[['text']]."
        )
    return list(X)


def _parts(texts: Iterable[Any], note_bad: bool) -> Iterator[Texts]:
    """Collect the texts of a stream, so many at a time."""
    stream, first_row = iter(texts), 0
    while part := list(islice(stream, PART_ROWS)):
        yield Texts(part, first_row, note_bad)
        first_row += len(part)


def _load_module(library: Any, name: str) -> Any:
    """Load a sentence encoder; a folder that is not there is an OSError like others."""
    try:
        return library.SentenceTransformer(name, device="cpu")
    except ValueError as error:  # sentence-transformers before version 5
        if "not found" not in str(error):
            raise
        raise OSError(str(error)) from error


def _prompt_of(module: Any, prompt: str | None) -> str:
    """Give what is put before every text: the model's own default for None."""
    if prompt is None:
        prompt = module.prompts.get(module.default_prompt_name)
    return prompt or ""


def _width(module: Any) -> int | None:
    """Length of the features; the method got a new name in version 5."""
    width = getattr(module, "get_embedding_dimension", None)
    found: int | None = (width or module.get_sentence_embedding_dimension)()
    return found


def _in_rows(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give each text of static embeddings a row, as blocks need. (l,), (b,) -> (b, l').

    Rows end in -1.
    """
    rows = list(batch["input_ids"].tensor_split(batch["offsets"][1:]))
    return {"rows": pad_sequence(rows, batch_first=True, padding_value=-1)}


def _end_to_end(rows: Tensor) -> dict[str, Tensor]:
    """Undo `_in_rows` on the device. (b, l') -> (l,), (b,)."""
    inside = rows >= 0
    lengths = inside.sum(1)
    return {"input_ids": rows[inside], "offsets": lengths.cumsum(0) - lengths}


def _rounded_up(length: int) -> int:
    return -(-length // _LENGTHS) * _LENGTHS


def _filled_up(value: Any, key: str, tokenizer: Any) -> Any:
    """Fill tokens up to their rounded length. (b, l) -> (b, l')."""
    if not isinstance(value, Tensor) or value.ndim != 2:
        return value
    missing = _rounded_up(value.shape[1]) - value.shape[1]
    sides = (missing, 0) if tokenizer.padding_side == "left" else (0, missing)
    return pad(value, sides, value=tokenizer.pad_token_id if key == "input_ids" else 0)
