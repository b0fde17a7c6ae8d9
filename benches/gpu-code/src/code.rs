//! Machine code with its loops marked.

use std::fmt::Write as _;

use crate::isa::Program;
use crate::loops;
use crate::row::Row;
use crate::table;
use crate::worker::generation;

/// The text of a row's code: a bar for every loop that a line stands in, and above each loop what a turn costs.
pub fn annotated(family: &str, row: &Row) -> String {
    let mut text = format!("{family}: {}\n", table::headline(row));
    let Some(code) = &row.code else {
        return text;
    };
    let program = Program::read(code, generation(family));
    let found = loops::find(&program);
    let line = |at: usize| program.instructions[at].line;
    // A loop begins at its label, which stands above its first instruction.
    let spans: Vec<_> = found
        .iter()
        .map(|each| (line(each.range.0) - 1, line(each.range.1)))
        .collect();
    for (at, code) in program.lines.iter().enumerate() {
        let bars = |at: usize| spans.iter().filter(|span| span.0 <= at && at <= span.1).count();
        for (each, span) in found.iter().zip(&spans).filter(|(_, span)| span.0 == at) {
            let cost = &each.cost;
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(
                text,
                "{}+ {}: {} instructions, {} multiply-adds, {} VALU, {} scalar, {} LDS, {} memory, {} waits; {} loads \
                 ({} bytes) in flight, {} trips to memory (lines {} to {})",
                "| ".repeat(bars(at).saturating_sub(1)),
                table::title(each).trim_start(),
                cost.instructions,
                cost.multiply_adds,
                cost.valu,
                cost.scalar + cost.scalar_memory,
                cost.lds,
                cost.memory,
                cost.waits,
                each.in_flight,
                each.bytes_in_flight,
                each.trips,
                span.0 + 1,
                span.1 + 1,
            );
        }
        let code = code.trim_end().replace('\t', "    ");
        let _ = writeln!(text, "{}{code}", "| ".repeat(bars(at)));
    }
    text
}
