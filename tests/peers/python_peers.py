#!/usr/bin/env python3
"""The Python package beside what Python users have: transformers on a processor, compressors, Drain3 with IsolationForest.

    python3 -m venv /tmp/python-peers && /tmp/python-peers/bin/pip install -r tests/peers/requirements-python.txt ./tools/python
    /tmp/python-peers/bin/python tests/peers/python_peers.py [TEXT...] [--checkpoint models/sensor-nano]

Without texts it takes the two of models/text. It prints the tables of docs/PYTHON.md. Where speeds are compared both sides take
turns in one run; everything computes on one thread, and speeds are bytes by seconds of processor time. It is no part of the
test run.
"""

import argparse
import lzma
import pathlib
import random
import statistics
import sys
import time
import zlib

import mambabyte
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURNS = 3
WINDOW = 4096
FALSE_ALARMS = (0.01, 0.05)


def row(*cells):
    print(f"| {' | '.join(str(cell) for cell in cells)} |")


def turns(*works):
    """Median seconds of processor time of each work, and what it gave; they take turns."""
    seconds, given = [[] for _ in works], [None for _ in works]
    for _ in range(TURNS):
        for number, work in enumerate(works):
            begin = time.process_time()
            given[number] = work()
            seconds[number].append(time.process_time() - begin)
    return [(statistics.median(taken), what) for taken, what in zip(seconds, given)]


def scoring(texts, checkpoint):
    """Bits of each byte of windows, by transformers and by the package, from the same checkpoint."""
    import torch
    from transformers import MambaForCausalLM

    torch.set_num_threads(1)
    theirs = MambaForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    floats = mambabyte.Model(checkpoint, threads=1)
    integers = mambabyte.Model(checkpoint / "model.mbb", threads=1)
    windows = [text[at : at + WINDOW] for text in texts for at in (0, WINDOW) if len(text) >= at + WINDOW]
    if not windows:
        sys.exit(f"error: for transformers a text of {WINDOW} bytes is needed")

    def transformers():
        # A zero byte is before the first one, as everywhere here.
        rows = torch.tensor([[0, *window] for window in windows])
        with torch.no_grad():
            logits = theirs(rows[:, :-1]).logits
        bits = -torch.log_softmax(logits.double(), -1) / np.log(2)
        return bits.gather(2, rows[:, 1:, None])[..., 0].numpy()

    def ours(model):
        return lambda: np.array([mambabyte.Stream(model, adapt=None).feed(window).net for window in windows])

    found = turns(transformers, ours(floats), ours(integers), lambda: mambabyte.score(integers, windows))
    exact = found[0][1]
    count = exact.size
    print(f"\n{len(windows)} windows of {WINDOW} bytes, {checkpoint.name}, one thread\n")
    row("scoring", "bits per byte", "largest difference of a byte, bits", "bytes/s", "times transformers")
    row(*["---"] * 5)
    names = [
        "transformers, f32",
        "`Stream` of the checkpoint, f32",
        "`Stream` of the blob, integers",
        "`score` of the blob, integers",
    ]
    for name, (seconds, bits) in zip(names, found):
        if isinstance(bits, mambabyte.Scores):
            mean, largest = f"{bits.bits.sum() / count:.4f}", "not per byte"
        else:
            mean, largest = f"{bits.mean():.4f}", f"{np.abs(bits - exact).max():.1e}" if bits is not exact else ""
        row(name, mean, largest, f"{count / seconds:,.0f}", f"{found[0][0] / seconds:.1f}")


def compressing(texts):
    """Sizes and speeds of whole texts."""
    import pyppmd
    import zstandard

    model = mambabyte.Model("sensor-nano", threads=1)

    def ppmd(text):
        encoder = pyppmd.Ppmd7Encoder(6, 16 << 20)
        return encoder.encode(text) + encoder.flush()

    def ours(adapt):
        return lambda text: mambabyte.compress(text, model, adapt=adapt), lambda archive, _: mambabyte.decompress(
            archive, model
        )

    def alone(text):
        return mambabyte.compress(text, None, adapt="64K")

    compressors = {
        "zlib -9": (lambda text: zlib.compress(text, 9), lambda archive, _: zlib.decompress(archive)),
        "zstd -19": (lambda text: zstandard.compress(text, 19), lambda archive, _: zstandard.decompress(archive)),
        "xz -9e": (
            lambda text: lzma.compress(text, preset=9 | lzma.PRESET_EXTREME),
            lambda archive, _: lzma.decompress(archive),
        ),
        "PPMd, order 6, 16 MiB": (ppmd, lambda archive, size: pyppmd.Ppmd7Decoder(6, 16 << 20).decode(archive, size)),
        "no model, adapter 64K": (alone, lambda archive, _: mambabyte.decompress(archive)),
        "sensor-nano alone": ours("off"),
        "sensor-nano, adapter 16K": ours("16K"),
    }
    total = sum(map(len, texts))
    print(f"\n{len(texts)} texts, {total:,} bytes, each an archive of its own, one thread\n")
    row("compression", "times smaller", "bits per byte", "compress, bytes/s", "decompress, bytes/s")
    row(*["---"] * 5)
    packs = [lambda pack=pack: [pack(text) for text in texts] for pack, _ in compressors.values()]
    packed = turns(*packs)
    unpacks = [
        lambda unpack=unpack, found=found: [unpack(archive, len(text)) for archive, text in zip(found, texts)]
        for (_, unpack), (_, found) in zip(compressors.values(), packed)
    ]
    for name, (seconds, archives), (back, given) in zip(compressors, packed, turns(*unpacks)):
        if [bytes(text) for text in given] != texts:
            sys.exit(f"error: {name} did not give back what it was given")
        size = sum(map(len, archives))
        row(name, f"{total / size:.2f}", f"{8 * size / total:.3f}", f"{total / seconds:,.0f}", f"{total / back:,.0f}")


def damaged(lines, dice, share):
    """Lines, some of them damaged in one of four ways, and which."""
    out, which = [], []
    for line in lines:
        hit = len(line) > 4 and dice.random() < share
        if hit:
            at = dice.randrange(len(line) - 1)
            other = bytearray(line)
            kind = dice.randrange(4)
            if kind == 0:  # A bit.
                other[at] ^= 1 << dice.randrange(7)
            elif kind == 1:  # Bytes that were lost.
                del other[at : at + dice.randrange(1, 8)]
            elif kind == 2:  # A byte that came twice.
                other.insert(at, other[at])
            else:  # Two that changed places.
                other[at], other[at + 1] = other[at + 1], other[at]
            other = bytes(other).replace(b"\n", b" ")
            hit = other != line
            line = other
        out.append(line)
        which.append(hit)
    return out, np.array(which)


def drain_forest(usual, new):
    """Oddness of lines: templates by Drain3, features of them, IsolationForest."""
    import logging

    from drain3 import TemplateMiner
    from drain3.masking import MaskingInstruction
    from drain3.template_miner_config import TemplateMinerConfig
    from sklearn.ensemble import IsolationForest

    logging.disable(logging.INFO)
    config = TemplateMinerConfig()
    config.masking_instructions = [MaskingInstruction(r"[0-9]+(\.[0-9]+)?", "NUM")]
    miner = TemplateMiner(config=config)
    # Drain cuts lines at spaces; these logs have commas.
    config.drain_extra_delimiters = [","]
    miner.drain.extra_delimiters = [","]

    def features(line, cluster):
        text = line.decode("latin-1")
        digits = sum(map(str.isdigit, text))
        letters = sum(map(str.isalpha, text))
        # How often its template came, how many words it has and how many of them vary, and its make-up.
        size, template = (cluster.size, cluster.get_template()) if cluster else (0, "")
        return [
            np.log1p(size),
            len(template.split()),
            template.count("<"),
            len(text),
            digits,
            letters,
            len(text) - digits - letters,
        ]

    for line in usual:
        miner.add_log_message(line.decode("latin-1"))
    known = {line: miner.match(line.decode("latin-1")) for line in {*usual, *new}}
    forest = IsolationForest(n_estimators=200, random_state=0, n_jobs=1)
    forest.fit([features(line, known[line]) for line in usual])
    return -forest.score_samples([features(line, known[line]) for line in new])


def mamba(usual, new):
    """Oddness of lines: their rarity."""
    return -mambabyte.AnomalyDetector("sensor-nano", threads=1).fit(usual).score_samples(new)


def anomalies(texts):
    """Damaged lines that are found at the same share of false alarms, after a third of each text that is whole."""
    found = {"Drain3 and IsolationForest": drain_forest, "`AnomalyDetector`": mamba}
    pooled = {name: [[] for _ in FALSE_ALARMS] for name in found}
    areas, seconds = {name: [] for name in found}, {name: 0.0 for name in found}
    damage = whole = size = 0
    for number, text in enumerate(texts):
        lines = [line for line in text.replace(b"\r", b"").split(b"\n") if line]
        cut = len(lines) // 3
        for seed in range(3):
            new, which = damaged(lines[cut:], random.Random(1000 * number + seed), 0.05)
            if not which.any() or which.all():
                sys.exit("error: a text is too short to damage some of its lines")
            damage, whole, size = damage + which.sum(), whole + (~which).sum(), size + sum(map(len, lines))
            for name, oddness in found.items():
                begin = time.process_time()
                odd = oddness(lines[:cut], new)
                seconds[name] += time.process_time() - begin
                quiet = np.sort(odd[~which])
                for hits, share in zip(pooled[name], FALSE_ALARMS):
                    # No more than this share of whole lines is above it.
                    bound = quiet[len(quiet) - 1 - int(share * len(quiet))]
                    hits.extend(odd[which] > bound)
                below = np.searchsorted(quiet, odd[which], "left") + np.searchsorted(quiet, odd[which], "right")
                areas[name].append(below.mean() / (2 * len(quiet)))
    print(f"\n{len(texts)} texts, damaged three times: {damage} damaged lines among {whole} whole ones\n")
    row("odd lines", *(f"found at {share:.0%} false alarms" for share in FALSE_ALARMS), "AUROC, mean", "bytes/s")
    row(*["---"] * (3 + len(FALSE_ALARMS)))
    for name in found:
        shares = (f"{np.mean(hits):.1%}" for hits in pooled[name])
        row(name, *shares, f"{np.mean(areas[name]):.3f}", f"{size / seconds[name]:,.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=pathlib.Path, nargs="*", metavar="TEXT")
    parser.add_argument("--checkpoint", type=pathlib.Path, default=ROOT / "models/sensor-nano")
    parser.add_argument("--only", choices=["scoring", "compressing", "anomalies"])
    options = parser.parse_args()
    paths = options.texts or [ROOT / "models/text" / name for name in ("gnss-sample.nmea", "request-latency.csv")]
    try:
        texts = [path.read_bytes() for path in paths]
    except OSError as error:
        sys.exit(f"error: {error.filename}: {error.strerror}")
    if options.only in (None, "scoring"):
        scoring(texts, options.checkpoint)
    if options.only in (None, "compressing"):
        compressing(texts)
    if options.only in (None, "anomalies"):
        anomalies(texts)


if __name__ == "__main__":
    main()
