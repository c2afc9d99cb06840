"""Writes one small random checkpoint with the real writers, in layouts that people have. README.md lists them.

    pip install torch safetensors 'mlx[cpu]' numpy && python make.py
"""
import argparse, collections, json, math, pathlib

import mlx.core as mx
import numpy as np
import safetensors.torch
import torch
from torch import nn

OUT = pathlib.Path(__file__).parent
D_MODEL, D_INNER, D_STATE, D_CONV, DT_RANK, LAYERS = 16, 16, 4, 4, 1, 2


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(D_MODEL))


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.in_proj = nn.Linear(D_MODEL, 2 * D_INNER, bias=False)
        self.conv1d = nn.Conv1d(D_INNER, D_INNER, D_CONV, groups=D_INNER, padding=D_CONV - 1)
        self.x_proj = nn.Linear(D_INNER, DT_RANK + 2 * D_STATE, bias=False)
        self.dt_proj = nn.Linear(DT_RANK, D_INNER)
        first = 0.3 * torch.randn(D_INNER, 1)
        self.A_log = nn.Parameter(first + torch.log(torch.arange(1, D_STATE + 1.0)))
        self.D = nn.Parameter(torch.ones(D_INNER))
        self.out_proj = nn.Linear(D_INNER, D_MODEL, bias=False)

    def forward(self, x):
        return x


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = Norm()
        self.mixer = Mixer()

    def forward(self, x):
        return x + self.mixer(x)


class Backbone(nn.Module):
    """As mamba_ssm's MixerModel."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(256, D_MODEL)
        self.layers = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm_f = Norm()


class Lm(nn.Module):
    """As mamba_ssm's MambaLMHeadModel: the head is the embedding."""

    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.lm_head = nn.Linear(D_MODEL, 256, bias=False)
        self.lm_head.weight = self.backbone.embedding.weight


def fill(model, source):
    """The same weights in a module of other names."""
    for own, other in zip(model.parameters(), source.parameters(), strict=True):
        own.data.copy_(other.data)


torch.manual_seed(16)
lm = Lm()
weights = lm.state_dict()
no_head = {name: t for name, t in weights.items() if name != "lm_head.weight"}

# 1. mamba_ssm's names, safetensors: what all others must be equal to.
safetensors.torch.save_file(no_head, OUT / "mamba_ssm.safetensors")
# 2. torch.compile, torch.save.
torch.save(torch.compile(lm).state_dict(), OUT / "compiled.pt")
# 3. A layer-wise compiled model in a data parallel wrapper, which names things as DistributedDataParallel does.
layerwise = Lm()
fill(layerwise, lm)
for i, layer in enumerate(layerwise.backbone.layers):
    layerwise.backbone.layers[i] = torch.compile(layer)
torch.save(nn.DataParallel(layerwise).state_dict(), OUT / "parallel.pt")


# 4. Lightning: `state_dict` beside counters, callbacks and hyperparameters; the module has the model as `model.net`.
class Task(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Module()
        self.model.net = lm


torch.save(
    {
        "epoch": 3,
        "global_step": 1000,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": Task().state_dict(),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "dirpath": pathlib.PurePosixPath("/tmp")}},
        "optimizer_states": [],
        "hyper_parameters": {"lr": 4e-4, "betas": (0.9, 0.95)},
    },
    OUT / "lightning.ckpt",
)
# 5. Hugging Face's MambaModel: no `backbone.`, no head, `embeddings`.
body = {n.removeprefix("backbone.").replace("embedding.", "embeddings."): t for n, t in no_head.items()}
safetensors.torch.save_file(body, OUT / "mamba_model.safetensors", metadata={"format": "pt"})
# 6. mamba.py: `mamba.layers`, `embedding` and `norm_f` beside it.
names = lambda n: n.removeprefix("backbone.").replace("layers.", "mamba.layers.")
torch.save(collections.OrderedDict((names(n), t) for n, t in weights.items()), OUT / "mamba_py.pt")
# 7. A training script's checkpoint: model, optimizer with its moments, counters, arguments, states of generators.
optimizer = torch.optim.AdamW([lm.backbone.layers[0].mixer.D, lm.backbone.norm_f.weight], lr=4e-4)
for p in optimizer.param_groups[0]["params"]:
    p.grad = torch.zeros_like(p)
before = {n: t.clone() for n, t in weights.items()}
optimizer.param_groups[0]["weight_decay"] = 0.0
optimizer.step()
assert all(torch.equal(before[n], t) for n, t in lm.state_dict().items())
torch.save(
    {
        "model": lm.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": {"last_epoch": 12, "_last_lr": [4e-4], "lambdas": [None]},
        "model_args": {"n_layer": LAYERS, "dropout": 0.0, "bias": False},
        "iter_num": 1000,
        "best_val_loss": torch.tensor(1.25),
        "config": argparse.Namespace(lr=4e-4, betas=(0.9, 0.95), out=pathlib.PurePosixPath("out"), tags={"a", "b"}),
        "rng": {"numpy": np.random.RandomState(0).get_state(), "torch": torch.get_rng_state()},
        "loss": float("inf"),
        "dtype": torch.bfloat16,
        "big": 1 << 100,
    },
    OUT / "training.pt",
)
# 8. Sharded .bin with its index, as transformers writes it.
parts = [list(no_head)[: len(no_head) // 2], list(no_head)[len(no_head) // 2 :]]
shard = lambda i, end: f"{end[0]}-{i + 1:05}-of-{len(parts):05}.{end[1]}"
bins = ("pytorch_model", "bin")
for i, part in enumerate(parts):
    # A view of a larger storage, cloned as transformers does.
    torch.save({n: no_head[n].clone() for n in part}, OUT / shard(i, bins))
index = {"metadata": {"total_size": 4 * sum(t.numel() for t in no_head.values())}}
index["weight_map"] = {n: shard(i, bins) for i, part in enumerate(parts) for n in part}
(OUT / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")
# 9. Shards of safetensors; the test leaves the index out.
for i, part in enumerate(parts):
    safetensors.torch.save_file({n: no_head[n] for n in part}, OUT / shard(i, ("model", "safetensors")))
# 10. Buffers of integers and a counter among the weights.
counted = Lm()
fill(counted, lm)
counted.register_buffer("steps", torch.tensor(7))
counted.backbone.register_buffer("position_ids", torch.arange(5))
counted.register_buffer("seen", torch.zeros(3, dtype=torch.bool))
torch.save(counted.state_dict(), OUT / "buffers.pt")
safetensors.torch.save_file(
    {n: t.clone() for n, t in counted.state_dict().items() if n != "lm_head.weight"}, OUT / "buffers.safetensors"
)
# 11. save_model leaves out one of two tied weights and says so in `__metadata__`.
safetensors.torch.save_model(lm, OUT / "save_model.safetensors")
# 12. MLX: the convolution is [d_inner, d_conv, 1].
arrays = {n: mx.array(t.detach().numpy()) for n, t in no_head.items()}
arrays = {n: a.transpose(0, 2, 1) if "conv1d.weight" in n else a for n, a in arrays.items()}
mx.save_safetensors(str(OUT / "mlx.safetensors"), arrays)
# Half precision: the logarithms of tied decays are rounded one by one.
for dtype, name in [(torch.float16, "f16"), (torch.bfloat16, "bf16")]:
    safetensors.torch.save_file({n: t.to(dtype) for n, t in no_head.items()}, OUT / f"{name}.safetensors")
# A whole module, which no reader can have without its classes.
torch.save(Norm(), OUT / "module.pt")
# A checkpoint whose weights are not tensors of floats.
quantised = dict(no_head)
quantised["backbone.layers.0.mixer.in_proj.weight"] = torch.zeros(2 * D_INNER, D_MODEL, dtype=torch.int8)
torch.save(quantised, OUT / "integers.pt")
