"""Golden checkpoints and outputs of BERT and RoBERTa, made by `transformers`.

Run: python make_bert.py [OUTPUT_FOLDER]   (default: bert/ beside this file)
With: Python 3.11, torch 2.11.0, transformers 4.57.3 (requirements-fusionbench.txt)

Each case is a folder in the layout of save_pretrained (config.json and
model.safetensors) plus expected.safetensors. All in float32 on the CPU with the
eager attention; hidden_float64 are the same weights evaluated in float64, to judge
rounding against. What stands at a token that fills a row up is zero everywhere.
"""

import copy
import os
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from golden_io import save_golden

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "bert")

BERT = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2,
            num_attention_heads=2, vocab_size=30, max_position_embeddings=10,
            type_vocab_size=2, pad_token_id=0)
# Sizes that differ from each other, and the approximation of gelu by tanh.
MASKED_LM = dict(hidden_size=12, intermediate_size=20, num_hidden_layers=1,
                 num_attention_heads=3, vocab_size=25, max_position_embeddings=8,
                 type_vocab_size=3, pad_token_id=0, hidden_act="gelu_new",
                 layer_norm_eps=1e-3)
# Of 11 rows of positions, 9 are for tokens.
ROBERTA = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2,
               num_attention_heads=4, vocab_size=30, max_position_embeddings=11,
               type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5)
XLM_ROBERTA = dict(hidden_size=12, intermediate_size=20, num_hidden_layers=1,
                   num_attention_heads=2, vocab_size=25, max_position_embeddings=12,
                   type_vocab_size=1, pad_token_id=3, hidden_act="relu", num_labels=3)
PAIRS = dict(hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
             vocab_size=12, max_position_embeddings=9, type_vocab_size=2, pad_token_id=0)
BEGIN, SEPARATOR = 2, 3
FIRST_WORD = 5  # ids below it are special ones, padding among them


def initialise(model, seed):
    """Weights large enough that every part of the network changes the output."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if "LayerNorm" in name:
            parameter.data = 0.2 * noise + (1.0 if name.endswith("weight") else 0.0)
        elif "embeddings" in name:
            parameter.data = 0.5 * noise
        elif parameter.dim() == 2:
            parameter.data = noise / parameter.shape[1] ** 0.5
        else:
            parameter.data = 0.3 * noise
    return model.eval(), generator


def random_rows(config, lengths, generator):
    """Token ids [rows, width] filled up with padding, and which of them count."""
    width = max(lengths)
    tokens = torch.randint(FIRST_WORD, config.vocab_size, (len(lengths), width),
                           generator=generator)
    counting = torch.arange(width).unsqueeze(0) < torch.tensor(lengths).unsqueeze(1)
    return tokens.masked_fill(~counting, config.pad_token_id), counting


def hidden_states(encoder, tokens, counting, types=None):
    output = encoder(input_ids=tokens, attention_mask=counting.long(), token_type_ids=types)
    return output.last_hidden_state * counting.unsqueeze(2)


def poolings(hidden, counting):
    """As published sentence encoders (mean) and classifiers (first; GPT-2's: last) do."""
    lengths = counting.sum(1)
    return {
        "pooled/first": hidden[:, 0],
        "pooled/last": hidden[torch.arange(len(hidden)), lengths - 1],
        "pooled/mean": hidden.sum(1) / lengths.unsqueeze(1),
    }


def taps(encoder, tokens, counting):
    """The input of every linear layer of the encoder."""
    seen, handles = {}, []
    for name, module in encoder.encoder.named_modules():
        if isinstance(module, torch.nn.Linear):
            def keep(_, inputs, name=name):
                seen["tap/encoder." + name] = (inputs[0] * counting.unsqueeze(2)).detach().clone()
            handles.append(module.register_forward_pre_hook(keep))
    encoder(input_ids=tokens, attention_mask=counting.long())
    for handle in handles:
        handle.remove()
    return seen


def gradients(encoder, tokens, counting, probe):
    """d sum(hidden * probe) / d W for every parameter but the pooler's."""
    encoder.zero_grad()
    (hidden_states(encoder, tokens, counting) * probe).sum().backward()
    return {"gradient/" + name: parameter.grad.clone()
            for name, parameter in encoder.named_parameters()
            if not name.startswith("pooler.")}


def use_first_names(folder):
    """The names of layer norms in the first published checkpoints of BERT."""
    path = os.path.join(folder, "model.safetensors")
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in load_file(path).items()
    }
    save_file(renamed, path, metadata={"format": "pt"})


def as_pairs(tokens, lengths):
    """The same as [CLS] a [SEP] b [SEP], the last row without a second text; and the type of each token, 0 where a row
    is filled up, as tokenizers have it. The first text of a row has one more token than the row before."""
    tokens, types = tokens.clone(), torch.zeros_like(tokens)
    for row, length in enumerate(lengths):
        first = row + 2 if row + 1 < len(lengths) else length - 1
        tokens[row, [0, first, length - 1]] = torch.tensor([BEGIN, SEPARATOR, SEPARATOR])
        types[row, first + 1:length] = 1
    return tokens, types


def make(case, model_class, config, lengths, seed, details=False, first_names=False, pairs=False):
    config._attn_implementation = "eager"
    model, generator = initialise(model_class(config), seed)
    encoder = model.base_model
    tokens, counting = random_rows(config, lengths, generator)
    tokens, types = as_pairs(tokens, lengths) if pairs else (tokens, None)
    hidden = hidden_states(encoder, tokens, counting, types)
    exact = hidden_states(copy.deepcopy(encoder).double(), tokens, counting, types)
    assert (hidden - exact).abs().max() < 2e-6, case
    tensors = dict(tokens=tokens, lengths=counting.sum(1), hidden=hidden,
                   hidden_float64=exact, **poolings(hidden, counting))
    if pairs:
        tensors["types"] = types
    if details:
        tensors.update(taps(encoder, tokens, counting))
        probe = torch.randn(hidden.shape, generator=generator) * counting.unsqueeze(2)
        tensors["probe"] = probe
        tensors.update(gradients(encoder, tokens, counting, probe))

    folder = os.path.join(OUT, case)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model.save_pretrained(folder)
    if first_names:
        use_first_names(folder)
    metadata = dict(package="transformers 4.57.3", original=model_class.__name__,
                    attention="eager", dtype="float32")
    if details:
        metadata["gradient"] = "d sum(hidden * probe) / d weight"
    save_golden(os.path.join(folder, "expected.safetensors"),
                {name: value.detach() for name, value in tensors.items()}, metadata)
    reloaded = model_class.from_pretrained(folder, attn_implementation="eager").eval()
    assert torch.equal(hidden_states(reloaded.base_model, tokens, counting, types), hidden), case


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    make("bert", BertModel, BertConfig(**BERT), [7, 3, 10, 1], seed=1, details=True)
    make("bert_pairs", BertModel, BertConfig(**PAIRS), [7, 9, 5], seed=5, pairs=True)
    make("bert_masked_lm", BertForMaskedLM, BertConfig(**MASKED_LM), [8, 2, 5], seed=2,
         first_names=True)
    make("roberta", RobertaModel, RobertaConfig(**ROBERTA), [4, 9, 1, 6], seed=3, details=True)
    make("xlm_roberta_classifier", XLMRobertaForSequenceClassification,
         XLMRobertaConfig(**XLM_ROBERTA), [3, 8, 5], seed=4)


if __name__ == "__main__":
    main()
