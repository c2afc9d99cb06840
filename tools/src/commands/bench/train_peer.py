"""Times a training step in PyTorch, forward, back and AdamW: one line "NAME | seconds" for each shape NAME:d_model:n_layer:
d_state. On a GPU mamba-ssm with bf16 products, on a CPU transformers' MambaForCausalLM in f32."""

import statistics
import sys
import time

device, threads, batch, window, steps, shapes = sys.argv[1], *map(int, sys.argv[2:6]), sys.argv[6:]
cuda = device == "cuda"
try:
    import torch
    from torch.nn.functional import cross_entropy

    if cuda:
        from mamba_ssm.models.config_mamba import MambaConfig
        from mamba_ssm.models.mixer_seq_simple import MambaLMHeadModel
    else:
        from transformers import MambaConfig, MambaForCausalLM
except ImportError as error:
    sys.exit(f"{error}")
if cuda and not torch.cuda.is_available():
    sys.exit("PyTorch sees no GPU")
torch.manual_seed(1)
torch.set_num_threads(threads)


def model_of(d_model, n_layer, d_state):
    if cuda:
        config = MambaConfig(d_model=d_model, n_layer=n_layer, vocab_size=256, ssm_cfg={"d_state": d_state})
        return MambaLMHeadModel(config, device="cuda", dtype=torch.float32)
    return MambaForCausalLM(MambaConfig(
        vocab_size=256, hidden_size=d_model, num_hidden_layers=n_layer, state_size=d_state,
        time_step_rank=-(-d_model // 16), tie_word_embeddings=True, use_cache=False,
    ))


for shape in shapes:
    name, *sizes = shape.split(":")
    model = model_of(*map(int, sizes)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=cuda)
    text = torch.randint(32, 96, (batch, window + 1), device=device)

    def step():
        with torch.autocast(device, dtype=torch.bfloat16, enabled=cuda):
            logits = model(text[:, :-1]).logits
        cross_entropy(logits.float().flatten(0, 1), text[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
        if cuda:
            torch.cuda.synchronize()

    times = []
    for number in range(steps + 2):
        begin = time.perf_counter()
        step()
        if number >= 2:
            times.append(time.perf_counter() - begin)
    print(f"{name} | {statistics.median(times)}", flush=True)
    del model, optimizer
