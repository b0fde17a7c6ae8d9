//! `fewbit train`.

use clap::Args;

use super::output::Output;
use super::{Common, Stop};

#[derive(Args, Debug)]
pub(crate) struct TrainArgs {}

pub(crate) fn run(_common: &Common, _args: &TrainArgs, _output: &mut Output) -> Result<(), Stop> {
    Ok(())
}
