#!/usr/bin/env python3
"""fewbit beside PyTorch, NumPy and SciPy: the same shapes and values, times taken turn by turn.

    peers.py --fewbit PROGRAM [--quick|--full] [--device cpu|gpu] [--json FILE]
    peers.py --merge A.json B.json ... --out DIR

PROGRAM is the fewbit-peers of this folder: it runs as a child that makes the operands and times fewbit between
this program's own samples. What is not installed, or has no such operation, is named in the result.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

# NumPy's libraries read their number of threads once: a process for each (see numpy_at_its_best).
THREADS = "FEWBIT_PEERS_NUMPY_THREADS"
if THREADS in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = os.environ[THREADS]

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# torch says on every use that its sparse matrices are young.
warnings.filterwarnings("ignore", message=".*[Ss]parse.*", category=UserWarning)


class Missing(Exception):
    """A peer that is not here, or cannot do what it should."""


class NotItsOwn(Exception):
    """An operation that a library does not claim to have."""


def load(name):
    try:
        return __import__(name)
    except ImportError as error:
        raise Missing(f"not installed ({error})") from error


class Fewbit:
    """The child that times fewbit."""

    def __init__(self, args):
        command = [args.fewbit, "--serve", "--device", args.device] + (["--quick"] if args.quick else [])
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command):
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if not answer:
            raise RuntimeError(f"fewbit-peers ended at {command!r}")
        return json.loads(answer)

    def close(self):
        self.child.stdin.close()
        self.child.wait()


class Operands:
    """The operands of a case, as raw words in files."""

    def __init__(self, folder, case):
        self.folder, self.case = Path(folder), case

    def words(self, name):
        return bytearray((self.folder / f"{name}.bin").read_bytes())

    @property
    def sparse(self):
        return "rows" in self.case["shape"]


# A peer is a function (operands, threads) -> (run, result, type): `run(n)` runs n times and waits for the end;
# `result()` gives the last result as bytes of f32; the type is the one that it computes with.


def numpy_dense(operands, _threads):
    np = load("numpy")
    if operands.sparse:
        raise NotItsOwn
    shape = operands.case["shape"]
    a = np.frombuffer(operands.words("a"), np.float32).reshape(shape["m"], shape["k"])
    b = np.frombuffer(operands.words("b"), np.float32).reshape(shape["n"], shape["k"])
    c = np.zeros((shape["m"], shape["n"]), np.float32)

    def run(repeats):
        for _ in range(repeats):
            np.matmul(a, b.T, out=c)

    return run, c.tobytes, "f32"


def scipy_sparse(operands, _threads):
    np, _ = load("numpy"), load("scipy")
    import scipy.sparse

    if not operands.sparse:
        raise NotItsOwn
    shape = operands.case["shape"]
    matrix = scipy.sparse.csr_array(
        (
            np.frombuffer(operands.words("values"), np.float32),
            np.frombuffer(operands.words("col_idx"), np.int32),
            np.frombuffer(operands.words("row_ptr"), np.int32),
        ),
        shape=(shape["rows"], shape["cols"]),
    )
    x = np.frombuffer(operands.words("x"), np.float32)
    if shape["n"] > 1:
        x = x.reshape(shape["cols"], shape["n"])
    kept = [None]

    def run(repeats):
        for _ in range(repeats):
            kept[0] = matrix @ x

    return run, lambda: kept[0].astype(np.float32).tobytes(), "f32"


def torch_on(device):
    def prepare(operands, threads):
        torch = load("torch")
        if device == "cuda" and not torch.cuda.is_available():
            raise Missing("no CUDA device")
        torch.set_num_threads(threads)
        # Sums are f32 for everyone: no TF32, no bf16 partial sums.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        try:
            return of_type(torch, operands, torch.bfloat16 if operands.case["bf16"] else torch.float32)
        except Missing:
            # No sparse product of bf16 on CPUs: the same values in f32, as for every peer without bf16.
            if not operands.case["bf16"]:
                raise
            return of_type(torch, operands, torch.float32)

    def of_type(torch, operands, dtype):
        tensor = lambda name, kind: torch.frombuffer(operands.words(name), dtype=kind).to(device)
        shape = operands.case["shape"]
        kept = [None]
        if operands.sparse:
            matrix = torch.sparse_csr_tensor(
                tensor("row_ptr", torch.int32),
                tensor("col_idx", torch.int32),
                tensor("values", torch.float32).to(dtype),
                (shape["rows"], shape["cols"]),
            )
            # Both operands must be of one type there.
            x = tensor("x", torch.float32).to(dtype)
            if shape["n"] > 1:
                x = x.reshape(shape["cols"], shape["n"])
            product = lambda: matrix @ x
        else:
            a = tensor("a", torch.float32).to(dtype).reshape(shape["m"], shape["k"])
            b = tensor("b", torch.float32).to(dtype).reshape(shape["n"], shape["k"])
            c = torch.empty((shape["m"], shape["n"]), dtype=dtype, device=device)
            product = lambda: torch.mm(a, b.T, out=c)

        def run(repeats):
            with torch.inference_mode():
                for _ in range(repeats):
                    kept[0] = product()
            if device == "cuda":
                torch.cuda.synchronize()

        def result():
            values = kept[0].to("cpu", torch.float32).contiguous().flatten()
            return bytes(values.untyped_storage())

        try:
            run(1)
        except (RuntimeError, NotImplementedError) as error:
            raise Missing(f"cannot: {str(error).splitlines()[0]}") from error
        return run, result, "bf16" if dtype == torch.bfloat16 else "f32"

    return prepare


def version(package):
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def sample(run, repeats):
    start = time.perf_counter()
    run(repeats)
    return (time.perf_counter() - start) / repeats


def calibrate(run, shortest):
    run(1)
    repeats = 1
    while (total := sample(run, repeats) * repeats) < shortest and repeats < 1 << 20:
        repeats = int(repeats * min(max(1.2 * shortest / max(total, 1e-7), 2), 64))
    return repeats


def quartiles(values):
    values = sorted(values)
    return [values[round((len(values) - 1) * share)] for share in (0.25, 0.5, 0.75)]


def floats(data):
    """f32 words as a list-like, by whatever is installed."""
    try:
        import numpy as np

        return np.frombuffer(data, np.float32).astype(np.float64)
    except ImportError:
        import torch

        return torch.frombuffer(bytearray(data), dtype=torch.float32).double()


def error_of_bound(operands, ours, theirs, kind):
    """The largest difference as a share of what is allowed: for two f32 sums in any order twice the bound of one,
    which fewbit-peers wrote beside the operands; for a result, or an x, that was rounded to bf16 that too."""
    ours, theirs = floats(ours), floats(theirs)
    if len(ours) != len(theirs):
        return float("inf")
    bound = 2 * floats(operands.words("bound"))
    if kind == "bf16":
        bound = bound + abs(ours) * 2.0**-8
        if operands.sparse:
            bound = bound + floats(operands.words("size")) * 2.0**-8
    # An empty row is 0 for everyone.
    worst = float((abs(ours - theirs) / (bound + 1e-30)).max())
    return worst if worst == worst else float("inf")


def settle():
    """Waits until this process's threads sleep.

    Those of OpenMP and of OpenBLAS spin after their work, for longer where processors are few: they must not take
    fewbit's cores.
    """
    for _ in range(100):
        before = time.process_time()
        time.sleep(0.02)
        if time.process_time() - before < 0.002:
            return
    print("warning: the peer's threads do not come to rest", file=sys.stderr)


def measure(args, fewbit, operands, name, package, prepare, counts):
    shortest = 1e-3 if args.quick else 2e-2
    best = None
    for threads in counts:
        run, result, kind = prepare(operands, threads)
        repeats = calibrate(run, shortest)
        median = statistics.median(sample(run, repeats) for _ in range(5))
        if best is None or median < best[0]:
            best = (median, threads, repeats)
    _, threads, repeats = best
    run, result, kind = prepare(operands, threads)
    run(1)
    error = error_of_bound(operands, operands.words("result"), result(), kind)
    ours, theirs, ratios = [], [], []
    for _ in range(args.pairs):
        settle()
        one, other = fewbit.ask("sample"), sample(run, repeats)
        ours.append(one), theirs.append(other), ratios.append(other / one)
    (a1, a, a3), (b1, b, b3), (low, ratio, high) = quartiles(ours), quartiles(theirs), quartiles(ratios)
    return {
        "case": operands.case["case"],
        "flops": operands.case["flops"],
        "peer": name,
        "version": version(package),
        "device": operands.case["device"],
        "peer_type": kind,
        "threads": threads,
        "pairs": args.pairs,
        "fewbit_seconds": a,
        "fewbit_spread": (a3 - a1) / 2,
        "peer_seconds": b,
        "peer_spread": (b3 - b1) / 2,
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "error_of_bound": error,
        "verified": error <= 1,
    }


# Name, package, function, and whether it runs where fewbit then runs.
PEERS = [
    ("numpy", "numpy", numpy_dense, "cpu"),
    ("scipy", "scipy", scipy_sparse, "cpu"),
    ("torch (CPU)", "torch", torch_on("cpu"), "cpu"),
    ("torch (CUDA)", "torch", torch_on("cuda"), "gpu"),
]


def collect(args):
    names = subprocess.run(
        [args.fewbit, "--list"] + ["--quick"] * args.quick + ["--full"] * args.full,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    names = [name for name in names if args.case in name]
    results, missing = [], []
    fewbit = Fewbit(args)
    for case in names:
        with tempfile.TemporaryDirectory() as folder:
            operands = Operands(folder, fewbit.ask(f"prepare {folder} {case}"))
            for name, package, prepare, place in PEERS:
                if place != args.device or args.peer not in (None, name):
                    continue
                child = THREADS in os.environ
                counts = range(1, CORES + 1) if name == "torch (CPU)" else [int(os.environ.get(THREADS, 1))]
                try:
                    if name == "numpy" and not child and CORES > 1:
                        prepare(operands, 1)
                        results.append(numpy_at_its_best(args, case))
                    else:
                        results.append(measure(args, fewbit, operands, name, package, prepare, counts))
                except NotItsOwn:
                    continue
                except Missing as why:
                    missing.append({"peer": name, "case": case, "why": str(why)})
                    print(f"{case}: {name}: {why}", file=sys.stderr)
                    continue
                row = results[-1]
                verdict = "" if row["verified"] else ": ITS RESULT IS ANOTHER"
                print(
                    f"{case}: {name} {row['version']} ({row['peer_type']}, {row['threads']} threads) takes "
                    f"{row['ratio']:.2f} times fewbit's time{verdict}",
                    file=sys.stderr,
                )
    fewbit.close()
    return {
        "format": "fewbit peers",
        "device": results[0]["device"] if results else None,
        "threads": CORES,
        "results": results,
        "missing": missing,
    }


def numpy_at_its_best(args, case):
    """A process for each number of threads, and the best of them."""
    best = None
    for threads in range(1, CORES + 1):
        command = [sys.executable, __file__, "--fewbit", args.fewbit, "--peer", "numpy", "--case", case]
        command += ["--pairs", str(args.pairs)] + ["--quick"] * args.quick + ["--full"] * args.full
        environment = dict(os.environ, **{THREADS: str(threads)})
        child = subprocess.run(command, env=environment, capture_output=True, text=True)
        if child.returncode != 0:
            raise Missing(f"failed on {threads} threads: {child.stderr.strip().splitlines()[-1:]}")
        for row in json.loads(child.stdout)["results"]:
            if row["case"] == case and (best is None or row["peer_seconds"] < best["peer_seconds"]):
                best = row
    return best


def duration(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size or unit == "us":
            return f"{seconds / size:.3g} {unit}"


def merge(paths, out):
    """One table in Markdown and JSON."""
    documents = [json.loads(Path(path).read_text()) for path in paths]
    results = [row for document in documents for row in document["results"]]
    missing = [entry for document in documents for entry in document["missing"]]
    order = {}
    for row in results:
        order.setdefault(row["case"], len(order))
    results.sort(key=lambda row: (order[row["case"]], row["ratio"]))
    lines = [
        "# fewbit beside other libraries",
        "",
        "Ratio: the peer's time over fewbit's, so above 1 fewbit is faster. Medians of pairs taken turn by turn, in",
        "brackets the quartiles; every peer at its best number of threads. Where fewbit's operands are bf16 and a",
        "peer has no bf16 it computes the same values in f32.",
        "",
        "| case | fewbit on | peer | its type | threads | fewbit | peer's time | ratio | result |",
        "|---|---|---|---|---:|---:|---:|---:|---|",
    ]
    for row in results:
        lines.append(
            f"| {row['case']} | {row['device']} | {row['peer']} {row['version']} | {row['peer_type']} "
            f"| {row['threads']} | {duration(row['fewbit_seconds'])} | {duration(row['peer_seconds'])} "
            f"| {row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f}) "
            f"| {'the same' if row['verified'] else 'ANOTHER'} |"
        )
    if missing:
        lines += ["", "Missing:", ""]
        # Grouped by reason: a peer that is not installed is missing everywhere.
        reasons = {}
        for entry in missing:
            reasons.setdefault((entry["peer"], entry["why"]), []).append(entry.get("case"))
        for (peer, why), cases in reasons.items():
            named = [case for case in cases if case]
            where = f" ({', '.join(named)})" if named else ""
            lines.append(f"- {peer}{where}: {why}")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "peers.md").write_text("\n".join(lines) + "\n")
    document = {"format": "fewbit peers", "results": results, "missing": missing}
    (out / "peers.json").write_text(json.dumps(document, indent=2) + "\n")
    return all(row["verified"] for row in results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fewbit", metavar="PROGRAM", help="the fewbit-peers that was built")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--case", default="")
    parser.add_argument("--peer")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--merge", nargs="+", metavar="FILE")
    parser.add_argument("--out", metavar="DIR", default=".")
    args = parser.parse_args()
    if args.merge:
        return 0 if merge(args.merge, args.out) else 1
    if not args.fewbit:
        parser.error("--fewbit or --merge")
    document = collect(args)
    text = json.dumps(document, indent=2)
    if args.json:
        Path(args.json).write_text(text + "\n")
    else:
        print(text)
    return 0 if all(row["verified"] for row in document["results"]) else 1


if __name__ == "__main__":
    sys.exit(main())
