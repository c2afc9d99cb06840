"""Times mamba-ssm with CUDA events, on the shapes of `mambabyte bench gpu`: one line "NAME | milliseconds" for each."""

import statistics
import sys

try:
    import torch
    from mamba_ssm.models.config_mamba import MambaConfig
    from mamba_ssm.models.mixer_seq_simple import MambaLMHeadModel
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
except ImportError as error:
    sys.exit(f"{error}")
if not torch.cuda.is_available():
    sys.exit("PyTorch sees no GPU")


def median_ms(run, runs=15):
    times = []
    for i in range(runs + 2):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        if i >= 2:
            times.append(start.elapsed_time(end))
    return statistics.median(times)


torch.set_grad_enabled(False)
torch.manual_seed(1)
for batch, channels, steps in [(8, 2048, 8192), (1, 2048, 8192), (1, 3584, 65536), (64, 512, 2048)]:
    def bf16(*shape):
        return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)

    u, z, delta = bf16(batch, channels, steps), bf16(batch, channels, steps), bf16(batch, channels, steps) - 4
    b, c = bf16(batch, 16, steps), bf16(batch, 16, steps)
    a = -torch.arange(1, 17, device="cuda", dtype=torch.float32).repeat(channels, 1)
    d, bias = torch.ones(channels, device="cuda"), torch.zeros(channels, device="cuda")
    ms = median_ms(lambda: selective_scan_fn(u, delta, a, b, c, d, z, bias, delta_softplus=True))
    print(f"scan {batch} x {channels} x {steps} | {ms}", flush=True)
    del u, z, delta
for name, d_model, n_layer in [("3.6 M", 256, 8), ("353.6 M", 1024, 53)]:
    config = MambaConfig(d_model=d_model, n_layer=n_layer, vocab_size=256)
    model = MambaLMHeadModel(config, device="cuda", dtype=torch.bfloat16)
    text = torch.randint(0, 256, (8, 8192), device="cuda")
    ms = median_ms(lambda: model(text, num_last_tokens=1), runs=7)
    print(f"prefill {name} | {ms}", flush=True)
    # Its own CUDA graph, greedy; the first call makes the graph.
    count = 256
    ms = median_ms(lambda: model.generate(text[:1, :1], max_length=count + 1, cg=True, top_k=1), runs=5)
    print(f"decode {name} bf16 | {ms / count}", flush=True)
    del model
