"""An epoch of training in fewbit and in torch on the CPU, on the same cores, turn by turn.

    python benches/peers/train.py --fewbit target/release/fewbit [--model lenet-5] [--pairs 15] [--images 12000] [--json FILE]

Models: the survey's perceptron (784-2800-2670-10) and lenet-5 (20 and 50 filters of 5x5, 500 hidden units). fewbit trains on
digits that it draws, torch on noise of the same shapes: the time does not depend on the values. Both train one epoch of
SGD with momentum in batches of 128, shuffled, from images in memory as bytes; only the training is timed. torch's bf16 is
`torch.autocast`. Its layout of images (contiguous or channels_last), its kind of SGD (fused or not) and its number of threads
are those that are fastest here: all are tried first.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

LAYERS = [784, 2800, 2670, 10]
BATCH = 128


def fewbit_epoch(args, name):
    command = [args.fewbit, "train", "--device", "cpu", "--formats", name, "--epochs", "1", "--json"]
    command += ["--train-images", str(args.images), "--test-images", "128", "--batch", str(BATCH), "--model", args.model]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out)["results"][0]["seconds"]


def network(torch, model):
    nn = torch.nn
    if model == "lenet-5":
        return nn.Sequential(
            nn.Conv2d(1, 20, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(800, 500),
            nn.ReLU(),
            nn.Linear(500, 10),
        )
    modules = [nn.Flatten()]
    for n, m in zip(LAYERS, LAYERS[1:]):
        modules += [nn.Linear(n, m), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def torch_epoch(torch, args, bf16, how, images=None):
    channels_last, fused, threads = how
    count = images or args.images
    torch.set_num_threads(threads)
    net = network(torch, args.model)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = net.to(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, fused=fused)
    bytes_ = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8)
    labels = torch.randint(0, LAYERS[-1], (count,))
    start = time.perf_counter()
    for at in torch.randperm(count).split(BATCH):
        if len(at) < BATCH:
            # Those left over sit the epoch out, as in fewbit.
            break
        optimizer.zero_grad(set_to_none=True)
        batch = (bytes_[at].float() / 255).contiguous(memory_format=layout)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = torch.nn.functional.cross_entropy(net(batch), labels[at])
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def best(torch, args, bf16):
    """The layout, optimizer and threads that are fastest, each tried three times on a part of the images."""
    layouts = [False, True] if args.model == "lenet-5" else [False]
    cores = len(os.sched_getaffinity(0))
    hows = list(itertools.product(layouts, [False, True], sorted({cores, max(1, cores // 2)})))
    tried = {how: [] for how in hows}
    # In rounds, so that what else the machine does for a while meets all alike; the first warms up.
    for _ in range(4):
        for how in hows:
            tried[how].append(torch_epoch(torch, args, bf16, how, BATCH * 16))
    return min(hows, key=lambda how: min(tried[how][1:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fewbit", required=True, help="the program to time")
    parser.add_argument("--model", choices=["mlp", "lenet-5"], default="mlp", help="what is trained")
    parser.add_argument("--pairs", type=int, default=15, help="epochs of each")
    parser.add_argument("--images", type=int, default=12_000, help="images of an epoch")
    parser.add_argument("--json", help="write the results to this file")
    args = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("torch is missing: it is the peer here")
    peers = [("f32", False), ("bf16 autocast", True)]
    ours = ["f32", "bf16-mixed", "bf16-sr"]
    hows = {name: best(torch, args, bf16) for name, bf16 in peers}
    times = {name: [] for name in ours}
    times |= {"torch " + name: [] for name, _ in peers}
    for _ in range(args.pairs):
        for name in ours:
            # torch's idle threads spin for a while.
            time.sleep(0.3)
            times[name].append(fewbit_epoch(args, name))
        for name, bf16 in peers:
            times["torch " + name].append(torch_epoch(torch, args, bf16, hows[name]))
    results = []
    for peer, _ in peers:
        channels_last, fused, threads = hows[peer]
        print(
            f"torch {torch.__version__} {peer}: {'channels_last' if channels_last else 'contiguous'}, "
            f"{'fused' if fused else 'plain'} SGD, {threads} threads"
        )
        for name in ours:
            pairs = list(zip(times[name], times["torch " + peer]))
            ratios = sorted(theirs / own for own, theirs in pairs)
            results.append(
                {
                    "case": f"epoch of {args.images} images, {args.model}, batch {BATCH}",
                    "variant": name,
                    "peer": f"torch {torch.__version__} {peer}",
                    "fewbit_seconds": statistics.median(own for own, _ in pairs),
                    "peer_seconds": statistics.median(theirs for _, theirs in pairs),
                    "ratio": statistics.median(ratios),
                    "ratio_low": ratios[len(ratios) // 4],
                    "ratio_high": ratios[(3 * len(ratios)) // 4],
                    "pairs": len(pairs),
                }
            )
            last = results[-1]
            print(
                f"  {name}: fewbit {last['fewbit_seconds']:.3f} s, torch {last['peer_seconds']:.3f} s: "
                f"{last['ratio']:.2f} times fewbit's ({last['ratio_low']:.2f} to {last['ratio_high']:.2f})"
            )
    for name in ours[1:]:
        shares = sorted(own / base for own, base in zip(times[name], times["f32"]))
        print(f"{name} / f32, both fewbit: {statistics.median(shares):.3f} ({shares[0]:.3f} to {shares[-1]:.3f})")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
