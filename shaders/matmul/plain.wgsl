// Operands of matmul that are plain: no codes are read.

fn coded_a(batch: u32, row: u32, col: u32) -> Run {
    return Run();
}

fn coded_b(batch: u32, row: u32, col: u32) -> Run {
    return Run();
}
