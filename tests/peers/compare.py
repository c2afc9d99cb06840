#!/usr/bin/env python3
"""Times MambaByte and other engines on the same model shapes, interleaved in one run, and prints the ratios.

    python3 -m venv /tmp/peers && /tmp/peers/bin/python tests/peers/compare.py --mambabyte target/release/mambabyte

Run it with the Python of a fresh virtual environment: what is missing there is installed from PyPI first.
llama-cpp-python and candle are compiled for this machine, which takes a while. Weights are random, so only speed means
anything. Every peer reads one byte at a time with greedy choice (decode), and 512 bytes in one call (prefill), in a
process of its own. In a round all take turns; figures are medians over rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = {"S": (256, 8), "M": (512, 16), "L": (1024, 24), "P": (1024, 53)}
VOCAB, STATES, TAPS, PROMPT = 256, 16, 4, 512
PACKAGES = {
    "llama": ["llama-cpp-python", "gguf", "numpy"],
    "onnx": ["onnxruntime", "onnx", "numpy"],
    "transformers": ["torch", "transformers", "numpy"],
    "candle": [],
}


def shape(size):
    width, layers = SIZES[size]
    return width, layers, 2 * width, width // 16


# ---------------------------------------------------------------- what runs in a process of its own


def clock(seconds, work):
    """Units of work per second; `work` returns how many it did."""
    start, done = time.perf_counter(), 0
    while True:
        done += work()
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return done / elapsed


def peak_rss():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def write_gguf(path, size):
    """A Mamba-1 model in Q8_0: matrices quantised, the rest f32, as llama.cpp's own quantiser does."""
    import gguf
    import numpy as np

    width, layers, inner, rank = shape(size)
    random = np.random.default_rng(1)
    out = gguf.GGUFWriter(path, "mamba")
    out.add_context_length(1 << 20)
    out.add_embedding_length(width)
    out.add_feed_forward_length(0)
    out.add_head_count(0)
    out.add_block_count(layers)
    out.add_vocab_size(VOCAB)
    out.add_ssm_conv_kernel(TAPS)
    out.add_ssm_inner_size(inner)
    out.add_ssm_state_size(STATES)
    out.add_ssm_time_step_rank(rank)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_tokenizer_model("no_vocab")
    q8 = gguf.GGMLQuantizationType.Q8_0

    def matrix(name, rows, columns):
        w = (random.standard_normal((rows, columns)) / columns**0.5).astype(np.float32)
        if columns % 32:
            out.add_tensor(name, w.astype(np.float16))  # a row is no whole number of blocks
        else:
            out.add_tensor(name, gguf.quants.quantize(w, q8), raw_dtype=q8)

    def vector(name, values):
        out.add_tensor(name, np.ascontiguousarray(values, dtype=np.float32))

    matrix("token_embd.weight", VOCAB, width)
    vector("output_norm.weight", np.ones(width))
    for i in range(layers):
        name = f"blk.{i}."
        vector(name + "attn_norm.weight", np.ones(width))
        matrix(name + "ssm_in.weight", 2 * inner, width)
        vector(name + "ssm_conv1d.weight", random.standard_normal((inner, TAPS)) / 2)
        vector(name + "ssm_conv1d.bias", np.zeros(inner))
        matrix(name + "ssm_x.weight", rank + 2 * STATES, inner)
        matrix(name + "ssm_dt.weight", inner, rank)
        vector(name + "ssm_dt.bias", np.log(np.expm1(np.geomspace(1e-3, 0.1, inner))))
        vector(name + "ssm_a", np.tile(-np.arange(1.0, STATES + 1), (inner, 1)))
        vector(name + "ssm_d", np.ones(inner))
        matrix(name + "ssm_out.weight", width, inner)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def run_llama(size, threads, seconds, folder):
    import ctypes

    import llama_cpp as ll
    import numpy as np

    path = str(Path(folder) / f"{size}.gguf")
    if not os.path.exists(path):
        write_gguf(path, size)
    quiet = ll.llama_log_callback(lambda *_: None)
    ll.llama_log_set(quiet, ctypes.c_void_p(0))
    ll.llama_backend_init()
    model_options = ll.llama_model_default_params()
    model_options.n_gpu_layers = 0
    model = ll.llama_model_load_from_file(path.encode(), model_options)
    if not model:
        raise SystemExit("llama.cpp does not load the file")
    options = ll.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch = 2048, PROMPT, PROMPT
    options.n_threads = options.n_threads_batch = threads
    context = ll.llama_init_from_model(model, options)
    memory = ll.llama_get_memory(context)
    batch = ll.llama_batch_init(PROMPT, 0, 1)
    position = 0

    def feed(tokens):
        nonlocal position
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i] = token, position + i
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
            batch.logits[i] = i + 1 == len(tokens)
        if ll.llama_decode(context, batch) != 0:
            raise SystemExit("llama_decode failed")
        position += len(tokens)
        return np.ctypeslib.as_array(ll.llama_get_logits_ith(context, -1), shape=(VOCAB,))

    token = 97

    def reset():
        nonlocal position
        ll.llama_memory_clear(memory, True)
        position = 0

    def step():
        nonlocal token
        if position > 2000:
            reset()
        token = int(feed([token]).argmax())
        return 1

    prompt = [(i * 89 + 17) % VOCAB for i in range(PROMPT)]

    def read():
        reset()
        feed(prompt)
        return PROMPT

    for _ in range(4):
        step()
    decode = clock(seconds, step)
    return {"decode": decode, "prefill": clock(seconds, read)}


def run_transformers(size, threads, seconds, _folder):
    import torch
    from transformers import MambaConfig, MambaForCausalLM

    torch.set_num_threads(threads)
    width, layers, inner, rank = shape(size)
    config = MambaConfig(
        vocab_size=VOCAB, hidden_size=width, num_hidden_layers=layers, intermediate_size=inner, state_size=STATES,
        conv_kernel=TAPS, time_step_rank=rank, pad_token_id=0, bos_token_id=0, eos_token_id=0,
    )
    model = MambaForCausalLM(config).eval()
    prompt = torch.tensor([[(i * 89 + 17) % VOCAB for i in range(PROMPT)]])
    with torch.inference_mode():
        out = model(prompt, use_cache=True)
        cache, at = out.cache_params, PROMPT
        token = out.logits[:, -1:].argmax(-1)

        def step():
            nonlocal cache, token, at
            out = model(token, cache_params=cache, use_cache=True, cache_position=torch.tensor([at]))
            cache, at, token = out.cache_params, at + 1, out.logits[:, -1:].argmax(-1)
            return 1

        def read():
            model(prompt, use_cache=True, logits_to_keep=1)
            return PROMPT

        decode = clock(seconds, step)
        return {"decode": decode, "prefill": clock(seconds, read)}


def write_onnx(path, size):
    """One step as a graph, state in and out; matrices in int8 by dynamic quantisation, per channel."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import QuantType, quantize_dynamic

    width, layers, inner, rank = shape(size)
    random = np.random.default_rng(1)
    nodes, constants, inputs, outputs = [], [], [], []

    def constant(name, value, kind=np.float32):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=kind), name))
        return name

    def op(kind, ins, out, **attributes):
        nodes.append(helper.make_node(kind, ins, [out] if isinstance(out, str) else out, **attributes))
        return out

    def matrix(name, columns, rows):
        return constant(name, random.standard_normal((columns, rows)) / columns**0.5)

    inputs.append(helper.make_tensor_value_info("token", TensorProto.INT64, [1]))
    embedding = constant("embedding", random.standard_normal((VOCAB, width)))
    x = op("Gather", [embedding, "token"], "x0")
    eps, two = constant("eps", 1e-5), constant("two", 2.0)
    for name, value in [("axis", [1]), ("axis2", [2])]:
        constant(name, value, np.int64)

    def norm(x, tag):
        square = op("Pow", [x, two], tag + "sq")
        mean = op("ReduceMean", [square, "axis"], tag + "mean", keepdims=1)
        root = op("Sqrt", [op("Add", [mean, eps], tag + "eps")], tag + "root")
        return op("Div", [x, root], tag + "norm")

    for i in range(layers):
        t = f"l{i}_"
        conv, h = t + "conv", t + "h"
        inputs.append(helper.make_tensor_value_info(conv, TensorProto.FLOAT, [TAPS - 1, inner]))
        inputs.append(helper.make_tensor_value_info(h, TensorProto.FLOAT, [inner, STATES]))
        xz = op("MatMul", [norm(x, t), matrix(t + "in", width, 2 * inner)], t + "xz")
        u, z = op("Split", [xz], [t + "u", t + "z"], axis=1, num_outputs=2)
        taps = op("Concat", [conv, u], t + "taps", axis=0)
        kept = op("Slice", [taps, constant(t + "from", [1], np.int64), constant(t + "to", [TAPS], np.int64)], t + "conv_out")
        outputs.append(helper.make_tensor_value_info(kept, TensorProto.FLOAT, [TAPS - 1, inner]))
        weighted = op("Mul", [taps, constant(t + "w", random.standard_normal((TAPS, inner)) / 2)], t + "weighted")
        summed = op("ReduceSum", [weighted, constant(t + "zero", [0], np.int64)], t + "summed", keepdims=1)
        u = op("Mul", [summed, op("Sigmoid", [summed], t + "us")], t + "u2")
        dbc = op("MatMul", [u, matrix(t + "x", inner, rank + 2 * STATES)], t + "dbc")
        parts = constant(t + "parts", [rank, STATES, STATES], np.int64)
        dt, b, c = op("Split", [dbc, parts], [t + "dt", t + "b", t + "c"], axis=1)
        dt = op("MatMul", [dt, matrix(t + "dtw", rank, inner)], t + "dtm")
        dt = op("Softplus", [op("Add", [dt, constant(t + "dtb", np.full((1, inner), -4.0))], t + "dta")], t + "delta")
        column = op("Reshape", [dt, constant(t + "col", [inner, 1], np.int64)], t + "dcol")
        a = constant(t + "a", np.tile(-np.arange(1.0, STATES + 1), (inner, 1)))
        decay = op("Exp", [op("Mul", [column, a], t + "da")], t + "decay")
        ucol = op("Reshape", [u, t + "col"], t + "ucol")
        fed = op("Mul", [op("Mul", [column, ucol], t + "du"), b], t + "fed")
        new = op("Add", [op("Mul", [h, decay], t + "kept"), fed], t + "h_out")
        outputs.append(helper.make_tensor_value_info(new, TensorProto.FLOAT, [inner, STATES]))
        y = op("ReduceSum", [op("Mul", [new, c], t + "hc"), "axis"], t + "y", keepdims=0)
        y = op("Add", [op("Reshape", [y, constant(t + "row", [1, inner], np.int64)], t + "yrow"), u], t + "skip")
        gate = op("Mul", [z, op("Sigmoid", [z], t + "zs")], t + "gate")
        out = op("MatMul", [op("Mul", [y, gate], t + "gated"), matrix(t + "out", inner, width)], t + "o")
        x = op("Add", [x, out], t + "res")
    op("MatMul", [norm(x, "f_"), constant("head", random.standard_normal((width, VOCAB)))], "logits")
    outputs.insert(0, helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, VOCAB]))
    graph = helper.make_graph(nodes, "step", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    plain = path + ".f32"
    onnx.save(model, plain, save_as_external_data=True, location=os.path.basename(plain) + ".data")
    quantize_dynamic(plain, path, per_channel=True, weight_type=QuantType.QInt8, use_external_data_format=True)


def run_onnx(size, threads, seconds, folder):
    import numpy as np
    import onnxruntime as ort

    path = str(Path(folder) / f"{size}.onnx")
    if not os.path.exists(path):
        write_onnx(path, size)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    _, _, inner, _ = shape(size)
    names = [i.name for i in session.get_inputs()]
    state = [np.zeros((TAPS - 1, inner) if n.endswith("conv") else (inner, STATES), np.float32) for n in names[1:]]
    token = np.array([97], np.int64)

    def step():
        nonlocal state, token
        logits, *state = session.run(None, dict(zip(names, [token, *state])))
        token = np.array([logits.argmax()], np.int64)
        return 1

    for _ in range(4):
        step()
    # The graph is one step: known bytes are read one by one too.
    decode = clock(seconds, step)
    return {"decode": decode, "prefill": clock(seconds, step)}


def run_candle(size, threads, seconds, _folder):
    """A program of its own, built when it is first asked for."""
    crate = Path(__file__).parent / "candle"
    subprocess.run(["cargo", "build", "--quiet", "--release", "--locked"], cwd=crate, check=True)
    width, layers, _, _ = shape(size)
    arguments = [crate / "target/release/peer-candle", str(width), str(layers), str(seconds)]
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads))
    return json.loads(subprocess.run(arguments, stdout=subprocess.PIPE, check=True, env=environment).stdout)


PEERS = {"llama": run_llama, "onnx": run_onnx, "transformers": run_transformers, "candle": run_candle}
TITLES = {
    "llama": "llama.cpp Q8_0", "onnx": "ONNX Runtime int8", "transformers": "transformers f32", "candle": "candle f32",
}


# ---------------------------------------------------------------- the comparison


def install(peers):
    import importlib.util

    modules = {"llama-cpp-python": "llama_cpp"}
    wanted = {package for peer in peers for package in PACKAGES[peer]}
    missing = sorted(p for p in wanted if importlib.util.find_spec(modules.get(p, p)) is None)
    if missing:
        if sys.prefix == sys.base_prefix:
            raise SystemExit(f"missing: {' '.join(missing)}; run this with the Python of a virtual environment")
        print("installing", *missing, file=sys.stderr)
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *missing], check=True)


def child(arguments):
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    done = subprocess.run(arguments, stdout=subprocess.PIPE, env=environment)
    if done.returncode:
        return None
    return json.loads(done.stdout.decode().strip().splitlines()[-1])


def ours(program, size, threads, seconds, folder, backend):
    report = Path(folder) / "ours.json"
    arguments = [program, "bench", "--size", size, "--threads", str(threads), "--rounds", "1", "--seconds", str(seconds)]
    arguments += ["--backend", backend] if backend else []
    done = subprocess.run([*arguments, "--json", report], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{program} failed on {size}")
    model = json.loads(report.read_text())["models"][0]
    run = model["runs"][0]
    return {"decode": run["decode"], "prefill": run["prefill"], "peak_rss": model["peak_rss"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mambabyte", default="target/release/mambabyte", help="the program, built with --release")
    parser.add_argument("--sizes", default="S,M,L,P")
    parser.add_argument("--peers", default="llama", help=f"of {', '.join(PEERS)}; the first one is the reference")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backend", help="ours, as `mambabyte bench` names them; peers take what they were compiled for")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure in a round")
    parser.add_argument("--json", help="write all samples here")
    parser.add_argument("--child", nargs=3, metavar=("PEER", "SIZE", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        peer, size, folder = args.child
        figures = PEERS[peer](size, args.threads, args.seconds, folder)
        figures.setdefault("peak_rss", peak_rss())
        print(json.dumps(figures))
        return
    peers = [p for p in args.peers.split(",") if p]
    unknown = [p for p in peers if p not in PEERS] + [s for s in args.sizes.split(",") if s not in SIZES]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}")
    install(peers)
    samples = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes.split(","):
            for _ in range(args.rounds):
                rows = {"MambaByte": ours(args.mambabyte, size, args.threads, args.seconds, folder, args.backend)}
                for peer in peers:
                    options = ["--threads", str(args.threads), "--seconds", str(args.seconds)]
                    rows[TITLES[peer]] = child([sys.executable, __file__, *options, "--child", peer, size, folder])
                for name, figures in rows.items():
                    if figures:
                        samples.setdefault(size, {}).setdefault(name, []).append(figures)
                    else:
                        print(f"{name} failed on {size}", file=sys.stderr)
            for name in os.listdir(folder):
                os.remove(os.path.join(folder, name))
    if args.json:
        Path(args.json).write_text(json.dumps(samples, indent=1))
    print(f"{args.threads} thread(s), median (least-most) bytes/s of {args.rounds} rounds; ratio to {TITLES[peers[0]]}")
    for size, rows in samples.items():
        print(f"\n{size:<4}{'':22}{'decode':>28}{'ratio':>8}{'prefill':>30}{'ratio':>8}{'peak MB':>9}")
        reference = rows.get(TITLES[peers[0]])
        for name, figures in rows.items():
            line = f"    {name:<22}"
            for kind, width in (("decode", 28), ("prefill", 30)):
                values = [f[kind] for f in figures]
                middle = statistics.median(values)
                line += f"{f'{middle:,.0f} ({min(values):,.0f}-{max(values):,.0f})':>{width}}"
                base = statistics.median(f[kind] for f in reference) if reference else float("nan")
                line += f"{middle / base:>8.2f}"
            peaks = [f["peak_rss"] for f in figures if f.get("peak_rss")]
            print(line + (f"{max(peaks) / 1e6:>9.0f}" if peaks else ""))


if __name__ == "__main__":
    main()
