"""`FeatureExtractor`: what every transformer into features of a frozen network shares.

Loading the network on first use and keeping it out of pickles, running it over all
rows, and the cache. What X may be is `ImageExtractor`'s and `TextFeatures`' business;
which network, and how it sees an item, is each subclass's `_load`.
"""

from __future__ import annotations

import json
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import Tags

from sklabeldiff._callbacks import CallbackSupportMixin, FitTask
from sklabeldiff._devices import usable_device
from sklabeldiff._documented import DocumentedMixin
from sklabeldiff._fields import Labels, Number
from sklabeldiff._fitting import whole_fit
from sklabeldiff._parameters import (
    check_folder,
    check_number,
    check_option,
    check_verbose,
)
from sklabeldiff._saving import SavingMixin

from ._encoding import Encoder, Rows, Source, cut
from ._feature_file import write_features
from ._gathering import Gatherer, NothingReadableError, named, refuse_nothing
from ._sharding import cut_source, encode_shards, n_shards, table_of
from ._store import SHARD_ROWS, DamagedShardError, FeatureStore, unusable

_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
MAX_BATCH_SIZE = 2**16  # every batch is filled up to its size, in memory
# Part of the name of a cache; counts up when old ones must not be read.
_CACHE_FORMAT = 1


class FeatureExtractor(
    DocumentedMixin,
    SavingMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
    ABC,
):
    """Transformer from images or texts to the feature vectors of a frozen network.

    A subclass has the parameters `device`, `batch_size`, `precision`, `cache_dir`,
    `cache_dtype`, `on_error`, `verbose` and `n_jobs`, stored as they are, and gives
    `_sources`, `_loaded_from`, `_load` and `_identity`.
    """

    device: str | torch.device
    batch_size: int
    precision: str
    cache_dir: str | PathLike[str] | None
    cache_dtype: str
    on_error: str
    verbose: int
    n_jobs: int | None
    n_features_out_: int

    _fields: ClassVar = {
        "n_features_out_": Number(integer=True, low=1, optional=True),
        "n_features_in_": Number(integer=True, low=1, size="p", optional=True),
        "feature_names_in_": Labels("p", text=True, optional=True),
    }
    _unit = "row"  # of the progress bar
    _claim_rows = SHARD_ROWS  # that a process takes over at a time

    # What was loaded last, and for which parameters. Never copied, never pickled.
    _loaded: tuple[Any, Encoder] | None = None
    _width: int | None = None  # columns of the last output

    @whole_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check X and the network; nothing is learned from `X`.

        Parameters
        ----------
        X : array-like or iterable
            In any of the forms of the class docstring. Of an iterator nothing is used
            up.
        y : None
            Ignored.

        Returns
        -------
        self : object
            This transformer.
        """
        if hasattr(self, "n_features_out_"):
            del self.n_features_out_
        sources, n_rows = self._sources(X, reset=True)
        task = FitTask(self, X, y)
        self._width = self._find_width(sources if n_rows else iter(()))
        if self._width is not None:
            self._width += self._n_extra
            self.n_features_out_ = self._width
        task.end()
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Compute one feature vector per row of X. Works without `fit`, too.

        Parameters
        ----------
        X : array-like or iterable
            In any of the forms of the class docstring.

        Returns
        -------
        features : ndarray of shape (n_rows, `n_features_out_`), dtype float32
            In the order of X. A row depends on its own item alone, to the last bit
            (on the CPU): not on the other rows, their order or their number.
        """
        features = self._extended(self._features(X))
        self._width = features.shape[1]
        return features

    def transform_to(self, X: Any, path: str | PathLike[str]) -> np.memmap[Any, Any]:
        """Compute the features of X into a file, for more than memory holds.

        Where `transform` returns an array in memory, with `cache_dir` too, this returns
        a map of the file, of which no more is in memory than is looked at. Any fit
        takes it; whether it copies it is the estimator's business.

        Parameters
        ----------
        X : array-like or iterable
            In any of the forms of the class docstring.
        path : str or path-like
            File to write, in numpy's format (``.npy``). It is there whole or not at
            all. Later, ``numpy.load(path, mmap_mode="r")`` opens it again.

        Returns
        -------
        features : memmap of shape (n_rows, `n_features_out_`), dtype float32
            The same numbers as those of `transform`, read-only.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If X is refused, as by `transform`.

        Notes
        -----
        Rows are computed some thousands at a time, in parts of whole batches, each by
        `transform`, so that `cache_dir` and `n_jobs` mean what they mean there. An
        iterator is used up bit by bit. With ``on_error="nan"`` a part of which no row
        can be read is an error.
        """
        return write_features(self.transform, X, Path(path), self.batch_size)

    def _features(self, X: Any) -> NDArray[np.float32]:
        """Compute the network's output, or read it from the cache. -> (n, d)."""
        sources, n_rows = self._sources(X, reset=False)
        try:
            return self._gathered(sources, n_rows)
        except DamagedShardError:
            if n_rows is None:  # a stream, and used up
                raise
            return self._gathered(*self._sources(X, reset=False))

    def _gathered(
        self, sources: Iterator[Source], n_rows: int | None
    ) -> NDArray[np.float32]:
        """Compute the features of all sources, or read them from the cache."""
        folder = None if self.cache_dir is None else self._cache_folder()
        shared = n_shards(self.n_jobs, n_rows, self.batch_size)
        with self._gatherer(folder, n_rows) as gatherer:
            if shared > 1:
                assert n_rows is not None
                (source,) = sources  # of known length: in one part
                shards = cut_source(source, shared, self.batch_size)
                found = encode_shards(self, shards, folder)
                sources = iter([source])
            if shared > 1 and folder is None:
                for _, bad in found:
                    gatherer.bad |= bad
                refuse_nothing(gatherer.bad, n_rows or 0)
                features = table_of(found, n_rows or 0).finish()
            elif folder is None:
                features = gatherer.compute(sources, n_rows)
            else:
                with FeatureStore(folder, self.cache_dtype) as store:
                    features = gatherer.recall(store, sources)
        if gatherer.bad:
            warnings.warn(
                f"{len(gatherer.bad)} rows of X cannot be read, and their features are "
                f"NaN: {named(gatherer.bad)}",
                stacklevel=5,  # past scikit-learn's wrapper of transform
            )
        return features

    @contextmanager
    def _gatherer(self, folder: Path | None, n_rows: int | None) -> Iterator[Gatherer]:
        """Give what encodes, with a progress bar around it."""
        with self._progress_bar(n_rows) as bar:
            yield Gatherer(
                partial(self._encoder, folder),
                self._blocks,
                self.batch_size,
                self._claim_rows,
                bar,
            )

    # -- what a subclass gives ---------------------------------------------------------

    @abstractmethod
    def _sources(self, X: Any, *, reset: bool) -> tuple[Iterator[Source], int | None]:
        """Check parameters and X; give X in parts, and its length if it is known."""

    @abstractmethod
    def _loaded_from(self) -> tuple[Any, ...]:
        """Give the parameters that decide what `_load` loads."""

    @abstractmethod
    def _load(self) -> Encoder:
        """Load the network onto the CPU, in evaluation mode."""

    def _extended(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Append what is computed from the features. (n, d) -> (n, d + extra)."""
        return features

    @property
    def _n_extra(self) -> int:
        """Columns that `_extended` appends."""
        return 0

    @abstractmethod
    def _identity(self) -> dict[str, Any]:
        """Say what features depend on besides the item and the precision, as JSON."""

    def _blocks(self, encoder: Encoder, source: Source, rows: Rows) -> Iterator[Rows]:
        """Cut rows into blocks that pass through the network together."""
        return cut(rows, self.batch_size)

    # -- the cache and the network -----------------------------------------------------

    def _cache_folder(self) -> Path:
        """Folder of the features of this network, named by what they depend on."""
        _, dtype = _resolve(self.device, self.precision)
        what = {
            "class": type(self).__name__,
            "format": _CACHE_FORMAT,
            "precision": str(dtype).removeprefix("torch."),
            **self._identity(),
        }
        text = json.dumps(what, indent=1, sort_keys=True)
        name = blake2b(text.encode(), digest_size=8).hexdigest()
        assert self.cache_dir is not None
        home = Path(self.cache_dir).expanduser()
        folder = home / f"{type(self).__name__}-{name}-{self.cache_dtype}"
        try:
            if not folder.exists():
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "identity.json").write_text(text + "\n")  # for people
        except OSError as error:
            raise unusable(folder, error) from error
        return folder

    def _encoder(self, folder: Path | None = None) -> Encoder:
        """Give the network, loaded on first use and after `set_params`.

        `folder` is that of its cache: another name means other weights.
        """
        device, dtype = _resolve(self.device, self.precision)
        key = (*self._loaded_from(), device, dtype, folder)
        if self._loaded is None or self._loaded[0] != key:
            encoder = replace(self._load(), device=device, dtype=dtype)
            encoder.module.to(device, dtype).eval().requires_grad_(False)
            self._loaded = (key, encoder)
        return self._loaded[1]

    def _find_width(self, sources: Iterator[Source]) -> int | None:
        """Length of the features, with the least work; None if only a row can tell."""
        folder = None if self.cache_dir is None else self._cache_folder()
        if folder is not None:
            with FeatureStore(folder, self.cache_dtype) as store:
                if store.width is not None:
                    return store.width
        width = self._encoder(folder).n_features_out
        for source in sources if width is None else ():
            if 0 not in (source.bad_rows or ()):
                with suppress(NothingReadableError):
                    return self._gathered(iter([source.part(0, 1)]), 1).shape[1]
        return width

    def _check_params(self) -> None:
        """Check the shared parameters, before any work."""
        check_number("batch_size", self.batch_size, 1, MAX_BATCH_SIZE, integer=True)
        check_verbose(self.verbose)
        if self.n_jobs is not None:
            check_number("n_jobs", self.n_jobs, -math.inf, integer=True)
            if self.n_jobs == 0:
                raise ValueError("n_jobs must not be 0. Use None or 1 for one process.")
        if self.cache_dir is not None:
            check_folder("cache_dir", self.cache_dir)
        check_option("cache_dtype", self.cache_dtype, ("float32", "float16"))
        check_option("on_error", self.on_error, ("raise", "nan"))
        _resolve(self.device, self.precision)

    def _check_loaded(self) -> None:
        self._check_params()

    def _progress_bar(self, n_rows: int | None) -> Any:
        """Give a bar on stderr, which stays hidden unless `verbose`."""
        if self.verbose:
            from tqdm.auto import tqdm  # may warn in a notebook: not without need
        else:
            from tqdm import tqdm
        name = type(self).__name__
        return tqdm(total=n_rows, desc=name, unit=self._unit, disable=not self.verbose)

    @property
    def _n_features_out(self) -> int:
        """Number of output columns, for `get_feature_names_out`.

        Never loads: scikit-learn asks for all attributes to show an estimator.
        """
        if self._width is not None:
            return self._width
        if "n_features_out_" in vars(self):  # of subclasses that learn
            return self.n_features_out_
        if self._loaded is not None and self._loaded[1].n_features_out is not None:
            return self._loaded[1].n_features_out + self._n_extra
        raise AttributeError("The network is not loaded yet: call fit.")

    def __getstate__(self) -> dict[str, Any]:
        """Give the parameters and fitted numbers, without the network."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_loaded"}

    def __sklearn_tags__(self) -> Tags:
        """Say that nothing is learned, and that float32 comes out."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        tags.requires_fit = False
        return tags


def _resolve(
    device: str | torch.device, precision: str
) -> tuple[torch.device, torch.dtype]:
    """Turn the parameters of these names into a usable device and a dtype."""
    chosen = usable_device(device)
    check_option("precision", precision, ("auto", *_DTYPES))
    if precision == "auto":
        # CUDA's float16 units are several times faster; elsewhere it gains little.
        precision = "float16" if chosen.type == "cuda" else "float32"
    return chosen, _DTYPES[precision]
