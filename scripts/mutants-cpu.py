#!/usr/bin/env python3
"""Plants faults in the CPU kernels, two a kernel, and looks whether tests/kernels.rs finds each.

The tree is copied to target/mutants-cpu, every expression below becomes `if crate::mutant(N) { faulty } else { as it
was }` there, and the one build of that is run once for each N, on the CPU devices. The expression must stand in its
file once. Exits with 1 where a fault is not found, or where the tests fail without one. Operations that are named on
the command line are the only ones looked at.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
KERNELS = "src/kernels/"
# Operations whose cases must find it, file, the expression, the faulty one.
MUTANTS = [
    ("copy", "copy/cpu.rs", "i * CHUNK", "i * (CHUNK - 1)"),
    ("copy", "copy/cpu.rs", "&src[first..first + dst.len()]", "&src[src.len() - dst.len()..]"),
    ("convert", "convert/cpu.rs", "(row * cols + first) as u64", "(row * cols) as u64"),
    ("convert", "convert/cpu.rs", "(row * cols) as u64", "(row * cols + 1) as u64"),
    ("relu", "relu/cpu.rs", "self.wrapping_sub($zero) <= $infinity", "self.wrapping_sub($zero) < $infinity"),
    ("relu_grad", "relu/cpu.rs", "self.wrapping_sub(1) < $infinity", "self.wrapping_sub(1) <= $infinity"),
    ("sgd", "sgd/cpu.rs", "momentum * v[i] + (g[i] + decay * w[i])", "momentum * v[i] + (g[i] - decay * w[i])"),
    ("sgd", "sgd/cpu.rs", "(start[i] - rate * velocity).to_bits()", "(start[i] + rate * velocity).to_bits()"),
    ("sgd", "shared/updates.rs", "(round(sum - w) - y)", "(round(sum - w) + y)"),
    ("sgd", "sgd/cpu.rs", "g.map(|g| factor * g)", "g.map(|g| g / factor)"),
    ("accumulate", "accumulate/cpu.rs", "*total += sum", "*total -= sum"),
    ("accumulate", "accumulate/cpu.rs", "base + first as u64", "first as u64"),
    ("adamw", "adamw/cpu.rs", "(1.0 - beta2) * g[i] * g[i]", "(1.0 - beta2) * g[i] * m[i]"),
    ("adamw", "adamw/cpu.rs", "rate * (moved + decay * w[i])", "rate * moved + decay * w[i]"),
    ("adamw", "adamw/cpu.rs", "g.map(|g| factor * g)", "g.map(|g| g / factor)"),
    ("adamw", "adamw/cpu.rs", "(g[i] * g[i] - v[i]) - lost[i]", "(g[i] * g[i] - v[i]) + lost[i]"),
    ("column_sums", "column_sums/cpu.rs", "op.rows.min((i + 1) * block_rows)",
     "op.rows.min((i + 1) * block_rows).saturating_sub(1).max(i * block_rows)"),
    ("column_sums", "column_sums/cpu.rs", "row(i + 3)", "row(i + 2)"),
    ("spmv", "spmv/cpu.rs", "row_ptr[row] as usize..row_ptr[row + 1] as usize",
     "(row_ptr[row] as usize + 1).min(row_ptr[row + 1] as usize)..row_ptr[row + 1] as usize"),
    ("spmv", "spmv/cpu.rs", "lanes.sparse_dot(values, columns, self.x)",
     "lanes.sparse_dot(&values[..values.len() / 8 * 8], &columns[..columns.len() / 8 * 8], self.x)"),
    ("spmm", "spmm/cpu.rs", "column * op.b_ld + col", "column * op.b_ld + col / 32 * 32"),
    ("spmm", "spmm/cpu.rs", "ends[0] as usize..ends[1] as usize",
     "ends[0] as usize..(ends[1] as usize).saturating_sub(1).max(ends[0] as usize)"),
    ("ceiling", "ceiling/cpu.rs", "(((first + lane as u32) & 255) + chain as u32) as f32",
     "(((first + lane as u32) & 127) + chain as u32) as f32"),
    ("ceiling", "ceiling/cpu.rs", "(4 * (self.first + self.dst.len())).min(row.len())",
     "(4 * (self.first + self.dst.len() - 1)).min(row.len())"),
    ("softmax_cross_entropy", "softmax_cross_entropy/cpu.rs", "(label < op.classes)", "(label <= op.classes)"),
    ("softmax_cross_entropy", "softmax_cross_entropy/cpu.rs", "(row.index * op.classes + col) as u64",
     "(row.index * op.classes + (col & !1)) as u64"),
    ("distillation", "distillation/cpu.rs", "divergence(q, p, (v - p_log) - (z - q_log))",
     "divergence(q, p, (v - p_log) - (z + q_log))"),
    ("distillation", "distillation/cpu.rs", "d * d * (0.5 - d * series)", "d * d * (0.5 + d * series)"),
    ("fmac", "fmac/cpu.rs", "u.wrapping_add(0x7fff + ((u >> 16) & 1)) & HIGH", "u.wrapping_add(0x8000) & HIGH"),
    ("fmac", "fmac/cpu.rs", "(row * op.cols + 2 * first) as u64", "(row * op.cols + first) as u64"),
    ("fmac_matmul", "fmac/cpu.rs", "(k + 1).is_multiple_of(op.chunk) || k + 1 == op.k",
     "(k + 1).is_multiple_of(op.chunk)"),
    ("fmac_matmul", "fmac/cpu.rs", "half_word(block, op.k as u32)", "half_word(block, (op.k as u32).wrapping_sub(1))"),
    ("choose", "choose/cpu.rs", "a << 16 > threshold * b", "a << 16 >= threshold * b"),
    ("choose", "choose/cpu.rs", "bits >> 23 & 0xff", "bits >> 23 & 0x7f"),
    ("decide", "decide/cpu.rs", "was <= Decide::LEAST", "was < Decide::LEAST"),
    ("decide", "decide/cpu.rs", "total.sqrt() / scale", "total.sqrt() * scale"),
    ("max_pool", "max_pool/cpu.rs", "x.key() > best.key()", "x.key() >= best.key()"),
    ("max_pool", "max_pool/cpu.rs", "i * down * width + j * right", "i * down * width + j"),
    ("max_pool_grad", "max_pool/cpu.rs", "first + i * width + j", "first + i * width"),
    ("max_pool_grad", "max_pool/cpu.rs", "at as usize * op.dx_ld + channel", "at as usize * op.dx_ld + channel / 2"),
    ("max_pool_grad", "max_pool/cpu.rs", "if highest(i) { T::ZERO } else { left[i] }", "left[i]"),
    ("max_pool", "max_pool/cpu.rs", "(block * BLOCK).min(channels - BLOCK)", "(block * BLOCK).min(channels - BLOCK - 1)"),
    ("dropout", "dropout/cpu.rs", "u32::from(bits) >= kept.threshold", "u32::from(bits) > kept.threshold"),
    ("dropout", "dropout/cpu.rs", "base as u64", "(base & !7) as u64"),
    ("patches", "patches/cpu.rs", "patch[at..at + run].fill(T::ZERO)", "patch[at..at + run / 2].fill(T::ZERO)"),
    ("patches", "patches/cpu.rs", "first + inside * line", "first + inside * run"),
    ("patches", "patches/cpu.rs", "(first + k) * op.pixel_ld", "(first + k) * channels"),
    ("patches_grad", "patches/cpu.rs", "j * stride[1] + inside.start - padding[1]",
     "(j * stride[1] + inside.start - padding[1]).saturating_sub(j % 2)"),
    ("patches_grad", "patches/cpu.rs", "down.min(at / stride[0] + 1)", "down.min(at / stride[0])"),
    ("transpose", "transpose/cpu.rs", "i * band", "i * (band - 16)"),
    ("transpose", "transpose/cpu.rs", "(a >> 16) | (b & 0xffff_0000)", "(b >> 16) | (a & 0xffff_0000)"),
    ("squares", "squares/cpu.rs", "self & 0x7f80_0000 == 0x7f80_0000", "self & 0x7fff_ffff == 0x7f80_0000"),
    ("squares", "squares/cpu.rs", "lanes.mul_add(value, value, sums[i])", "lanes.mul_add(value, value, sums[i & 15])"),
    ("encode", "encode/cpu.rs", "(row * op.cols + start) as u64", "(row * op.cols) as u64"),
    ("encode", "encode/cpu.rs", "row * op.src_ld + start", "row * op.cols + start"),
    ("decode", "decode/cpu.rs", "&self.scales[row * scale_words..][..scale_words]", "&self.scales[..scale_words]"),
    ("decode", "decode/cpu.rs", "words[len / 2] = 0", "words[len / 2] = 1 << 16"),
    ("improvement", "improvement/cpu.rs", "1 << (place - 1)", "1 << place"),
    ("improvement", "improvement/cpu.rs", "((significand >> s) & 1)", "1"),
    ("matmul", "matmul/cpu.rs", "(batch * op.m * op.n) as u64", "(batch * op.m) as u64"),
    ("matmul", "matmul/cpu.rs", "beta: op.beta.get()", "beta: op.alpha.get()"),
]
HOOK = """
/// Which planted fault is on.
pub(crate) fn mutant(number: u32) -> bool {
    static NUMBER: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let read = || std::env::var("FEWBIT_CPU_MUTANT").ok().and_then(|number| number.parse().ok());
    *NUMBER.get_or_init(|| read().unwrap_or(u32::MAX)) == number
}
"""


def copy_tree() -> pathlib.Path:
    tree = ROOT / "target" / "mutants-cpu"
    shutil.rmtree(tree, ignore_errors=True)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    return tree


def plant(tree: pathlib.Path) -> None:
    texts: dict[pathlib.Path, str] = {}
    marks = []
    for number, (_, file, old, new) in enumerate(MUTANTS):
        path = tree / KERNELS / file
        text = texts.setdefault(path, path.read_text())
        if text.count(old) != 1:
            sys.exit(f"{file}: {old!r} stands {text.count(old)} times there, not once")
        field, old_value, new_value = "", old, new
        if ": " in old and old.split(": ")[0].isidentifier():
            field, old_value = old.split(": ", 1)
            field, new_value = field + ": ", new.split(": ", 1)[1]
        # A mark that no other expression is found in; spelt out when all are marked.
        mark = f"@@{number}@@"
        texts[path] = text.replace(old, field + mark)
        marks.append((path, mark, f"(if crate::mutant({number}) {{ {new_value} }} else {{ {old_value} }})"))
    for path, mark, code in marks:
        texts[path] = texts[path].replace(mark, code)
    for path, text in texts.items():
        path.write_text(text)
    lib = tree / "src/lib.rs"
    lib.write_text(lib.read_text() + HOOK)


def build(tree: pathlib.Path) -> str:
    command = ["cargo", "test", "--release", "--no-run", "--all-features", "-p", "fewbit", "--test", "kernels"]
    environment = os.environ | {"CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))}
    built = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    lines = [line for line in built.stderr.splitlines() if "Executable" in line]
    if built.returncode != 0 or not lines:
        sys.exit(f"the mutants do not build:\n{built.stderr[-4000:]}")
    return lines[0].split("(")[1].split(")")[0]


def found(tree: pathlib.Path, program: str, operation: str, number: int) -> tuple[bool, str]:
    # No driver: the CPU devices alone. Digests are not compared: the judge must find the faults, and Rust leaves the bits
    # of a NaN that arithmetic makes to the compiler, whose code the hooks change.
    environment = os.environ | {"FEWBIT_CPU_MUTANT": str(number), "FEWBIT_REQUIRE_GPU": "0"}
    environment |= {"FEWBIT_DIGESTS": os.devnull}
    environment |= {"VK_DRIVER_FILES": os.devnull, "VK_ICD_FILENAMES": os.devnull}
    program = program if os.path.isabs(program) else str(tree / program)
    command = [program, f"::{operation}::", "--skip", "gl::", "--skip", "vulkan"]
    try:
        run = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return False, "not done in 300 s"
    summary = [line for line in run.stdout.splitlines() if line.startswith("test result")]
    if not summary or " 0 passed; 0 failed" in summary[0]:
        return False, f"no test ran: {run.stderr[-300:]}"
    return run.returncode != 0, summary[0].removeprefix("test result: ")


def main() -> None:
    tree = copy_tree()
    plant(tree)
    program = build(tree)
    missed = 0
    chosen = [(number, row) for number, row in enumerate(MUTANTS) if not sys.argv[1:] or row[0] in sys.argv[1:]]
    for operation in dict.fromkeys(row[0] for _, row in chosen):
        failed, summary = found(tree, program, operation, len(MUTANTS))
        if failed or "passed" not in summary:
            sys.exit(f"{operation} without a fault: {summary}")
    for number, (operation, file, old, new) in chosen:
        start = time.monotonic()
        caught, summary = found(tree, program, operation, number)
        missed += not caught
        print(f"{operation:<22} {time.monotonic() - start:5.1f} s  {'found' if caught else 'MISSED'}  {old} => {new}")
        print(f"{'':<32} {summary}", flush=True)
    print(f"{len(chosen)} mutants of CPU kernels, {missed} missed")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
