"""Golden checkpoints and outputs of T5, made by `transformers`.

Run: python make_t5.py [OUTPUT_FOLDER]   (default: t5/ beside this file)
With: Python 3.11, torch 2.11.0, transformers 4.57.3 (requirements-fusionbench.txt)

Each case is a folder in the layout of save_pretrained (config.json and
model.safetensors) plus expected.safetensors. All in float32 on the CPU with the
eager attention. What stands at a token that fills a row up is zero everywhere.
"""

import os
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

from golden_io import save_golden

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "t5")

# As T5 1.1 and Flan-T5, with sizes that differ from each other: heads are together
# wider than the model, and the decoder has more blocks than the encoder.
GATED_UNTIED = dict(d_model=16, d_kv=6, num_heads=4, d_ff=20, num_layers=2,
                    num_decoder_layers=3, vocab_size=30, feed_forward_proj="gated-gelu",
                    tie_word_embeddings=False, relative_attention_num_buckets=8,
                    relative_attention_max_distance=12)
# As the first T5; heads are together narrower than the model.
RELU_TIED = dict(d_model=12, d_kv=5, num_heads=2, d_ff=14, num_layers=2, vocab_size=25,
                 feed_forward_proj="relu", relative_attention_num_buckets=6,
                 relative_attention_max_distance=10, layer_norm_epsilon=1e-3)
# The published buckets, over rows longer than the distance beyond which all are alike.
LONG = dict(d_model=8, d_kv=4, num_heads=2, d_ff=10, num_layers=1, vocab_size=20,
            feed_forward_proj="gelu")
PAD, END, FIRST_WORD = 0, 1, 3
STEPS = 8  # of greedy decoding
IGNORED = -100  # what transformers leaves out of the loss


def initialise(model, seed):
    """Weights large enough that every part of the network changes the output."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if "layer_norm" in name:
            parameter.data = 1 + 0.2 * noise
        elif "relative_attention_bias" in name:
            parameter.data = noise
        elif name == "shared.weight":
            parameter.data = 0.3 * noise  # else a tied head says what it was told
        else:
            parameter.data = noise / parameter.shape[1] ** 0.5
    return model.eval(), generator


def random_rows(vocabulary, lengths, generator):
    """Token ids [rows, width] filled up with padding, and which of them count."""
    width = max(lengths)
    tokens = torch.randint(FIRST_WORD, vocabulary, (len(lengths), width), generator=generator)
    counting = torch.arange(width).unsqueeze(0) < torch.tensor(lengths).unsqueeze(1)
    return tokens.masked_fill(~counting, PAD), counting


def random_answers(vocabulary, lengths, generator):
    """What is wanted [rows, width + 1], the end included, and which of it counts."""
    answers, _ = random_rows(vocabulary, lengths, generator)
    wanted = torch.cat([answers, torch.full((len(lengths), 1), PAD)], 1)
    for row, length in enumerate(lengths):
        wanted[row, length] = END
    counting = torch.arange(wanted.shape[1]).unsqueeze(0) <= torch.tensor(lengths).unsqueeze(1)
    return wanted, counting


def taps(model, ask, counting, answer_counting):
    """The input of every linear layer but the head."""
    seen, handles = {}, []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            of_input = name.startswith("encoder") or name.endswith(("EncDecAttention.k", "EncDecAttention.v"))
            rows = (counting if of_input else answer_counting).unsqueeze(2)

            def keep(_, inputs, name=name, rows=rows):
                seen["tap/" + name] = (inputs[0] * rows).detach().clone()
            handles.append(module.register_forward_pre_hook(keep))
    model(**ask)
    for handle in handles:
        handle.remove()
    return seen


def gradients(model, ask):
    """d loss / d parameter, of the mean cross-entropy of the tokens that are wanted."""
    model.zero_grad()
    loss = model(**ask).loss
    loss.backward()
    found = {"gradient/" + name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    return dict(loss=loss.detach(), **found)


def greedy(model, tokens, counting):
    """The answers that the model gives itself, filled up with padding: [rows, STEPS].

    Without a cache: that of transformers 4.57.3 has as many layers as the encoder.
    """
    made = model.generate(input_ids=tokens, attention_mask=counting.long(), do_sample=False,
                          num_beams=1, max_new_tokens=STEPS, use_cache=False,
                          output_logits=True, return_dict_in_generate=True)
    best = torch.stack(made.logits, 1).topk(2).values
    assert (best[..., 0] - best[..., 1]).min() > 1e-3, "two tokens that are nearly as good"
    return made.sequences[:, 1:]


def use_names_of_copies(folder):
    """As files of older versions of transformers: the embeddings stand in both stacks."""
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    shared = tensors.pop("shared.weight")
    tensors.update({f"{stack}.embed_tokens.weight": shared.clone() for stack in ("encoder", "decoder")})
    save_file(tensors, path, metadata={"format": "pt"})


def make(case, config, lengths, answer_lengths, seed, details=False, copies=False):
    config = T5Config(decoder_start_token_id=PAD, **config)
    config._attn_implementation = "eager"
    model, generator = initialise(T5ForConditionalGeneration(config), seed)
    tokens, counting = random_rows(config.vocab_size, lengths, generator)
    wanted, answer_counting = random_answers(config.vocab_size, answer_lengths, generator)
    ask = dict(input_ids=tokens, attention_mask=counting.long(),
               labels=wanted.masked_fill(~answer_counting, IGNORED))

    def hidden_of(asked):
        return asked(**ask, output_hidden_states=True).decoder_hidden_states[-1] * answer_counting.unsqueeze(2)

    hidden = hidden_of(model)
    tensors = dict(tokens=tokens, lengths=counting.sum(1), wanted=wanted,
                   wanted_lengths=answer_counting.sum(1), hidden=hidden,
                   logits=model(**ask).logits * answer_counting.unsqueeze(2))
    if details:
        tensors.update(taps(model, ask, counting, answer_counting))
        tensors.update(gradients(model, ask))
        tensors["greedy"] = greedy(model, tokens, counting)
        ends = (tensors["greedy"] == END).any(1)
        assert ends.any() and not ends.all(), case
        assert all(len(row.unique()) > 2 for row in tensors["greedy"][~ends]), case

    folder = os.path.join(OUT, case)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "generation_config.json"))
    if copies:
        use_names_of_copies(folder)
    metadata = dict(package="transformers 4.57.3", original="T5ForConditionalGeneration",
                    attention="eager", dtype="float32")
    if details:
        metadata["gradient"] = "d loss / d parameter"
    save_golden(os.path.join(folder, "expected.safetensors"),
                {name: value.detach() for name, value in tensors.items()}, metadata)
    reloaded = T5ForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval()
    assert torch.equal(hidden_of(reloaded), hidden), case


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    make("gated_untied", GATED_UNTIED, [7, 3, 10, 1], [4, 6, 0, 2], seed=8, details=True)
    make("relu_tied", RELU_TIED, [4, 9, 1], [5, 1, 8], seed=59, details=True)
    make("long", LONG, [150, 90], [60, 140], seed=3, copies=True)


if __name__ == "__main__":
    main()
