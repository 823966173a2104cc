"""CLIP's text tower, which makes heads of prompts.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
arXiv:2103.00020; tensors by the names of HuggingFace's CLIPModel. In numpy: a few thousand short texts take minutes,
and nothing has to be installed for them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from .job import Progress
from .models import read_config, read_tensors

_BATCH = 128


class TextTower:
    def __init__(self, base: Path) -> None:
        path = base / "tokenizer.json"
        if not path.is_file():
            raise ValueError(f"{path} must be there for CLIP's prompts, but is missing; download the base again")
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._weights = _text_weights(base)
        config = read_config(base).get("text_config") or {}
        self._heads = config.get("num_attention_heads", 8)
        self._epsilon = config.get("layer_norm_eps", 1e-5)
        if (activation := config.get("hidden_act", "quick_gelu")) != "quick_gelu":
            raise ValueError(f"{base}: hidden_act of the text tower must be quick_gelu, but it is {activation}")

    @property
    def logit_scale(self) -> np.ndarray:
        return self._weights["logit_scale"].reshape(())

    def heads(self, prompts: Sequence[Sequence[str]], what: str) -> np.ndarray:
        """float32 [classes, embedding], rows of length 1: the mean of the unit vectors of a class's texts."""
        vectors = _unit(self._encode([text for texts in prompts for text in texts], what))
        ends = np.cumsum([0] + [len(texts) for texts in prompts])
        return _unit(np.stack([vectors[a:b].mean(axis=0) for a, b in zip(ends, ends[1:])]))

    def _encode(self, texts: Sequence[str], what: str) -> np.ndarray:
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        longest = len(self._weights["text_model.embeddings.position_embedding.weight"])
        if too_long := [text for text, row in zip(texts, rows) if len(row) > longest]:
            raise ValueError(f"{what}: a prompt must have at most {longest} tokens, but one is '{too_long[0]}'")
        progress = Progress(f"{what}: prompts", len(rows))
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        found: dict[int, np.ndarray] = {}
        while order:
            length = len(rows[order[0]])
            batch = [i for i in order[:_BATCH] if len(rows[i]) == length]
            order = order[len(batch) :]
            for i, vector in zip(batch, self._forward(np.array([rows[i] for i in batch]))):
                found[i] = vector
                progress.step()
        return np.stack([found[i] for i in range(len(rows))])

    def _forward(self, ids: np.ndarray) -> np.ndarray:
        """[texts, tokens] -> [texts, embedding], read at the first token that ends a text."""
        weight = self._weights
        x = weight["text_model.embeddings.token_embedding.weight"][ids]
        x = x + weight["text_model.embeddings.position_embedding.weight"][: ids.shape[1]]
        block = 0
        while (name := f"text_model.encoder.layers.{block}.") + "layer_norm1.weight" in weight:
            x = x + self._attention(self._norm(x, name + "layer_norm1"), name + "self_attn.")
            hidden = self._linear(self._norm(x, name + "layer_norm2"), name + "mlp.fc1")
            x = x + self._linear(hidden / (1 + np.exp(-1.702 * hidden)), name + "mlp.fc2")
            block += 1
        ends = (ids == ids[:, -1:]).argmax(axis=1)
        pooled = self._norm(x, "text_model.final_layer_norm")[np.arange(len(ids)), ends]
        return pooled @ weight["text_projection.weight"].T

    def _attention(self, x: np.ndarray, name: str) -> np.ndarray:
        texts, tokens, width = x.shape
        split = (
            lambda each: self._linear(x, name + each).reshape(texts, tokens, self._heads, -1).transpose(0, 2, 1, 3)
        )
        query, key, value = map(split, ("q_proj", "k_proj", "v_proj"))
        scores = query @ key.swapaxes(2, 3) / np.float32(np.sqrt(width // self._heads))
        scores = np.where(np.tri(tokens, dtype=bool), scores, np.float32(-np.inf))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = scores / scores.sum(axis=-1, keepdims=True) @ value
        return self._linear(mixed.transpose(0, 2, 1, 3).reshape(texts, tokens, width), name + "out_proj")

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        """One product of all rows: numpy would make one for each text."""
        weight = self._weights[f"{name}.weight"]
        return (x.reshape(-1, x.shape[-1]) @ weight.T).reshape(*x.shape[:-1], len(weight)) + self._weights[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(self._epsilon))
        return x * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _text_weights(base: Path) -> dict[str, np.ndarray]:
    weights = read_tensors(base, lambda name: name.startswith(("text_model.", "text_projection.", "logit_scale")))
    for name in ("text_projection.weight", "logit_scale", "text_model.embeddings.token_embedding.weight"):
        if name not in weights:
            raise ValueError(
                f"{base} must be a whole CLIPModel, whose text tower makes the heads, but has no {name}; name "
                "the model that its vision tower came from"
            )
    return weights


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
