"""Checkpoints of any form, with random weights, in the layout of transformers."""

import json
import pathlib

import numpy as np


def write(folder: pathlib.Path, *, d_model, n_layer, d_inner, d_state, d_conv, dt_rank, norm, tied, rows=0, spoiled=None, seed=1):
    """A checkpoint in `folder`, which is made: `norm` is "rms" or "layer", `rows` of the vocabulary are before the bytes, the
    tensor `spoiled` has a NaN."""
    folder.mkdir(exist_ok=True)
    chance = np.random.default_rng(seed)

    def of(*shape, scale=1.0):
        return (chance.standard_normal(shape) * scale).astype("<f4")

    def near(value, *shape):
        return (value + 0.2 * chance.standard_normal(shape)).astype("<f4")

    vocabulary = 256 + rows
    tensors = {"backbone.embeddings.weight": of(vocabulary, d_model)}
    for layer in range(n_layer):
        at = f"backbone.layers.{layer}"
        tensors |= {
            f"{at}.norm.weight": near(1, d_model),
            f"{at}.mixer.in_proj.weight": of(2 * d_inner, d_model, scale=d_model**-0.5),
            f"{at}.mixer.conv1d.weight": of(d_inner, 1, d_conv, scale=0.5),
            f"{at}.mixer.conv1d.bias": of(d_inner, scale=0.1),
            f"{at}.mixer.x_proj.weight": of(dt_rank + 2 * d_state, d_inner, scale=d_inner**-0.5),
            f"{at}.mixer.dt_proj.weight": of(d_inner, dt_rank, scale=dt_rank**-0.5),
            f"{at}.mixer.dt_proj.bias": near(-2, d_inner),
            f"{at}.mixer.A_log": np.log(near(1, d_inner, 1) ** 2 + np.arange(1, d_state + 1)).astype("<f4"),
            f"{at}.mixer.D": near(1, d_inner),
            f"{at}.mixer.out_proj.weight": of(d_model, d_inner, scale=d_inner**-0.5),
        }
        if norm == "layer":
            tensors[f"{at}.norm.bias"] = of(d_model, scale=0.1)
    tensors["backbone.norm_f.weight"] = near(1, d_model)
    if norm == "layer":
        tensors["backbone.norm_f.bias"] = of(d_model, scale=0.1)
    if not tied:
        tensors["lm_head.weight"] = of(vocabulary, d_model, scale=0.3)
    if spoiled:
        tensors[spoiled].flat[1] = np.nan

    header, data = {}, b""
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": values.shape, "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.tobytes()
    about = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(about).to_bytes(8, "little") + about + data)
    config = {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "vocab_size": vocabulary,
        "hidden_size": d_model,
        "num_hidden_layers": n_layer,
        "state_size": d_state,
        "conv_kernel": d_conv,
        "intermediate_size": d_inner,
        "time_step_rank": dt_rank,
        "layer_norm_epsilon": 1e-3,
        "tie_word_embeddings": tied,
    }
    (folder / "config.json").write_text(json.dumps(config))
