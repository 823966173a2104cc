"""Configurations of mergekit that fusegrid must run to the same bytes: for grid_test.py, which runs fusegrid, and
tests/golden/make_mergekit_files.py, which ran mergekit 0.1.5.

Models are made by `fusegrid synth`, so none are committed. What is compared of a result is one digest over its tensors.
"""

import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess

# PyTorch's kernels for AVX2 and MKL's for any processor: the last bits of sums and functions are then those of every
# machine that the program runs on.
ENVIRONMENT = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1",
               "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
LAYERS = 4
# Sizes that are no multiples of what PyTorch adds up side by side.
SIZES = ["--layers", str(LAYERS), "--hidden", "36", "--intermediate", "44", "--heads", "4", "--kv-heads", "2",
         "--experts", "5"]
VOCABULARY = 70


def make_models(program, folder):
    """bf16, fp16 and fp32: each a base, and expert-0 to expert-4. words: the same with tokenizers that differ."""
    for dtype in ("bf16", "fp16", "fp32"):
        synthesise(program, folder / dtype, dtype, VOCABULARY)
    # as many rows as the tokenizer has tokens, or a few more
    (folder / "words").mkdir()
    for name, made, rows, tokens in (
            ("base", "base", 20, words(20)), ("same", "expert-0", 20, words(20)),
            ("turned", "expert-1", 20, words(20)[::-1]), ("more", "expert-2", 26, words(22)),
            ("other", "expert-3", 18, ["only-here", *words(16)[4:], "pad"])):
        synthesise(program, folder / "made" / name, "bf16", rows)
        (folder / "made" / name / made).rename(folder / "words" / name)
        write_tokenizer(folder / "words" / name, tokens)
    for name in ("base", "expert-0"):
        tie(folder / "bf16" / name, folder / "tied" / name)


def synthesise(program, folder, dtype, rows):
    folder.parent.mkdir(exist_ok=True)
    subprocess.run([program, "synth", "--out", folder, "--dtype", dtype, "--vocab", str(rows), *SIZES], check=True,
                   stdout=subprocess.DEVNULL)


def tie(model, folder):
    """The model with its embedding for a head."""
    shutil.copytree(model, folder)
    kept = [(name, dtype, shape, data) for name, dtype, shape, data in tensors_of(model) if name != "lm_head.weight"]
    header, begin = {}, 0
    for name, dtype, shape, data in kept:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin + len(data)]}
        begin += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", len(text)) + text + b"".join(data for *_, data in kept))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))


def words(count):
    return [f"word{i}" for i in range(count)]


def write_tokenizer(folder, tokens):
    """Words between spaces; the last is a token that was added."""
    added = {"id": len(tokens) - 1, "content": tokens[-1], "single_word": False, "lstrip": True, "rstrip": False,
             "normalized": False, "special": True}
    vocabulary = {token: i for i, token in enumerate(tokens[:-1])}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [added], "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": tokens[0]}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))


def tokens_of(folder):
    """Token -> row, where the result has a vocabulary of its own."""
    whole = json.loads((folder / "tokenizer.json").read_text())
    return {**whole["model"]["vocab"], **{token["content"]: token["id"] for token in whole["added_tokens"]}}


def tensors_of(folder):
    """(name, dtype, shape, bytes) of a folder with one weight file, sorted by name."""
    data = (pathlib.Path(folder) / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    for name, info in sorted(json.loads(data[8:8 + size]).items()):
        if name != "__metadata__":
            begin, end = info["data_offsets"]
            yield name, info["dtype"], info["shape"], data[8 + size + begin:8 + size + end]


def digest(folder, configuration):
    """Of the tensors. Rows of a vocabulary of its own count in the order of their tokens: in what order a union adds
    them mergekit leaves to a hash table."""
    folder = pathlib.Path(folder)
    rows = tokens_of(folder) if "tokenizer" in configuration or "tokenizer_source" in configuration else {}
    sha = hashlib.sha256(json.dumps(sorted(rows)).encode())
    for name, dtype, shape, data in tensors_of(folder):
        if rows and shape[0] >= len(rows) and ("embed_tokens" in name or "lm_head" in name):
            width = len(data) // shape[0]
            order = [rows[token] for token in sorted(rows)] + list(range(len(rows), shape[0]))
            data = b"".join(data[row * width:(row + 1) * width] for row in order)
        sha.update(f"{name} {dtype} {shape} {len(data)}\n".encode())
        sha.update(data)
    return sha.hexdigest()[:20]


def models(count, *, base=True, parameters=None, dtype="bf16", each=None):
    """Entries of `models`; each: a function of the expert's number, its parameters."""
    listed = [{"model": f"{dtype}/base"}] if base else []
    for i in range(count):
        entry = {"model": f"{dtype}/expert-{i}"}
        if each:
            entry["parameters"] = each(i)
        listed.append(entry)
    return listed


WEIGHTS = [0.5, 0.3, 0.2, 0.4, 0.7]
GRADIENTS = [[0, 1], [1, 0.5, 0.1], [0.3, 0.9, 0.4, 0.6, 0.2], [0.7], [1, 0.2]]


def weight(i):
    return {"weight": WEIGHTS[i]}


def gradient(i):
    return {"weight": GRADIENTS[i]}


def filters(i):
    return {"weight": [{"filter": "self_attn", "value": GRADIENTS[i]}, {"filter": "mlp", "value": WEIGHTS[i]},
                       {"filter": "layers.2.", "value": 0.9}, {"value": 0.25 + i / 8}]}


def filtered_t():
    return [{"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]}, {"filter": "mlp", "value": [1, 0.5, 0.7, 0.3, 0]},
            {"value": 0.5}]


def source(model, begin, end, **parameters):
    entry = {"model": model, "layer_range": [begin, end]}
    if parameters:
        entry["parameters"] = parameters
    return entry


TASK_VECTOR_METHODS = {
    "task_arithmetic": {}, "ties": {"density": 0.6}, "breadcrumbs": {"density": 0.7, "gamma": 0.05},
    "breadcrumbs_ties": {"density": 0.7, "gamma": 0.05}, "dare_linear": {}, "dare_ties": {}, "della": {},
    "della_linear": {}}


def task_vector_cases():
    for method, own in TASK_VECTOR_METHODS.items():
        base = {"merge_method": method, "base_model": "bf16/base"}
        yield f"{method}", {**base, "models": models(3, each=weight), "parameters": own}
        yield f"{method}_lambda", {**base, "models": models(4, base=False, each=weight),
                                   "parameters": {**own, "lambda": 0.7, "int8_mask": True}}
        yield f"{method}_normalized", {**base, "models": models(2, each=weight), "dtype": "float32",
                                       "parameters": {**own, "normalize": True}}
        yield f"{method}_sum", {**base, "models": models(5, each=weight), "dtype": "float16",
                                "parameters": {**own, "normalize": False, "lambda": [0.5, 1.5]}}
        yield f"{method}_gradient", {**base, "models": models(3, each=gradient), "out_dtype": "float32",
                                     "parameters": own}
        yield f"{method}_filters", {**base, "models": models(2, each=filters), "dtype": "float32",
                                    "out_dtype": "bfloat16", "parameters": own}
    for rescale in (True, False):
        for method, own in (("ties", {"density": [0.9, 0.3]}), ("breadcrumbs", {"density": 0.8})):
            yield f"{method}_rescale_{rescale}", {
                "merge_method": method, "base_model": "fp32/base", "models": models(3, dtype="fp32", each=weight),
                "parameters": {**own, "rescale": rescale}}
    yield "ties_densities", {
        "merge_method": "ties", "base_model": "fp16/base",
        "models": models(4, dtype="fp16", each=lambda i: {"weight": [0.2, 0.8], "density": [1.0, 0.1 + i / 5]})}


def linear_cases():
    for dtype in ("bf16", "fp16", "fp32"):
        for normalize in (True, False):
            yield f"linear_{dtype}_{normalize}", {
                "merge_method": "linear", "models": models(3, dtype=dtype, each=weight),
                "parameters": {"normalize": normalize, "weight": 0.4}}
    yield "linear_gradient", {"merge_method": "linear", "models": models(3, base=False, each=gradient)}
    yield "linear_filters", {"merge_method": "linear", "models": models(4, base=False, each=filters),
                             "dtype": "float16"}
    yield "linear_text_numbers", {"merge_method": "linear", "models": models(
        2, base=False, each=lambda i: {"weight": ["1e-1", "0.7"][i]})}
    yield "linear_base_model", {"merge_method": "linear", "base_model": "bf16/base",
                                "models": models(2, base=False, each=weight), "parameters": {"weight": 0.3}}
    yield "linear_mixed_dtypes", {"merge_method": "linear", "parameters": {"weight": 1}, "models": [
        {"model": "bf16/expert-0"}, {"model": "fp16/expert-1"}]}
    yield "linear_mixed_rounded", {"merge_method": "linear", "parameters": {"weight": 1}, "dtype": "bfloat16",
                                   "models": [{"model": "fp32/expert-0"}, {"model": "fp16/expert-1"}]}
    yield "linear_module", {"merge_method": "linear", "parameters": {"weight": 0.1}, "modules": {"default": {
        "models": models(2, base=False), "parameters": {"weight": [{"filter": "mlp", "value": [0.2, 0.6]}]}}}}


def tied_cases():
    tied = [{"model": "tied/base"}, {"model": "tied/expert-0"}]
    yield "tied", {"merge_method": "linear", "parameters": {"weight": [0.3, 0.7]}, "models": tied}
    yield "tied_one", {"merge_method": "task_arithmetic", "base_model": "tied/base", "models": [
        {"model": "bf16/expert-1", "parameters": {"weight": [{"filter": "lm_head", "value": 0.2}, {"value": 0.9}]}},
        {"model": "tied/expert-0", "parameters": {"weight": [{"filter": "embed", "value": 0.6}, {"value": 0.4}]}}]}
    yield "tied_tokens", {"merge_method": "slerp", "base_model": "tied/base", "parameters": {"t": 0.4},
                          "models": tied[1:], "tokenizer_source": "base"}


def arc_cases():
    for name, t in (("number", 0.3), ("gradient", [0, 1]), ("filters", filtered_t()), ("end", 1), ("five",
                                                                                     [0, 0.3, 0.9, 0.1, 0.5])):
        for dtype in ("bf16", "fp32"):
            yield f"slerp_{name}_{dtype}", {
                "merge_method": "slerp", "base_model": f"{dtype}/expert-1",
                "models": models(2, base=False, dtype=dtype), "parameters": {"t": t}}
    yield "slerp_slices", {"merge_method": "slerp", "base_model": "bf16/expert-0", "dtype": "bfloat16", "slices": [
        {"sources": [source("bf16/expert-0", 0, LAYERS), source("bf16/expert-1", 0, LAYERS)]}],
        "parameters": {"t": filtered_t()}}
    yield "slerp_float32", {"merge_method": "slerp", "base_model": "bf16/base", "models": models(1), "dtype": "float32",
                            "out_dtype": "float16", "parameters": {"t": 0.6}}
    for name, own in (("tensor", {}), ("rows", {"nuslerp_flatten": False}),
                      ("columns", {"nuslerp_flatten": False, "nuslerp_row_wise": True})):
        yield f"nuslerp_{name}", {"merge_method": "nuslerp", "models": models(2, base=False, each=weight),
                                  "parameters": own}
        yield f"nuslerp_{name}_base", {"merge_method": "nuslerp", "base_model": "fp32/base", "parameters": own,
                                       "models": models(2, dtype="fp32", each=gradient)}
    yield "multislerp", {"merge_method": "multislerp", "models": models(3, base=False, each=weight), "dtype": "float32"}
    yield "multislerp_base", {"merge_method": "multislerp", "base_model": "fp32/base",
                              "models": models(3, dtype="fp32", each=gradient), "parameters": {"eps": 0.001}}
    yield "multislerp_raw", {"merge_method": "multislerp", "models": models(2, base=False, dtype="fp32", each=weight),
                             "parameters": {"normalize_weights": False}}
    yield "karcher", {"merge_method": "karcher", "models": models(3, base=False)}
    yield "karcher_gradient", {"merge_method": "karcher", "base_model": "fp32/base", "models": models(2, dtype="fp32"),
                               "parameters": {"max_iter": [1, 4], "tol": "1e-4"}}
    yield "model_stock", {"merge_method": "model_stock", "base_model": "bf16/base", "models": models(3, base=False)}
    yield "model_stock_filters", {"merge_method": "model_stock", "base_model": "fp32/base",
                                  "models": models(2, dtype="fp32"), "parameters": {"filter_wise": [True, False, True]}}


def selective_cases():
    for dtype in ("bf16", "fp32"):
        base = {"base_model": f"{dtype}/base"}
        yield f"sce_{dtype}", {**base, "merge_method": "sce", "models": models(3, dtype=dtype)}
        yield f"sce_half_{dtype}", {**base, "merge_method": "sce", "models": models(3, dtype=dtype),
                                    "parameters": {"select_topk": [0.2, 0.8], "int8_mask": True}}
        yield f"ram_{dtype}", {**base, "merge_method": "ram", "models": models(4, dtype=dtype),
                               "parameters": {"epsilon": 0.0003}}
        yield f"ramplus_tl_{dtype}", {**base, "merge_method": "ramplus_tl", "models": models(3, dtype=dtype),
                                      "parameters": {"epsilon": [0.0001, 0.0005], "r": 0.4, "alpha": 0.3}}
        yield f"nearswap_{dtype}", {**base, "merge_method": "nearswap", "models": models(1, dtype=dtype),
                                    "parameters": {"t": [{"filter": "mlp", "value": 0.0001}, {"value": [0, 0.001]}]}}
        yield f"arcee_fusion_{dtype}", {**base, "merge_method": "arcee_fusion", "models": models(1, dtype=dtype)}
    yield "arcee_fusion_rounded", {"base_model": "bf16/base", "merge_method": "arcee_fusion", "models": models(1),
                                   "dtype": "float16", "out_dtype": "bfloat16"}


def slice_cases():
    first, second = "bf16/expert-0", "bf16/expert-1"
    yield "passthrough", {"merge_method": "passthrough", "models": [{"model": first}]}
    yield "passthrough_out", {"merge_method": "passthrough", "models": [{"model": first}], "out_dtype": "float16"}
    stack = [{"sources": [source(first, 0, 3)]}, {"sources": [source(second, 1, 4)]}]
    yield "stack", {"merge_method": "passthrough", "slices": stack, "dtype": "bfloat16"}
    yield "stack_of_one", {"merge_method": "passthrough", "slices": [
        {"sources": [source(first, 0, 2)]}, {"sources": [source(first, 1, 3)]}, {"sources": [source(first, 2, 4)]}]}
    yield "stack_base", {"merge_method": "passthrough", "base_model": second, "slices": stack[::-1]}
    scaled = {"scale": [{"filter": "o_proj", "value": 0.0}, {"filter": "down_proj", "value": [0.5, 0.7]},
                        {"value": 1.0}]}
    yield "stack_scaled", {"merge_method": "passthrough", "slices": [
        {"sources": [source(first, 0, 3)]}, {"sources": [source(second, 1, 4, **scaled)]}]}
    yield "stack_scaled_slice", {"merge_method": "passthrough", "slices": [
        {"sources": [source(first, 0, 2)], "parameters": {"scale": 0.7}}, {"sources": [source(second, 2, 4)]}],
        "parameters": {"scale": [{"filter": "layers.3.", "value": 1.3}]}}
    yield "slerp_stack", {"merge_method": "slerp", "base_model": first, "slices": [
        {"sources": [source(first, 0, 2), source(second, 0, 2)], "parameters": {"t": [0, 0.4]}},
        {"sources": [source(second, 1, 4), source(first, 1, 4)]}], "parameters": {"t": filtered_t()}}
    yield "slerp_bases", {"merge_method": "slerp", "base_model": first, "dtype": "float32", "slices": [
        {"sources": [source(first, 0, 2), source(second, 2, 4)]},
        {"base_model": "bf16/base", "sources": [source("bf16/base", 1, 4), source(second, 1, 4)]}],
        "parameters": {"t": [0.1, 0.9]}}
    yield "linear_uneven", {"merge_method": "linear", "slices": [
        {"sources": [source(first, 0, 1, weight=1)]},
        {"sources": [source(first, 1, 3, weight=0.3), source(second, 0, 2, weight=[0.9, 0.2]),
                     source("bf16/base", 2, 4, weight=0.1)]},
        {"sources": [source(second, 2, 4, weight=0.8), source(first, 2, 4, weight=0.4)]}]}
    yield "linear_uneven_ends", {"merge_method": "linear", "parameters": {"weight": [0.25, 0.75]}, "slices": [
        {"sources": [source(second, 0, 2), source("bf16/base", 1, 3)]}, {"sources": [source(first, 3, 4)]}]}
    yield "task_arithmetic_slices", {"merge_method": "task_arithmetic", "base_model": "bf16/base", "slices": [
        {"sources": [source("bf16/base", 0, 2), source(first, 0, 2, weight=[0.2, 0.7])]},
        {"sources": [source(second, 2, 4, weight=1.1), source("bf16/base", 2, 4), source(first, 1, 3, weight=0.3)]}]}
    by_source = [{"filter": "layers.1.", "value": 0.9}, {"filter": "layers.3.", "value": 0.2}, {"value": 0.5}]
    yield "ties_slices_filters", {"merge_method": "ties", "base_model": "bf16/base", "slices": [
        {"sources": [source("bf16/base", 0, 2), source(first, 2, 4, weight=by_source), source(second, 0, 2, weight=0.4)],
         "parameters": {"density": [{"filter": "layers.1.", "value": 0.3}, {"value": 0.8}]}},
        {"sources": [source("bf16/base", 1, 3), source(first, 1, 3, weight=by_source), source(second, 2, 4, weight=1)]}]}


def vocabulary_cases():
    every = ["words/same", "words/turned", "words/more", "words/other"]

    def linear(*names, **more):
        return {"merge_method": "linear", "parameters": {"weight": 1}, "models": [{"model": name} for name in names],
                **more}

    def task_arithmetic(*names, **more):
        return {"merge_method": "task_arithmetic", "base_model": "words/base", "parameters": {"weight": [0.3, 0.6]},
                "models": [{"model": name} for name in names], **more}

    yield "tokens_base", task_arithmetic(*every, tokenizer_source="base")
    yield "tokens_model", task_arithmetic(*every[1:3], tokenizer_source="words/turned")
    yield "tokens_union", task_arithmetic(*every, tokenizer_source="union")
    yield "tokens_section", task_arithmetic(*every[::-1], tokenizer={"source": "words/more"}, dtype="float32")
    yield "tokens_default", task_arithmetic(*every[1:], tokenizer={"pad_to_multiple_of": 1}, out_dtype="float16")
    yield "tokens_slerp", {"merge_method": "slerp", "base_model": "words/turned", "parameters": {"t": [0.2, 0.8]},
                           "models": [{"model": "words/other"}], "tokenizer_source": "union"}
    # without a base the first model's tokenizer comes first, which mergekit leaves to a hash table
    yield "tokens_mean", linear(*every, tokenizer={"source": "words/more"})
    yield "tokens_padded", task_arithmetic("words/turned", tokenizer={"source": "base", "pad_to_multiple_of": 16})
    yield "tokens_padded_model", task_arithmetic(*every, tokenizer={"source": "words/other", "pad_to_multiple_of": 8})
    rules = {"word3": {"source": "words/turned", "force": True}, "word20": {"source": "words/more"},
             "word21": {"source": {"kind": "zero"}},
             "only-here": {"source": {"kind": "model_token", "model": "words/turned", "token": "word2"}},
             "pad": {"source": {"kind": "model_token", "model": "words/base", "token_id": 7}, "force": True}}
    yield "tokens_rules", task_arithmetic(*every, tokenizer={"source": "union", "tokens": rules})
    yield "tokens_new", task_arithmetic("words/turned", tokenizer={"source": "words/turned", "tokens": {
        "<new>": {"source": {"kind": "model_token", "model": "words/base", "token": "word1"}}}})
    yield "tokens_stack", {"merge_method": "passthrough", "base_model": "words/turned", "tokenizer_source": "base",
                           "slices": [{"sources": [source("words/same", 0, 2)]},
                                      {"sources": [source("words/turned", 1, 3)]}]}


def cases():
    """(name, configuration) of all; paths count from the folder of the models."""
    for kind in (linear_cases, task_vector_cases, arc_cases, selective_cases, slice_cases, tied_cases,
                 vocabulary_cases):
        yield from kind()


def environment():
    return {**os.environ, **ENVIRONMENT}
