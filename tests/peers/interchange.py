#!/usr/bin/env python3
"""A checkpoint of `mambabyte train` in transformers' MambaForCausalLM and back.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install torch==2.15.0 transformers==5.23.0 numpy safetensors
    /tmp/peers/bin/python tests/peers/interchange.py FOLDER --text models/text/golden-4096.txt [--program ...] [--golden OUT.npy]

FOLDER is loaded by `from_pretrained`; its logits on the first 512 bytes of the text must be those of `mambabyte logits`
within 1e-3. Then `save_pretrained` writes it anew, and `mambabyte logits` of that folder must be equal to the bit. With
--golden the logits of transformers are written, [bytes, 256] in f32: `tests/data/interchange/logits.npy` is made so. It is no
part of the test run.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

BYTES = 512
BOUND = 1e-3


def main():
    import numpy
    import torch
    from transformers import MambaForCausalLM

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path, default="models/text/golden-4096.txt")
    parser.add_argument("--program", default="target/release/mambabyte")
    parser.add_argument("--golden", type=pathlib.Path, metavar="OUT.npy")
    options = parser.parse_args()
    text = options.text.read_bytes()[:BYTES]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "text").write_bytes(text)

        def ours(folder):
            command = [options.program, "logits", folder, scratch / "text", "--npy", scratch / "out.npy"]
            subprocess.run(command, check=True)
            return numpy.load(scratch / "out.npy")

        model, info = MambaForCausalLM.from_pretrained(options.folder, output_loading_info=True, dtype=torch.float32)
        if any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")):
            sys.exit(f"not all tensors were taken: {info}")
        with torch.no_grad():
            theirs = model(torch.tensor([list(text)])).logits[0].numpy()
        mine = ours(options.folder)
        # Logits are equal up to a constant for each byte, if at all.
        difference = float(numpy.abs((mine - mine.max(1, keepdims=True)) - (theirs - theirs.max(1, keepdims=True))).max())
        if options.golden:
            numpy.save(options.golden, theirs)
        model.save_pretrained(scratch / "back")
        same = bool((ours(scratch / "back") == mine).all())
        print(f"{options.folder}: {len(text)} bytes, largest difference {difference:.2e}; written back: {'equal' if same else 'NOT equal'}")
        sys.exit(0 if difference < BOUND and same else 1)


if __name__ == "__main__":
    main()
