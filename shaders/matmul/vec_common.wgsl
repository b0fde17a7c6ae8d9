// Matmul of at most eight rows or at most eight columns, where reading the thick operand once is the cost: what the
// variants share.
// Constants: SWAP (at most eight columns: A is thick), VECTORS (rows of the thin operand, rounded up to 1, 2, 4
// or 8), and those of common.wgsl.

//!use matmul/common.wgsl

// Eight k of vector v of the thin operand.
fn thin(batch: u32, v: u32, k0: u32, whole: bool) -> Run {
    if SWAP {
        if B_TRANSPOSED {
            return masked_run(run_b(batch, min(v, params.n - 1u), k0), k0, whole);
        }
        var y = block_b(batch, 0u, k0, whole);
        return along_k(&y, v);
    }
    if !A_TRANSPOSED {
        return masked_run(run_a(batch, min(v, params.m - 1u), k0), k0, whole);
    }
    var x = block_a(batch, 0u, k0, whole);
    return along_k(&x, v);
}

fn thick(batch: u32, first: u32, k0: u32, whole: bool) -> Block {
    if SWAP {
        return block_a(batch, first, k0, whole);
    }
    return block_b(batch, first, k0, whole);
}

fn slab(sums: ptr<function, Sums>, batch: u32, first: u32, k0: u32) {
    let whole = k0 + 8u <= params.k;
    var w = thick(batch, first, k0, whole);
    add_row(sums, &w, 0u, thin(batch, 0u, k0, whole));
    if VECTORS > 1u {
        add_row(sums, &w, 1u, thin(batch, 1u, k0, whole));
    }
    if VECTORS > 2u {
        add_row(sums, &w, 2u, thin(batch, 2u, k0, whole));
        add_row(sums, &w, 3u, thin(batch, 3u, k0, whole));
    }
    if VECTORS > 4u {
        add_row(sums, &w, 4u, thin(batch, 4u, k0, whole));
        add_row(sums, &w, 5u, thin(batch, 5u, k0, whole));
        add_row(sums, &w, 6u, thin(batch, 6u, k0, whole));
        add_row(sums, &w, 7u, thin(batch, 7u, k0, whole));
    }
}

// Writes what the whole sums of eight outputs by VECTORS make.
fn emit_sums(batch: u32, first: u32, sums: Sums) {
    var rows = sums;
    if SWAP {
        for (var i = 0u; i < 8u; i++) {
            let h = i / 4u;
            let j = i % 4u;
            emit(
                batch,
                first + i,
                0u,
                Run(
                    vec4<f32>(rows[h][j], rows[2u + h][j], rows[4u + h][j], rows[6u + h][j]),
                    vec4<f32>(rows[8u + h][j], rows[10u + h][j], rows[12u + h][j], rows[14u + h][j]),
                ),
            );
        }
    } else {
        for (var v = 0u; v < VECTORS; v++) {
            emit(batch, v, first, Run(rows[2u * v], rows[2u * v + 1u]));
        }
    }
}
