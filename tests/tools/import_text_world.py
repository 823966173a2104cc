"""Text models in the layouts in which they are published, small and with random weights; and data sets of texts."""

import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from import_world import LAYERS, as_json, byte_pairs, drawn, random, saved

WIDTH, MLP, POSITIONS, RANK = 16, 32, 64, 2
WORDS = "good bad film plot a the was very not slow great dull actor scene music one two red blue".split()
SENTIMENTS = ["negative", "positive"]


def sentences(name, count):
    stream = random(name)
    return [" ".join(stream.choice(WORDS, stream.integers(3, 9))) for _ in range(count)]


# ---- tokenizers ------------------------------------------------------------------------------------------------------


def byte_level(*special, template=None):
    tokenizer = byte_pairs([*WORDS, *("\u0120" + word for word in WORDS)], special)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    return _with_template(tokenizer, template, special)


def word_piece():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = [*special, *WORDS, *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
    ids = {name: i for i, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(special)
    tokenizer.enable_padding(length=POSITIONS)  # as published files may have it; rows are read without
    return _with_template(tokenizer, "[CLS] $A [SEP]", special, pair="[CLS] $A [SEP] $B:1 [SEP]:1")


def unigram(more=()):
    """more: words that are one token."""
    special = ["<pad>", "</s>", "<unk>"]
    pieces = [(name, 0.0) for name in special] + [(f"\u2581{word}", -3.0) for word in [*WORDS, *more]]
    pieces += [("\u2581", -6.0), *((c, -9.0) for c in "abcdefghijklmnopqrstuvwxyz:?'")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(special)
    return _with_template(tokenizer, "$A </s>", special)


def _with_template(tokenizer, template, special, pair=None):
    if template:
        marks = [(name, tokenizer.token_to_id(name)) for name in special if name in template]
        tokenizer.post_processor = processors.TemplateProcessing(template, pair, special_tokens=marks)
    return tokenizer


# ---- models ----------------------------------------------------------------------------------------------------------


def _linear(name, rows, columns):
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name):
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def bert_shapes(vocabulary, prefix="bert."):
    shapes = {f"embeddings.{n}_embeddings.weight": (rows, WIDTH)
              for n, rows in (("word", vocabulary), ("position", POSITIONS), ("token_type", 2))}  # fmt: skip
    shapes |= _norm("embeddings.LayerNorm") | _linear("pooler.dense", WIDTH, WIDTH)
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= _linear(layer + name, WIDTH, WIDTH)
        shapes |= _linear(f"{layer}intermediate.dense", MLP, WIDTH) | _linear(f"{layer}output.dense", WIDTH, MLP)
        shapes |= _norm(f"{layer}attention.output.LayerNorm") | _norm(f"{layer}output.LayerNorm")
    return {prefix + name: shape for name, shape in shapes.items()}


def bert_files(folder, name, classes=None):
    tokenizer = word_piece()
    config = {
        "model_type": "bert", "vocab_size": tokenizer.get_vocab_size(), "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": MLP, "pad_token_id": 0,
        "max_position_embeddings": POSITIONS,
    }  # fmt: skip
    shapes = bert_shapes(config["vocab_size"])
    if classes:
        config |= {"id2label": dict(enumerate(classes)), "architectures": ["BertForSequenceClassification"]}
        shapes |= _linear("classifier", len(classes), WIDTH)
    return _files(folder, name, config, shapes, tokenizer)


def gpt2_files(folder, name, labels=None):
    tokenizer = byte_level("<|endoftext|>")
    vocabulary = tokenizer.get_vocab_size()
    config = {
        "model_type": "gpt2", "vocab_size": vocabulary, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": 2,
        "n_positions": POSITIONS, "n_inner": MLP, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    shapes = {"wte.weight": (vocabulary, WIDTH), "wpe.weight": (POSITIONS, WIDTH), **_norm("ln_f")}
    for i in range(LAYERS):
        shapes |= _norm(f"h.{i}.ln_1") | _norm(f"h.{i}.ln_2")
        for part, rows, columns in (("attn.c_attn", WIDTH, 3 * WIDTH), ("attn.c_proj", WIDTH, WIDTH),
                                    ("mlp.c_fc", WIDTH, MLP), ("mlp.c_proj", MLP, WIDTH)):  # fmt: skip
            shapes |= {f"h.{i}.{part}.weight": (rows, columns), f"h.{i}.{part}.bias": (columns,)}
    shapes = {f"transformer.{each}": shape for each, shape in shapes.items()}
    if labels:
        config |= {"pad_token_id": 0, "architectures": ["GPT2ForSequenceClassification"]}
        config |= {"id2label": {i: f"LABEL_{i}" for i in range(labels)}}
        shapes["score.weight"] = (labels, WIDTH)
    files = _files(folder, name, config, shapes, tokenizer)
    return files if labels is None else {key: each for key, each in files.items() if key != "tokenizer.json"}


def t5_files(folder, name, more=()):
    tokenizer = unigram(more)
    config = {
        "model_type": "t5", "vocab_size": tokenizer.get_vocab_size() + 2, "d_model": WIDTH, "d_kv": 8, "d_ff": MLP,
        "num_layers": LAYERS, "num_decoder_layers": LAYERS, "num_heads": 2, "feed_forward_proj": "gated-gelu",
        "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0, "tie_word_embeddings": False,
        "relative_attention_num_buckets": 8, "relative_attention_max_distance": 16,
    }  # fmt: skip
    shapes = {n: (config["vocab_size"], WIDTH) for n in ("shared.weight", "lm_head.weight")}
    for stack, attentions in (("encoder", ["SelfAttention"]), ("decoder", ["SelfAttention", "EncDecAttention"])):
        shapes[f"{stack}.final_layer_norm.weight"] = (WIDTH,)
        shapes[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = (8, 2)
        for i in range(LAYERS):
            block = f"{stack}.block.{i}.layer."
            for k, attention in enumerate(attentions):
                shapes |= {f"{block}{k}.{attention}.{n}.weight": (WIDTH, WIDTH) for n in "qkvo"}
            dense = f"{block}{len(attentions)}.DenseReluDense."
            shapes |= {f"{dense}wi_0.weight": (MLP, WIDTH), f"{dense}wi_1.weight": (MLP, WIDTH)}
            shapes |= {f"{dense}wo.weight": (WIDTH, MLP)}
            shapes |= {f"{block}{k}.layer_norm.weight": (WIDTH,) for k in range(len(attentions) + 1)}
    return _files(folder, name, config, shapes, tokenizer)


def t5_adapter_files(folder, name, base):
    config = {
        "peft_type": "LORA", "base_model_name_or_path": base, "r": RANK, "lora_alpha": 4, "bias": "none",
        "target_modules": ["q", "v"], "task_type": "SEQ_2_SEQ_LM",
    }  # fmt: skip
    attentions = ("encoder.block.{}.layer.0.SelfAttention", "decoder.block.{}.layer.0.SelfAttention",
                  "decoder.block.{}.layer.1.EncDecAttention")  # fmt: skip
    shapes = {}
    for module in (f"{attention.format(i)}.{n}" for attention in attentions for i in range(LAYERS) for n in "qv"):
        shapes[f"base_model.model.{module}.lora_A.weight"] = (RANK, WIDTH)
        shapes[f"base_model.model.{module}.lora_B.weight"] = (WIDTH, RANK)
    return {"adapter_config.json": as_json(config), "adapter_model.safetensors": saved(drawn(shapes, name), folder)}


def llama_files(folder, name):
    tokenizer = byte_level("<s>", "</s>", "<unk>", template="<s> $A")
    vocabulary = tokenizer.get_vocab_size()
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": vocabulary, "hidden_size": WIDTH,
        "intermediate_size": MLP, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": POSITIONS, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "bos_token_id": 0,
        "eos_token_id": 1,
    }  # fmt: skip
    shapes = {"model.embed_tokens.weight": (vocabulary, WIDTH), "lm_head.weight": (vocabulary, WIDTH)}
    shapes["model.norm.weight"] = (WIDTH,)
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        shapes |= {f"{layer}self_attn.{n}_proj.weight": (WIDTH, WIDTH) for n in "qo"}
        shapes |= {f"{layer}self_attn.{n}_proj.weight": (WIDTH // 2, WIDTH) for n in "kv"}
        shapes |= {f"{layer}mlp.{n}_proj.weight": (MLP, WIDTH) for n in ("gate", "up")}
        shapes |= {f"{layer}mlp.down_proj.weight": (WIDTH, MLP)}
        shapes |= {f"{layer}{n}_layernorm.weight": (WIDTH,) for n in ("input", "post_attention")}
    return _files(folder, name, config, shapes, tokenizer)


def _files(folder, name, config, shapes, tokenizer):
    return {
        "config.json": as_json(config), "model.safetensors": saved(drawn(shapes, name), folder),
        "tokenizer.json": tokenizer.to_str().encode(),
    }  # fmt: skip


def write_files(folder, files):
    """A plain folder."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


# ---- data sets -------------------------------------------------------------------------------------------------------


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_reviews(folder):
    """Sentences with a label, in lines of JSON."""
    for split, count in (("train", 24), ("validation", 10), ("test", 12)):
        texts = sentences(f"reviews/{split}", count)
        write_lines(folder / f"{split}.jsonl", [{"sentence": text, "label": i % 2} for i, text in enumerate(texts)])


def write_pairs(folder):
    """Two sentences with a label that has a name, in one table without splits."""
    firsts, seconds = sentences("first", 40), sentences("second", 40)
    folder.mkdir(parents=True)
    lines = [
        "first,second,label",
        *(f"{a},{b},{('same', 'other')[i % 2]}" for i, (a, b) in enumerate(zip(firsts, seconds))),
    ]
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
