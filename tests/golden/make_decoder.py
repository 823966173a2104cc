"""Golden checkpoints and outputs of GPT-2, Llama and its kin, made by `transformers`.

Run: python make_decoder.py [OUTPUT_FOLDER]   (default: decoder/ beside this file)
With: Python 3.11, torch 2.11.0, transformers 4.57.3 (requirements-fusionbench.txt)

Each case is a folder in the layout of save_pretrained (config.json and
model.safetensors) plus expected.safetensors. All in float32 on the CPU with the
eager attention. hidden_float64 are the same weights evaluated in float64 (of Llama's
norms and softmax too, which transformers computes in float32), to judge rounding
against; rotary angles stay float32. What stands at a token that fills a row up is
zero everywhere. Answers are predicted and generated row by row, without padding.
"""

import copy
import os
import shutil
import sys

import torch
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
)
from transformers.pytorch_utils import Conv1D

from golden_io import save_golden

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "decoder")

FIRST_WORD = 3  # ids below it are special ones, padding among them
ANSWER = 5
MARGIN = 1e-3  # between the best and the second token of every step of a greedy answer

IDS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
GPT2 = dict(n_embd=16, n_layer=2, n_head=2, vocab_size=30, n_positions=15, **IDS)
# Sizes that differ from each other, and another activation.
GPT2_CLASSIFIER = dict(n_embd=12, n_inner=20, n_layer=1, n_head=3, vocab_size=25, n_positions=9,
                       activation_function="gelu", layer_norm_epsilon=1e-3, num_labels=3, **IDS)
LLAMA = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, vocab_size=30, max_position_embeddings=32, **IDS)
# Biases everywhere, heads that are not as wide as the model together, a tied head, and wavelengths of 6, 63, 628 and
# 6283 tokens: one that scaling leaves alone, one between, two that it divides.
LLAMA_SCALED = dict(LLAMA, hidden_size=12, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
                    max_position_embeddings=128, attention_bias=True, mlp_bias=True, tie_word_embeddings=True, rms_norm_eps=1e-3,
                    hidden_act="gelu",
                    rope_scaling=dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                      original_max_position_embeddings=64))
MISTRAL = dict(LLAMA, num_hidden_layers=1, head_dim=6, rope_theta=500.0, sliding_window=16)
QWEN2 = dict(LLAMA, tie_word_embeddings=True, rope_theta=1e6)
QWEN2_CLASSIFIER = dict(QWEN2, num_hidden_layers=1, num_labels=3)
MIXTRAL = dict(LLAMA, num_local_experts=3, num_experts_per_tok=2)


def initialise(model, seed):
    """Weights large enough that every part of the network changes the output."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name or "ln_" in name:
            parameter.data = 0.2 * noise + (1.0 if name.endswith("weight") else 0.0)
        elif "wte" in name or "embed" in name:
            parameter.data = 0.8 * noise
        elif "wpe" in name:
            parameter.data = 0.5 * noise
        elif parameter.dim() == 2:
            inputs = parameter.shape[0 if "c_" in name else 1]
            parameter.data = noise / inputs ** 0.5
        else:
            parameter.data = 0.3 * noise
    return model.eval(), generator


def random_rows(config, lengths, generator):
    """Token ids [rows, width] filled up with padding, and which of them count."""
    width = max(lengths)
    tokens = torch.randint(FIRST_WORD, config.vocab_size, (len(lengths), width), generator=generator)
    counting = torch.arange(width).unsqueeze(0) < torch.tensor(lengths).unsqueeze(1)
    return tokens.masked_fill(~counting, config.pad_token_id), counting


def hidden_states(model, tokens, counting):
    output = model.base_model(input_ids=tokens, attention_mask=counting.long())
    return output.last_hidden_state * counting.unsqueeze(2)


def in_float64(model):
    model = copy.deepcopy(model).double()
    model.config._attn_implementation = "sdpa"
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            def forward(x, norm=module):
                return norm.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
            module.forward = forward
    return model


def architecture_name(name):
    """GPT-2's parameters are called as in GPT2Model, those of the others as in the model with the head."""
    return name.removeprefix("transformer.")


def taps(model, tokens, counting):
    """The input of every affine layer of the blocks. Experts of a mixture see the rows that are routed to them, and are
    left out."""
    seen, handles = {}, []
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)) and name != "lm_head" and ".experts." not in name:
            def keep(_, inputs, name=name):
                x = inputs[0].detach().clone().reshape(*counting.shape, -1)
                seen["tap/" + architecture_name(name)] = x * counting.unsqueeze(2)
            handles.append(module.register_forward_pre_hook(keep))
    model(input_ids=tokens, attention_mask=counting.long())
    for handle in handles:
        handle.remove()
    return seen


def gradients(model, tokens, counting, probe):
    """d sum(logits * probe) / d parameter; of matrices that files have as [in, out], transposed."""
    transposed = {name + ".weight" for name, module in model.named_modules() if isinstance(module, Conv1D)}
    model.zero_grad()
    (model(input_ids=tokens, attention_mask=counting.long()).logits * probe).sum().backward()
    return {"gradient/" + architecture_name(name):
            (parameter.grad.t() if name in transposed else parameter.grad).clone(memory_format=torch.contiguous_format)
            for name, parameter in model.named_parameters()}


def answers(model, tokens, counting, generator):
    """Logits that predict a given answer and what follows it, and greedy answers; row by row."""
    answer = torch.randint(FIRST_WORD, model.config.vocab_size, (len(tokens), ANSWER), generator=generator)
    model.generation_config.eos_token_id = None  # answers of one length
    logits, greedy = [], []
    for row, length, given in zip(tokens, counting.sum(1), answer):
        prompt = row[:length].unsqueeze(0)
        whole = torch.cat([prompt, given.unsqueeze(0)], 1)
        logits.append(model(input_ids=whole).logits[0, length - 1:])
        output = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False,
                                max_new_tokens=ANSWER, return_dict_in_generate=True, output_scores=True)
        greedy.append(output.sequences[0, length:])
        for step in output.scores:
            best = step[0].topk(2).values
            assert best[0] - best[1] > MARGIN, "another seed: two tokens are nearly as good"
    return dict(answer=answer, answer_logits=torch.stack(logits), greedy=torch.stack(greedy))


def make(case, model_class, config, lengths, seed, details=False):
    config._attn_implementation = "eager"
    model, generator = initialise(model_class(config), seed)
    tokens, counting = random_rows(config, lengths, generator)
    hidden = hidden_states(model, tokens, counting)
    tensors = dict(tokens=tokens, lengths=counting.sum(1), hidden=hidden)
    if "Mixtral" not in model_class.__name__:  # the routers' weights stay float32
        tensors["hidden_float64"] = hidden_states(in_float64(model), tokens, counting)
        assert (hidden - tensors["hidden_float64"]).abs().max() < 5e-6, case
    if model_class.__name__.endswith("ForSequenceClassification"):
        tensors["scores"] = model(input_ids=tokens, attention_mask=counting.long()).logits
    else:
        tensors.update(answers(model, tokens, counting, generator))
    if details:
        tensors.update(taps(model, tokens, counting))
        probe = torch.randn(*tokens.shape, config.vocab_size, generator=generator) * counting.unsqueeze(2)
        tensors["probe"] = probe
        tensors.update(gradients(model, tokens, counting, probe))

    folder = os.path.join(OUT, case)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model.save_pretrained(folder)
    generation = os.path.join(folder, "generation_config.json")
    if os.path.exists(generation):
        os.remove(generation)
    metadata = dict(package="transformers 4.57.3", original=model_class.__name__, attention="eager", dtype="float32")
    if details:
        metadata["gradient"] = "d sum(logits * probe) / d parameter"
    save_golden(os.path.join(folder, "expected.safetensors"),
                {name: value.detach() for name, value in tensors.items()}, metadata)
    reloaded = model_class.from_pretrained(folder, attn_implementation="eager").eval()
    assert torch.equal(hidden_states(reloaded, tokens, counting), hidden), case


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    make("gpt2", GPT2LMHeadModel, GPT2Config(**GPT2), [7, 3, 10, 1], seed=1, details=True)
    make("gpt2_classifier", GPT2ForSequenceClassification, GPT2Config(**GPT2_CLASSIFIER), [8, 2, 5], seed=2)
    make("llama", LlamaForCausalLM, LlamaConfig(**LLAMA), [4, 9, 1, 6], seed=3, details=True)
    make("llama_scaled", LlamaForCausalLM, LlamaConfig(**LLAMA_SCALED), [10, 1, 8], seed=4, details=True)
    make("mistral", MistralForCausalLM, MistralConfig(**MISTRAL), [3, 10, 5], seed=5)
    make("qwen2", Qwen2ForCausalLM, Qwen2Config(**QWEN2), [6, 1, 10], seed=6, details=True)
    make("qwen2_classifier", Qwen2ForSequenceClassification, Qwen2Config(**QWEN2_CLASSIFIER), [2, 9, 4], seed=7)
    make("mixtral", MixtralForCausalLM, MixtralConfig(**MIXTRAL), [5, 1, 9], seed=8, details=True)


if __name__ == "__main__":
    main()
