"""An epoch of the survey's perceptron in fewbit and in torch on the CPU, turn by turn.

    python benches/peers/train.py --fewbit target/release/fewbit [--pairs 15] [--images 12000] [--json FILE]

fewbit trains on digits that it draws, torch on noise of the same shapes: the time does not depend on the values.
Both train one epoch with momentum and then classify 10,000 images. torch's bf16 is `torch.autocast`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

LAYERS = [784, 2800, 2670, 10]
BATCH = 128
TEST = 10_000


def fewbit_epoch(args, name):
    command = [args.fewbit, "train", "--device", "cpu", "--formats", name, "--epochs", "1", "--json"]
    command += ["--train-images", str(args.images), "--test-images", str(TEST), "--batch", str(BATCH)]
    command += ["--layers", ",".join(map(str, LAYERS))]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out)["results"][0]["seconds"]


def torch_epoch(torch, args, bf16):
    modules = []
    for n, m in zip(LAYERS, LAYERS[1:]):
        modules += [torch.nn.Linear(n, m), torch.nn.ReLU()]
    net = torch.nn.Sequential(*modules[:-1])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    images, labels = torch.rand(args.images, LAYERS[0]), torch.randint(0, LAYERS[-1], (args.images,))
    test = torch.rand(TEST, LAYERS[0])
    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        for at in torch.randperm(args.images).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(net(images[at]), labels[at]).backward()
            optimizer.step()
        with torch.inference_mode():
            for part in test.split(BATCH):
                net(part).argmax(1)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fewbit", required=True, help="the program to time")
    parser.add_argument("--pairs", type=int, default=15, help="epochs of each")
    parser.add_argument("--images", type=int, default=12_000, help="images of an epoch")
    parser.add_argument("--json", help="write the results to this file")
    args = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("torch is missing: it is the peer here")
    results = []
    for ours, bf16 in [("f32", False), ("bf16-mixed", True)]:
        pairs = []
        for _ in range(args.pairs):
            # torch's idle threads spin for a while.
            time.sleep(0.3)
            pairs.append((fewbit_epoch(args, ours), torch_epoch(torch, args, bf16)))
        ratios = sorted(theirs / one for one, theirs in pairs)
        results.append(
            {
                "case": f"epoch of {args.images} images, {'-'.join(map(str, LAYERS))}, batch {BATCH}",
                "variant": ours,
                "peer": f"torch {torch.__version__} {'bf16 autocast' if bf16 else 'f32'}",
                "fewbit_seconds": statistics.median(one for one, _ in pairs),
                "peer_seconds": statistics.median(theirs for _, theirs in pairs),
                "ratio": statistics.median(ratios),
                "ratio_low": ratios[len(ratios) // 4],
                "ratio_high": ratios[(3 * len(ratios)) // 4],
                "pairs": len(pairs),
            }
        )
        last = results[-1]
        print(
            f"{ours}: fewbit {last['fewbit_seconds']:.2f} s, {last['peer']} {last['peer_seconds']:.2f} s: "
            f"{last['ratio']:.2f} times fewbit's ({last['ratio_low']:.2f} to {last['ratio_high']:.2f})"
        )
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
