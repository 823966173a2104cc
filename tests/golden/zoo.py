"""The tiny zoo that every method case starts from: a base and four experts.

All values are multiples of 2^-20 below 8 in magnitude, so they are exact in
float32 as well as in float64, and so is every task vector. That lets a test
compare thresholds, masks and ties without caring about the working dtype.
"""

import torch

NUM_EXPERTS = 4
CONFIG = dict(
    hidden_size=8,
    intermediate_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    image_size=8,
    patch_size=4,
    projection_dim=6,
    hidden_act="quick_gelu",
)
_LAYER = "vision_model.encoder.layers.0."


def shapes():
    """Name -> shape of a CLIPVisionModel of CONFIG, in state dict order."""
    d, f, p = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["patch_size"]
    tokens = (CONFIG["image_size"] // p) ** 2 + 1
    result = {
        "vision_model.embeddings.class_embedding": (d,),
        "vision_model.embeddings.patch_embedding.weight": (d, 3, p, p),
        "vision_model.embeddings.position_embedding.weight": (tokens, d),
        "vision_model.pre_layrnorm.weight": (d,),
        "vision_model.pre_layrnorm.bias": (d,),
    }
    for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
        result[f"{_LAYER}self_attn.{name}.weight"] = (d, d)
        result[f"{_LAYER}self_attn.{name}.bias"] = (d,)
    result[f"{_LAYER}layer_norm1.weight"] = (d,)
    result[f"{_LAYER}layer_norm1.bias"] = (d,)
    result[f"{_LAYER}mlp.fc1.weight"] = (f, d)
    result[f"{_LAYER}mlp.fc1.bias"] = (f,)
    result[f"{_LAYER}mlp.fc2.weight"] = (d, f)
    result[f"{_LAYER}mlp.fc2.bias"] = (d,)
    result[f"{_LAYER}layer_norm2.weight"] = (d,)
    result[f"{_LAYER}layer_norm2.bias"] = (d,)
    result["vision_model.post_layernorm.weight"] = (d,)
    result["vision_model.post_layernorm.bias"] = (d,)
    return result


def _quantise(tensor, bits=20):
    return torch.round(tensor * 2.0**bits) / 2.0**bits


def _base(generator):
    base = {}
    for name, shape in shapes().items():
        value = 0.1 * torch.randn(shape, generator=generator, dtype=torch.float64)
        if "norm" in name and name.endswith("weight"):
            value = value + 1.0
        base[name] = _quantise(value)
    # A zero tensor in the base: its norm is below every epsilon (slerp, cosine).
    base[f"{_LAYER}self_attn.k_proj.bias"].zero_()
    return base


def _plant_special_values(taus):
    """Zeros, exact ties and exactly cancelling signs, where methods disagree."""
    for tau in taus:  # untouched by every expert
        tau["vision_model.post_layernorm.bias"].zero_()
    taus[2][f"{_LAYER}mlp.fc2.bias"].zero_()  # untouched by one expert
    # Close to collinear with the base, but not zero.
    for tau in taus:
        tau["vision_model.embeddings.class_embedding"].copy_(
            _quantise(tau["vision_model.embeddings.class_embedding"] / 64)
        )
    # Coarse grids give many equal magnitudes and many exact zeros.
    for name in (f"{_LAYER}self_attn.v_proj.weight", f"{_LAYER}mlp.fc1.bias"):
        for tau in taus:
            tau[name].copy_(_quantise(tau[name], bits=6))
    # Large entries that cancel to exactly zero: the elected sign is a tie.
    weight = f"{_LAYER}mlp.fc2.weight"
    for column, sign in enumerate((1.0, -1.0, 1.0, -1.0)):
        taus[0][weight][0, column] = 0.25 * sign
        taus[1][weight][0, column] = -0.25 * sign
        taus[2][weight][0, column] = 0.0
        taus[3][weight][0, column] = 0.0


def _plant_threshold_ties(tau, density, count):
    """Raises the `count` largest dropped magnitudes to the threshold itself."""
    names = sorted(tau)
    flat = torch.cat([tau[name].reshape(-1) for name in names])
    order = torch.argsort(flat.abs(), stable=True)
    first_kept = flat.numel() - int(flat.numel() * density) - 1
    threshold = flat[order[first_kept]].abs()
    for index in order[first_kept - count : first_kept]:
        flat[index] = torch.where(flat[index] < 0, -threshold, threshold)
    offset = 0
    for name in names:
        size = tau[name].numel()
        tau[name].copy_(flat[offset : offset + size].reshape(tau[name].shape))
        offset += size


def make_zoo():
    """Returns (base, [expert0, ...]), dictionaries of float64 tensors."""
    generator = torch.Generator().manual_seed(20240601)
    base = _base(generator)
    taus = []
    for _ in range(NUM_EXPERTS):
        taus.append(
            {
                name: _quantise(
                    0.03 * torch.randn(shape, generator=generator, dtype=torch.float64)
                )
                for name, shape in shapes().items()
            }
        )
    _plant_special_values(taus)
    _plant_threshold_ties(taus[0], density=0.2, count=4)
    _plant_threshold_ties(taus[1], density=0.5, count=5)
    experts = [{name: base[name] + tau[name] for name in base} for tau in taus]
    for model in [base, *experts]:
        for name, value in model.items():
            assert torch.equal(value, value.float().double()), name
    return base, experts


def as_inputs(base, experts):
    """The flat naming of the golden files: base/<tensor>, expert0/<tensor>, ..."""
    flat = {f"base/{name}": value for name, value in base.items()}
    for index, expert in enumerate(experts):
        flat.update({f"expert{index}/{name}": value for name, value in expert.items()})
    return flat
