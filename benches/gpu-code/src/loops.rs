//! The loops of a program, what a turn of each costs, and how many loads are under way at once.

use serde::{Deserialize, Serialize};

use crate::isa::{Instruction, Kind, Program};

/// Instructions by kind, each counted once as it stands in the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    pub instructions: u32,
    /// Multiply-adds a lane: see [`Instruction::multiply_adds`].
    pub multiply_adds: u32,
    pub valu: u32,
    pub scalar: u32,
    pub scalar_memory: u32,
    pub lds: u32,
    pub memory: u32,
    /// Waits, barriers and hints.
    pub waits: u32,
    /// Bytes that a lane loads.
    pub loaded: u32,
    /// Bytes that a lane stores.
    pub stored: u32,
}

impl Cost {
    pub fn of<'a>(instructions: impl IntoIterator<Item = &'a Instruction>) -> Self {
        let mut cost = Self::default();
        for instruction in instructions {
            cost.instructions += 1;
            cost.multiply_adds += instruction.multiply_adds();
            cost.loaded += instruction.loaded();
            cost.stored += instruction.stored();
            *match instruction.kind {
                Kind::Valu => &mut cost.valu,
                Kind::Scalar => &mut cost.scalar,
                Kind::ScalarMemory => &mut cost.scalar_memory,
                Kind::Lds => &mut cost.lds,
                Kind::Memory => &mut cost.memory,
                Kind::Wait => &mut cost.waits,
            } += 1;
        }
        cost
    }
}

/// A loop: from a backward branch's target to the branch, the last of those that share the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loop {
    /// The block that it begins with.
    pub label: String,
    /// How many loops stand around it.
    pub depth: u32,
    /// The loop around it, by its place in the list.
    pub parent: Option<usize>,
    /// Whether no loop stands in it.
    pub innermost: bool,
    /// Everything from its begin to its end, loops in it once.
    #[serde(flatten)]
    pub cost: Cost,
    /// Of the instructions, those in no loop in it.
    pub own: u32,
    /// Loads that a lane has under way at once, at most.
    pub in_flight: u32,
    /// Their bytes.
    pub bytes_in_flight: u32,
    /// Waits for loads that are under way.
    pub load_waits: u32,
    /// Times that loads are issued and then waited for: trips to memory a turn.
    pub trips: u32,
    /// Its first and last instruction.
    #[serde(skip)]
    pub range: (usize, usize),
}

/// The loops of a program, in the order in which they begin; an outer one before those in it.
pub fn find(program: &Program) -> Vec<Loop> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for at in 0..program.instructions.len() {
        if let Some(first) = program.target(at).filter(|first| *first <= at) {
            match ranges.iter_mut().find(|range| range.0 == first) {
                Some(range) => range.1 = range.1.max(at),
                None => ranges.push((first, at)),
            }
        }
    }
    ranges.sort_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
    // What begins in a loop and ends behind it belongs to it: its end moves.
    for outer in (0..ranges.len()).rev() {
        for inner in outer + 1..ranges.len() {
            if ranges[inner].0 <= ranges[outer].1 {
                ranges[outer].1 = ranges[outer].1.max(ranges[inner].1);
            }
        }
    }
    let flight = Flight::of(program);
    let contains = |outer: (usize, usize), at: usize| outer.0 <= at && at <= outer.1;
    (0..ranges.len())
        .map(|at| {
            let range = ranges[at];
            let body = &program.instructions[range.0..=range.1];
            let around = |outer: &usize| contains(ranges[*outer], range.0);
            let inside: Vec<_> = ranges[at + 1..]
                .iter()
                .filter(|inner| contains(range, inner.0))
                .collect();
            let own = (range.0..=range.1).filter(|at| !inside.iter().any(|inner| contains(**inner, *at)));
            let under_way = flight.most(range);
            Loop {
                label: program.label(range.0).to_string(),
                depth: (0..at).filter(around).count() as u32,
                parent: (0..at).rev().find(around),
                innermost: inside.is_empty(),
                cost: Cost::of(body),
                own: own.count() as u32,
                in_flight: under_way.0,
                bytes_in_flight: under_way.1,
                load_waits: (range.0..=range.1).filter(|at| flight.waits[*at]).count() as u32,
                trips: trips(body),
                range,
            }
        })
        .collect()
}

/// Times that loads are issued and then waited for in one turn, in the text's order; loads of one turn that the next
/// waits for are a trip too.
fn trips(body: &[Instruction]) -> u32 {
    let mut pending = false;
    let mut count = 0;
    for turn in 0..2 {
        for instruction in body {
            if instruction.loaded() > 0 {
                pending = true;
            } else if instruction.waits_for_loads().is_some() && pending {
                pending = false;
                count += turn;
            }
        }
    }
    count
}

/// What the loads' counter holds at most: a load past it waits.
const MOST_UNDER_WAY: usize = 63;

/// The loads under way behind every instruction, over all paths through the program: where paths meet, the one with
/// more of them counts.
struct Flight {
    under_way: Vec<(u32, u32)>,
    waits: Vec<bool>,
}

/// Bytes of the loads under way, oldest first; 0 for a store that is waited for with them.
type Queue = Vec<u32>;

fn size(queue: &Queue) -> (u32, u32) {
    let loads = queue.iter().filter(|bytes| **bytes > 0).count();
    (loads as u32, queue.iter().sum())
}

impl Flight {
    fn of(program: &Program) -> Self {
        let count = program.instructions.len();
        let mut flight = Self {
            under_way: vec![(0, 0); count],
            waits: vec![false; count],
        };
        // Queues at the begin of the program and wherever a branch goes or does not.
        let mut at_begin: Vec<Option<Queue>> = vec![None; count];
        let mut left = Vec::new();
        if count > 0 {
            at_begin[0] = Some(Queue::new());
            left.push(0);
        }
        let begins = |at: usize| program.labels.iter().any(|(_, first)| *first == at);
        let begins: Vec<bool> = (0..count).map(begins).collect();
        while let Some(first) = left.pop() {
            let Some(mut queue) = at_begin[first].clone() else {
                continue;
            };
            let mut at = first;
            loop {
                flight.step(program, at, &mut queue);
                let instruction = &program.instructions[at];
                let next = (!instruction.ends() && at + 1 < count).then_some(at + 1);
                let target = program.target(at);
                for place in target.into_iter().chain(next.filter(|_| target.is_some())) {
                    meet(&mut at_begin[place], &queue, place, &mut left);
                }
                match next {
                    Some(next) if target.is_none() && !begins[next] => at = next,
                    Some(next) if target.is_none() => {
                        meet(&mut at_begin[next], &queue, next, &mut left);
                        break;
                    }
                    _ => break,
                }
            }
        }
        flight
    }

    fn step(&mut self, program: &Program, at: usize, queue: &mut Queue) {
        let instruction = &program.instructions[at];
        if let Some(may_stay) = instruction.waits_for_loads() {
            let drained = queue.len().saturating_sub(may_stay);
            self.waits[at] |= queue[..drained].iter().any(|bytes| *bytes > 0);
            queue.drain(..drained);
        }
        let bytes = instruction.loaded();
        if bytes > 0 || program.stores_wait_with_loads && instruction.stored() > 0 {
            if queue.len() == MOST_UNDER_WAY {
                queue.remove(0);
            }
            queue.push(bytes);
        }
        self.under_way[at] = self.under_way[at].max(size(queue));
    }

    fn most(&self, (first, last): (usize, usize)) -> (u32, u32) {
        self.under_way[first..=last]
            .iter()
            .copied()
            .max()
            .unwrap_or_default()
    }
}

fn meet(place: &mut Option<Queue>, queue: &Queue, at: usize, left: &mut Vec<usize>) {
    let more = place
        .as_ref()
        .is_none_or(|known| (queue.len(), size(queue)) > (known.len(), size(known)));
    if more {
        *place = Some(queue.clone());
        left.push(at);
    }
}
