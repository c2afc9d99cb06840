#!/usr/bin/env python3
"""Times training in PyTorch f32: transformers' MambaForCausalLM, forward, back and AdamW, at the shapes of
`train_speed` (tests/src/bin/train_speed.rs).

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install torch==2.15.0 transformers==5.23.0
    /tmp/peers/bin/python tests/peers/train_speed.py --threads 2 --seconds 20

Weights and text are random, so only speed means anything. Compare with a run of `train_speed` on the same machine that
does nothing else meanwhile. It is no part of the test run.
"""

import argparse
import time

SHAPES = {"nano": (64, 4, 8), "micro": (128, 6, 8)}


def speeds(shape, rows, window, seconds):
    """Bytes per second, and per second of one processor: a busy machine does not disturb that."""
    import torch
    from transformers import MambaConfig, MambaForCausalLM

    width, layers, states = shape
    config = MambaConfig(
        vocab_size=256,
        hidden_size=width,
        num_hidden_layers=layers,
        state_size=states,
        time_step_rank=-(-width // 16),
        tie_word_embeddings=True,
        use_cache=False,
    )
    model = MambaForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
    text = torch.randint(40, 100, (rows, window + 1))

    def update():
        logits = model(input_ids=text[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    update()  # warms up
    begin, processor, done = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begin < seconds:
        update()
        done += rows * window
    return done / (time.perf_counter() - begin), done / (time.process_time() - processor)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--seconds", type=float, default=20)
    options.add_argument("--rows", type=int, default=8)
    options.add_argument("--window", type=int, default=512)
    given = options.parse_args()

    import torch
    import transformers

    torch.set_num_threads(given.threads)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {given.threads} threads")
    for name, shape in SHAPES.items():
        speed, per_processor = speeds(shape, given.rows, given.window, given.seconds)
        print(f"{name:6} {speed / 1e3:8.3f} KB/s, {per_processor / 1e3:8.3f} per processor", flush=True)


if __name__ == "__main__":
    main()
