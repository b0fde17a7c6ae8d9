//! The rows as text.

use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use crate::loops::{Cost, Loop};
use crate::row::Row;
use crate::run::Report;

const HEAD: [&str; 15] = [
    "",
    "instr",
    "mads",
    "instr/mad",
    "valu",
    "scalar",
    "smem",
    "lds",
    "mem",
    "waits",
    "in",
    "out",
    "flight",
    "bytes",
    "trips",
];

fn cost(cost: &Cost) -> Vec<String> {
    let per_mad = match cost.multiply_adds {
        0 => "-".to_string(),
        count => format!("{:.2}", f64::from(cost.instructions) / f64::from(count)),
    };
    let mut cells = vec![
        cost.instructions.to_string(),
        cost.multiply_adds.to_string(),
        per_mad,
    ];
    let rest = [
        cost.valu,
        cost.scalar,
        cost.scalar_memory,
        cost.lds,
        cost.memory,
        cost.waits,
        cost.loaded,
        cost.stored,
    ];
    cells.extend(rest.iter().map(u32::to_string));
    cells
}

/// A loop's title: where it stands, and what of it is its own.
pub fn title(each: &Loop) -> String {
    let nested = match each.innermost {
        true => String::new(),
        false => format!(", {} of them its own", each.own),
    };
    format!("{}loop {}{nested}", "  ".repeat(each.depth as usize), each.label)
}

fn cells(each: &Loop) -> Vec<String> {
    let mut cells = vec![format!("  {}", title(each))];
    cells.extend(cost(&each.cost));
    cells.extend(
        [each.in_flight, each.bytes_in_flight, each.trips]
            .iter()
            .map(u32::to_string),
    );
    cells
}

/// What stands above a permutation's loops.
pub fn headline(row: &Row) -> String {
    let mut line = format!(
        "{}: {}\n  {} VGPRs, {} SGPRs, {} waves of {}, {} B LDS, {} spills, {} B scratch, {} lanes a group, {:.2} s",
        row.kernel,
        row.permutation,
        row.vgprs,
        row.sgprs,
        row.waves,
        row.lanes,
        row.lds,
        row.spills,
        row.scratch,
        row.group,
        row.seconds,
    );
    if row.program.is_none() {
        line.push_str("\n  this family's text cannot be read: no loops");
    }
    line
}

pub fn of(report: &Report) -> String {
    let mut text = String::new();
    for family in &report.families {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            text,
            "{}: {}, {}, checks {}",
            family.family, family.device, report.driver, report.checks
        );
        for row in &family.pipelines {
            let mut table = Table::new();
            table
                .load_style(NOTHING)
                .set_content_arrangement(ContentArrangement::Disabled);
            table.set_header(HEAD);
            if let Some(program) = &row.program {
                let mut cells = vec!["  all, each once".to_string()];
                cells.extend(cost(program));
                table.add_row(cells);
            }
            for each in &row.loops {
                table.add_row(cells(each));
            }
            for column in table.column_iter_mut().skip(1) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            let _ = writeln!(text, "\n{}", headline(row));
            if row.program.is_some() {
                for line in table.lines() {
                    let _ = writeln!(text, "{}", line.trim_end());
                }
            }
        }
        for left in &family.left_out {
            let _ = writeln!(
                text,
                "\n{}: {}\n  left out: {}",
                left.kernel, left.permutation, left.why
            );
        }
    }
    text
}

/// How many there were, and what compiling them took.
pub fn summary(report: &Report) -> String {
    let mut text = String::new();
    for family in &report.families {
        let seconds: f64 = family.pipelines.iter().map(|row| row.seconds).sum();
        let _ = write!(
            text,
            "{}: {} pipelines, {} left out, {} failed; compiled in {seconds:.1} s of processor time",
            family.family,
            family.pipelines.len(),
            family.left_out.len(),
            family.failed.len(),
        );
        if let Some(slowest) = family
            .pipelines
            .iter()
            .max_by(|a, b| a.seconds.total_cmp(&b.seconds))
        {
            let _ = write!(
                text,
                ", the slowest in {:.2} s: {}",
                slowest.seconds, slowest.permutation
            );
        }
        text.push('\n');
    }
    text
}
