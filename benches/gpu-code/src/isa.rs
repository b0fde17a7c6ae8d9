//! A program's text as the driver prints it: its blocks, its instructions, and what each of them is.

/// What an instruction keeps busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The vector units: `v_`.
    Valu,
    /// The scalar unit, branches among it: `s_`.
    Scalar,
    /// Loads of the scalar unit: `s_load`, `s_buffer_load`.
    ScalarMemory,
    /// Workgroup memory: `ds_`.
    Lds,
    /// Loads and stores of the vector units: `buffer_`, `global_`, `flat_`, `scratch_`.
    Memory,
    /// Waits, barriers, and hints to the instruction fetch.
    Wait,
}

/// One instruction.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// Its line in the text.
    pub line: usize,
    /// Its mnemonic.
    pub name: String,
    /// What follows the mnemonic.
    pub operands: String,
    pub kind: Kind,
}

/// A program.
#[derive(Debug)]
pub struct Program {
    pub lines: Vec<String>,
    pub instructions: Vec<Instruction>,
    /// The name of every block that is named, and its first instruction.
    pub labels: Vec<(String, usize)>,
    /// Whether stores are waited for with loads, in one counter: before gfx10.
    pub stores_wait_with_loads: bool,
}

/// Mnemonics that wait or advise.
const WAITS: [&str; 12] = [
    "s_waitcnt",
    "s_wait_",
    "s_barrier",
    "s_nop",
    "s_clause",
    "s_delay_alu",
    "s_sleep",
    "s_inst_prefetch",
    "s_set_inst_prefetch",
    "s_icache_inv",
    "s_setprio",
    "s_sendmsg",
];

fn kind(name: &str) -> Option<Kind> {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if starts(&["v_"]) {
        Some(Kind::Valu)
    } else if starts(&["ds_"]) {
        Some(Kind::Lds)
    } else if starts(&["buffer_", "tbuffer_", "global_", "flat_", "scratch_", "image_"]) {
        Some(Kind::Memory)
    } else if starts(&["s_load_", "s_buffer_load_", "s_scratch_load"]) {
        Some(Kind::ScalarMemory)
    } else if starts(&WAITS) {
        Some(Kind::Wait)
    } else if starts(&["s_"]) {
        Some(Kind::Scalar)
    } else {
        None
    }
}

impl Program {
    /// Reads the text; `generation` is the 9 of gfx90a, the 10 of gfx1030, the 11 of gfx1100.
    pub fn read(text: &str, generation: u32) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_string).collect();
        let mut program = Self {
            lines: Vec::new(),
            instructions: Vec::new(),
            labels: Vec::new(),
            stores_wait_with_loads: generation < 10,
        };
        for (at, line) in lines.iter().enumerate() {
            let code = line.split(';').next().unwrap_or_default().trim();
            if let Some(label) = code.strip_suffix(':').filter(|label| is_label(label)) {
                program
                    .labels
                    .push((label.to_string(), program.instructions.len()));
                continue;
            }
            // "(then repeated 3 times)" stands below what is repeated.
            if let Some(times) = code
                .strip_prefix("(then repeated ")
                .and_then(|rest| rest.split(' ').next())
                && let (Ok(times), Some(last)) =
                    (times.parse::<usize>(), program.instructions.last().cloned())
            {
                program.instructions.extend(std::iter::repeat_n(last, times));
                continue;
            }
            let (name, operands) = code.split_once(char::is_whitespace).unwrap_or((code, ""));
            if let Some(kind) = kind(name) {
                program.instructions.push(Instruction {
                    line: at,
                    name: name.to_string(),
                    operands: operands.trim().to_string(),
                    kind,
                });
            }
        }
        program.lines = lines;
        program
    }

    /// The instruction that a branch at `at` goes to.
    pub fn target(&self, at: usize) -> Option<usize> {
        let instruction = &self.instructions[at];
        if !instruction.is_branch() {
            return None;
        }
        let wanted = instruction.operands.split_whitespace().next()?;
        let found = self.labels.iter().find(|(label, _)| label == wanted);
        found.map(|(_, first)| *first)
    }

    /// The name of the block that begins at instruction `at`.
    pub fn label(&self, at: usize) -> &str {
        let found = self.labels.iter().rev().find(|(_, first)| *first == at);
        found.map_or("?", |(label, _)| label)
    }
}

fn is_label(text: &str) -> bool {
    let number = text.strip_prefix("BB").or_else(|| text.strip_prefix("BB_"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Instruction {
    pub fn is_branch(&self) -> bool {
        self.name == "s_branch" || self.name.starts_with("s_cbranch")
    }

    /// Whether what stands below is never reached from here.
    pub fn ends(&self) -> bool {
        matches!(self.name.as_str(), "s_branch" | "s_endpgm" | "s_setpc_b64")
    }

    /// The instruction's halves where two are issued as one.
    fn halves(&self) -> impl Iterator<Item = &str> {
        let second = self.operands.split("::").nth(1).map(str::trim);
        std::iter::once(self.name.as_str()).chain(second)
    }

    /// Multiply-adds a lane: a fused or unfused one of floats is one, packed ones are two, a dot product as many as it
    /// has products. Integer ones are not counted: they make addresses.
    pub fn multiply_adds(&self) -> u32 {
        self.halves().map(multiply_adds).sum()
    }

    /// Bytes a lane that a load brings, 0 for others.
    pub fn loaded(&self) -> u32 {
        match self.kind == Kind::Memory && self.name.contains("_load") {
            true => width(&self.name),
            false => 0,
        }
    }

    /// Bytes a lane that a store takes, 0 for others.
    pub fn stored(&self) -> u32 {
        match self.kind == Kind::Memory && self.name.contains("_store") {
            true => width(&self.name),
            false => 0,
        }
    }

    /// How many of the loads issued so far may stay outstanding, where this waits for them.
    pub fn waits_for_loads(&self) -> Option<usize> {
        if let Some(rest) = self.operands.split("vmcnt(").nth(1) {
            return rest.split(')').next()?.trim().parse().ok();
        }
        let number = |text: &str| match text.trim().strip_prefix("0x") {
            Some(hex) => usize::from_str_radix(hex, 16).ok(),
            None => text.trim().parse().ok(),
        };
        match self.name.as_str() {
            "s_wait_loadcnt" => number(&self.operands),
            // Six bits of each counter, the loads' above.
            "s_wait_loadcnt_dscnt" => Some(number(&self.operands)? >> 8 & 63),
            "s_waitcnt" if number(&self.operands) == Some(0) => Some(0),
            _ => None,
        }
    }
}

fn multiply_adds(name: &str) -> u32 {
    let name = name.split_whitespace().next().unwrap_or_default();
    let name = name
        .strip_prefix("v_dual_")
        .or_else(|| name.strip_prefix("v_"))
        .unwrap_or("");
    let float =
        name.contains("_f32") || name.contains("_f16") || name.contains("_bf16") || name.contains("_f64");
    if let Some(rest) = name.strip_prefix("dot") {
        let products: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return products.parse().unwrap_or(1);
    }
    if name.starts_with("pk_fma") {
        return 2;
    }
    let fused = ["fma", "mac_", "mad_", "madak", "madmk"];
    u32::from(float && fused.iter().any(|prefix| name.starts_with(prefix)))
}

/// Bytes a lane of a load or a store, from its mnemonic.
fn width(name: &str) -> u32 {
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.contains(ending));
    if ends(&["dwordx4", "_b128"]) {
        16
    } else if ends(&["dwordx3", "_b96"]) {
        12
    } else if ends(&["dwordx2", "_b64"]) {
        8
    } else if ends(&["dword", "_b32"]) {
        4
    } else if ends(&["short", "_u16", "_i16", "_b16"]) {
        2
    } else if ends(&["byte", "_u8", "_i8", "_b8"]) {
        1
    } else {
        4
    }
}
