"""Golden log-likelihoods of choices behind prompts, by `transformers` on the golden checkpoints of decoder/ and t5/.

Run: python make_multiple_choice.py [OUTPUT]   (default: multiple_choice.json beside this file)
With: Python 3.11, torch 2.11.0, transformers 4.57.3 (requirements-fusionbench.txt)

Every choice is scored alone, without padding, with the eager attention in float32: a decoder reads prompt and choice as
one row, an encoder-decoder is taught the choice. The log-softmax is in float64.
"""

import json
import os
import sys

import torch
from transformers import GPT2LMHeadModel, LlamaForCausalLM, T5ForConditionalGeneration

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "multiple_choice.json")

FIRST_WORD = 3
VOCABULARY = 20  # all checkpoints have more
MODELS = {
    "decoder/gpt2": GPT2LMHeadModel,
    "decoder/llama": LlamaForCausalLM,
    "t5/relu_tied": T5ForConditionalGeneration,
    "t5/gated_untied": T5ForConditionalGeneration,
}
# Tokens of a prompt, and of each of its choices: of several widths when filled up, and choices of one token alone.
LENGTHS = [(4, (3, 1, 5)), (9, (2, 2)), (1, (10, 1, 4, 7)), (6, (1, 1, 1)), (3, (9, 8))]


def log_likelihood(model, prompt, choice):
    if model.config.is_encoder_decoder:
        logits = model(input_ids=torch.tensor([prompt]), labels=torch.tensor([choice])).logits[0]
    else:
        logits = model(input_ids=torch.tensor([prompt + choice])).logits[0, len(prompt) - 1 : -1]
    log_p = logits.double().log_softmax(1)
    return sum(float(log_p[i, token]) for i, token in enumerate(choice))


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)

    def ids(length):
        return torch.randint(FIRST_WORD, VOCABULARY, (length,), generator=generator).tolist()

    examples = [(ids(length), [ids(each) for each in choices]) for length, choices in LENGTHS]
    golden = {"prompts": [prompt for prompt, _ in examples], "choices": [choices for _, choices in examples]}
    golden["log_p"] = {}
    with torch.no_grad():
        for name, model_class in MODELS.items():
            model = model_class.from_pretrained(os.path.join(HERE, name), attn_implementation="eager").eval()
            golden["log_p"][name] = [
                [round(log_likelihood(model, prompt, choice), 6) for choice in choices] for prompt, choices in examples
            ]
    with open(OUT, "w") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
