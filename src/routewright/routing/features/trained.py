"""Text -> what an encoder says of each model, having been trained on their scores. Needs PyTorch, off the event loop.

The encoder is a model of the `transformers` library. Training begins with one in a local folder (config.json,
model.safetensors, tokenizer.json; no pickle, no code of the folder's, nothing downloaded). What was trained travels in
the router file whole: configuration, tokenizer, and the weights in float16. So a file serves on any machine with the
extra, and is as large as the encoder: some 50 MB for 22 million weights; above 128 million it would pass the limit of a
router file.

A text is one pass: alone or among others its vector is the same. On another machine, or with another release of
PyTorch, last bits may differ.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from routewright.routing.features.cheap import cut
from routewright.routing.features.contract import Features, MissingExtra, NoVector, Supplies
from routewright.routing.router import Float32, NotFitted, check_array
from routewright.types import Prompt

EXTRA: Final = "research"
_MAX_NUMBER: Final = 10_000_000
_MAX_POSITIONS: Final = 32_768
_MAX_LAYERS: Final = 100
"""Of an encoder's configuration: what asks for more than these is no encoder for a router."""
_LEFT_OUT: Final = frozenset({"auto_map", "architectures", "quantization_config", "transformers_version"})
_LIMIT: Final = np.float32(30.0)


class TrainedFeatures(Features):
    """An encoder, trained end to end; a vector has a column for each model.

    epochs: times that every prompt is seen. batch_size_fit: prompts a step. learning_rate: of AdamW, falling to 0.
    max_tokens: of a prompt that are read. seed: of everything left to chance.

    Learns config_ and tokenizer_ uint8 (JSON), weights_ float16 (n_weights,), in the order of their names, and
    head_ float32 (n_models, width).

    The vectors of training rows come from the encoder that has seen their scores; the router's calibration on the
    validation rows is what keeps its scores honest.
    """

    arguments: ClassVar[tuple[str, ...]] = ("epochs", "batch_size_fit", "learning_rate", "max_tokens", "seed")
    arrays: ClassVar[tuple[str, ...]] = ("config", "tokenizer", "weights", "head")
    is_quick = False
    config_: NDArray[np.uint8]
    tokenizer_: NDArray[np.uint8]
    weights_: NDArray[np.float16]
    head_: Float32

    def __init__(
        self,
        *,
        epochs: int = 2,
        batch_size_fit: int = 32,
        learning_rate: float = 5e-5,
        max_tokens: int = 128,
        seed: int = 0,
    ) -> None:
        self.epochs = epochs
        self.batch_size_fit = batch_size_fit
        self.learning_rate = learning_rate
        self.max_tokens = max_tokens
        self.seed = seed

    # --- what differs -----------------------------------------------------------------------------------------------

    @abstractmethod
    def pool(self, states: Any, mask: Any) -> Any:
        """One row a text, (n, width), of the last layer's states (n, n_tokens, width) and a mask (n, n_tokens)."""

    @abstractmethod
    def columns(self, rows: Any, head: Any) -> Any:
        """What the encoder says of each model, (n, n_models), of pooled rows and the head's (n_models, width)."""

    @abstractmethod
    def loss(self, rows: Any, head: Any, quality: Any, groups: Any) -> Any:
        """What training makes small, for one step: quality (n, n_models), NaN where not recorded; groups (n,)."""

    # --- loading ----------------------------------------------------------------------------------------------------

    def open(self, supplies: Supplies) -> Self:
        """As the contract says."""
        try:
            self._torch: Any = import_module("torch")
            self._transformers: Any = import_module("transformers")
            self._tokenizers: Any = import_module("tokenizers")
        except ImportError as error:
            raise MissingExtra(self.name, EXTRA, error) from None
        self._torch.set_num_threads(1)  # the event loop needs a core; and a sum over several threads has no fixed order
        self._base_model = supplies.base_model
        if hasattr(self, "weights_"):
            self._build()
        return self

    def _build(self) -> None:
        """The encoder from the arrays."""
        config = self._config(json.loads(self.config_.tobytes()))
        torch = self._torch
        with torch.device("meta"):
            wanted = sum(part.numel() for _, part in self._parts(self._transformers.AutoModel.from_config(config)))
        if wanted != self.weights_.size:
            raise ValueError(f'array "weights" has {self.weights_.size} entries, its configuration asks for {wanted}')
        with torch.random.fork_rng():
            model = self._transformers.AutoModel.from_config(config)
        at = 0
        with torch.no_grad():
            for _, part in self._parts(model):
                piece = self.weights_[at : at + part.numel()].astype(np.float32)
                part.copy_(torch.from_numpy(piece).reshape(part.shape))
                at += part.numel()
        self._model = model.eval()
        self._tokenizer = self._tokenizers.Tokenizer.from_str(self.tokenizer_.tobytes().decode())
        self._ready_tokenizer()
        self._head = torch.from_numpy(np.array(self.head_))

    def _config(self, stored: Any) -> Any:
        """A configuration of the library's own classes. Raises ValueError for a number that is too large."""
        if not isinstance(stored, dict) or not isinstance(stored.get("model_type"), str):
            raise ValueError('array "config" is no configuration')
        known = _plain(stored)
        kind = known.pop("model_type")
        if kind not in self._transformers.CONFIG_MAPPING:
            raise ValueError(f'array "config": no model type "{kind}" in this release of transformers')
        config = self._transformers.AutoConfig.for_model(kind, **known)
        config._attn_implementation = "eager"
        return config

    def _parts(self, model: Any) -> Iterator[tuple[str, Any]]:
        """Names and tensors of all that was trained, in the order of the names."""
        for name, part in sorted(model.state_dict().items()):
            if part.is_floating_point():
                yield name, part

    def _ready_tokenizer(self) -> None:
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_tokens)

    # --- vectors ----------------------------------------------------------------------------------------------------

    @property
    def n_features(self) -> int:
        return len(self.head_)

    def vector(self, prompt: Prompt) -> Float32:
        """As the contract says."""
        if not hasattr(self, "_model"):
            raise NotFitted("fit or load these features before asking them for vectors")
        torch = self._torch
        with torch.inference_mode():
            ids = torch.tensor([self._pieces(prompt)])
            mask = torch.ones_like(ids)
            states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            said = self.columns(self.pool(states, mask), self._head)[0]
        vector: Float32 = np.clip(said.numpy().astype(np.float32), -_LIMIT, _LIMIT)
        if not np.isfinite(vector).all():
            raise NoVector("the encoder gave no number")
        return vector

    def _pieces(self, prompt: Prompt) -> list[int]:
        text = cut(prompt.text).encode("utf-8", "replace").decode()
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids or [0]

    # --- training ---------------------------------------------------------------------------------------------------

    def fit_transform(self, prompts: Sequence[Prompt], quality: Float32 | None = None) -> Float32:
        """As the contract says; scores are needed. Raises ValueError too where there is no base model to begin from."""
        if min(self.epochs, self.batch_size_fit, self.max_tokens) < 1 or not self.learning_rate > 0:
            raise ValueError("epochs, batch_size_fit and max_tokens must be at least 1, learning_rate above 0")
        if not prompts:
            raise ValueError("no prompts to learn from")
        if quality is None:
            raise ValueError(f'features "{self.name}" learn from scores; there are none')
        if self._base_model is None:
            raise ValueError(f'features "{self.name}" need a base model to train: --base-model FOLDER')
        torch = self._torch
        model, config = self._read_base(self._base_model)
        scores = torch.from_numpy(np.array(quality, dtype=np.float32))
        rng = np.random.default_rng(self.seed)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            head = torch.nn.Parameter(torch.randn(scores.shape[1], model.config.hidden_size) * 0.02)
            pieces = [self._pieces(prompt) for prompt in prompts]
            groups = self.group(self._encode(model, pieces))
            optimiser = torch.optim.AdamW([*model.parameters(), head], lr=self.learning_rate)
            n_steps = self.epochs * -(-len(pieces) // self.batch_size_fit)
            fall = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, n_steps)
            model.train()
            for _ in range(self.epochs):
                order = rng.permutation(len(pieces))
                for at in range(0, len(order), self.batch_size_fit):
                    rows = order[at : at + self.batch_size_fit]
                    ids, mask = self._padded([pieces[row] for row in rows])
                    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
                    loss = self.loss(self.pool(states, mask), head, scores[rows], groups[rows])
                    optimiser.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_([*model.parameters(), head], 1.0)
                    optimiser.step()
                    fall.step()
        self.config_ = np.frombuffer(json.dumps(config).encode(), dtype=np.uint8)
        self.tokenizer_ = np.frombuffer(self._tokenizer.to_str().encode(), dtype=np.uint8)
        self.weights_ = np.concatenate(
            [part.detach().numpy().astype(np.float16).ravel() for _, part in self._parts(model)]
        )
        if not np.isfinite(self.weights_).all():
            raise ValueError("training ran away: weights are no longer numbers; try a smaller learning_rate")
        self.head_ = head.detach().numpy().astype(np.float32)
        self._build()
        return self.transform(prompts)

    def _read_base(self, folder: Path) -> tuple[Any, dict[str, Any]]:
        """The model in a folder and its plain configuration, and its tokenizer made ready."""
        try:
            config = json.loads((folder / "config.json").read_bytes())
            self._tokenizer = self._tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._ready_tokenizer()
            model = self._transformers.AutoModel.from_pretrained(
                folder,
                config=self._config(config),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=self._torch.float32,
            )
        except Exception as error:  # noqa: BLE001 - the libraries raise what they like
            raise ValueError(f"{folder} has no model that can be read: {error}") from None
        return model, _plain(config)

    def _padded(self, pieces: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        longest = max(len(ids) for ids in pieces)
        ids = np.zeros((len(pieces), longest), dtype=np.int64)
        mask = np.zeros((len(pieces), longest), dtype=np.int64)
        for row, own in enumerate(pieces):
            ids[row, : len(own)], mask[row, : len(own)] = own, 1
        return self._torch.from_numpy(ids), self._torch.from_numpy(mask)

    def _encode(self, model: Any, pieces: Sequence[Sequence[int]]) -> Float32:
        """The untrained encoder's pooled rows, float32 (n, width)."""
        out = []
        with self._torch.inference_mode():
            for at in range(0, len(pieces), self.batch_size_fit):
                ids, mask = self._padded(pieces[at : at + self.batch_size_fit])
                states = model.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
                out.append(self.pool(states, mask).numpy())
        return np.concatenate(out)

    def group(self, rows: Float32) -> Any:
        """A number for each training row by the untrained encoder's rows, int64 (n,), where the loss asks for one."""
        return self._torch.zeros(len(rows), dtype=self._torch.int64)

    # --- saving and loading -----------------------------------------------------------------------------------------

    def check_state(self) -> None:
        """As the contract says; the encoder is built by `open`."""
        check_array("config", self.config_, np.uint8, (None,))
        check_array("tokenizer", self.tokenizer_, np.uint8, (None,))
        check_array("weights", self.weights_, np.float16, (None,))
        check_array("head", self.head_, np.float32, (None, None))
        if type(self.max_tokens) is not int or not 1 <= self.max_tokens <= 8192:
            raise ValueError(f'argument "max_tokens" must be a whole number in 1..8192, is {self.max_tokens!r}')


def _plain(stored: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Of a configuration what is numbers, short texts and switches; nothing that names code, a kernel or a type.

    Raises ValueError for a number beyond what an encoder that fits a router file has.
    """
    out: dict[str, Any] = {}
    for name, value in stored.items():
        if name.startswith("_") or name in _LEFT_OUT or "attn_implementation" in name or "dtype" in name:
            continue
        values = value if isinstance(value, list) else [value]
        if len(values) > _MAX_LAYERS or (isinstance(value, dict) and depth > 1):
            continue
        for number in values:
            most = _MAX_LAYERS if "layers" in name else _MAX_POSITIONS if "position" in name else _MAX_NUMBER
            if isinstance(number, (int, float)) and not abs(number) <= most:
                raise ValueError(f'array "config": "{name}" is {number!r}, at most {most} is taken')
        if isinstance(value, dict):
            out[name] = _plain(value, depth + 1)
        elif all(item is None or isinstance(item, (bool, int, float, str)) for item in values):
            out[name] = value
    return out
