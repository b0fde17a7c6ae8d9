//! `fewbit train`: networks in several number formats.

mod args;
mod checkpoint;
mod folder;
mod history;
mod lock;
mod run;
mod table;

use fewbit::Device;
use fewbit::nn::train::Trainer;
use fewbit::nn::{Model, Recipe};
use serde_json::{Value, json};

pub(crate) use args::TrainArgs;
use args::{OptimizerName, ScheduleName};
use folder::Folder;
use run::Job;
use table::Of;

use super::data::Data;
use super::distill::{DistillArgs, Teaching};
use super::output::Output;
use super::stored::Weights;
use super::{Common, Stop, device, interrupted, models, recipes, seeds};

fn recipes(args: &TrainArgs, learns: bool, device: &Device, output: &Output) -> Result<Vec<Recipe>, Stop> {
    if args.formats.is_empty() && learns {
        return Ok(vec![Recipe::f32()]);
    }
    if args.formats.is_empty() {
        let mut recipes = vec![
            Recipe::f64(),
            Recipe::f32(),
            Recipe::bf16_mixed(),
            Recipe::bf16_sr(),
        ];
        if device.as_gpu().is_some() {
            recipes.remove(0);
            output.line("f64 is left out: WGSL has none (--device cpu has)");
        }
        return Ok(recipes);
    }
    let names = args.formats.iter();
    let recipes: Vec<_> = names.map(|name| recipes::find(name)).collect::<Result<_, _>>()?;
    // Said before the others are trained.
    if let (Some(_), Some(recipe)) = (device.as_gpu(), recipes.iter().find(|recipe| recipe.uses_f64())) {
        return Err(Stop::Input(format!(
            "{} does not run on a GPU: WGSL has no f64 (--device cpu has)",
            recipe.name
        )));
    }
    Ok(recipes)
}

/// What is trained, in a line.
fn network(args: &TrainArgs, model: &Model, weights: usize) -> String {
    format!(
        "Network: {} ({:.2} M weights), batch {}{}, {} epochs, learning rate {}{}, {}",
        model.name,
        weights as f64 / 1e6,
        args.batch,
        match args.accumulate {
            1 => String::new(),
            count => format!(" times {count}"),
        },
        args.epochs,
        args.learning_rate,
        match args.schedule {
            ScheduleName::Constant => String::new(),
            ScheduleName::Step => format!(" times {} an epoch", args.rate_decay),
            ScheduleName::Cosine => ", half a cosine".into(),
        },
        match args.optimizer {
            OptimizerName::Sgd => format!("momentum {}", args.momentum),
            OptimizerName::Adamw => "AdamW".into(),
        }
    )
}

/// What all runs of a folder share.
fn shared(
    args: &TrainArgs,
    device: &Device,
    model: &Model,
    data: &Data,
    init: Option<&Weights>,
    teaching: Option<&Teaching>,
) -> Result<Value, Stop> {
    let mut shared = json!({
        "fewbit": env!("CARGO_PKG_VERSION"),
        "device": device.describe(),
        "model": models::tree(model).map_err(Stop::Input)?,
        "data": data.identity(),
        "source": data.name,
        "training": args.training(),
        "init": init.map(|init| format!("{:016x}", init.fingerprint)),
    });
    if let Some(teaching) = teaching {
        shared["distillation"] = teaching.identity.clone();
    }
    Ok(shared)
}

/// Trains, on labels alone or, with teachers, on what they say too.
pub(crate) fn run(
    common: &Common,
    args: &TrainArgs,
    teachers: Option<&DistillArgs>,
    output: &mut Output,
) -> Result<(), Stop> {
    let seeds = seeds::of(&args.seeds, args.seed)?;
    let device = device::open(common, output)?;
    let mut recipes = recipes(args, teachers.is_some(), &device, output)?;
    let several = seeds.len() > 1;
    if several && !recipes.iter().any(|recipe| recipe.name == "f32") {
        recipes.insert(0, Recipe::f32());
    }
    let out = args.keeping.out.as_deref();
    let _lock = out.map(Folder::probe).transpose()?;
    let model = args.network()?;
    let init = args.init.as_deref().map(Weights::read).transpose()?;
    let data = args.data.load(&args.wanted(&model)?)?;
    let mut options = args.options(model.clone());
    options.distillation = teachers.map(DistillArgs::distillation).transpose()?;
    // What the library refuses of the last recipe is to be known before the first is trained, or a folder begun.
    for recipe in &recipes {
        let of = |error: fewbit::Error| Stop::Input(format!("{}: {error}", recipe.name));
        let parameters = Trainer::probe(&device, recipe, &options, &data.set).map_err(of)?;
        init.as_ref().map_or(Ok(()), |init| init.check(&parameters))?;
        interrupted()?;
    }
    let teaching = teachers.map(|teachers| teachers.teaching(&device, &model, &data, output));
    let teaching = teaching.transpose()?;
    let folder = match out {
        Some(out) => {
            let shared = shared(args, &device, &model, &data, init.as_ref(), teaching.as_ref())?;
            let runs = (&recipes[..], &seeds[..]);
            Some(Folder::open(out, shared, runs, args.keeping.resume)?)
        }
        None => None,
    };
    let purpose = if args.validation > 0 { "validate" } else { "test" };
    let name = data.line(purpose);
    output.line(&format!("Data: {name}"));
    output.line(&network(args, &model, model.weights()?));
    let mut all = Vec::new();
    for recipe in recipes {
        let mut runs = Vec::new();
        for &seed in &seeds {
            let job = Job {
                device: &device,
                data: &data,
                options: options.clone(),
                init: init.as_ref(),
                teaching: teaching.as_ref(),
                keeping: &args.keeping,
                folder: folder.as_ref(),
                output,
            };
            let trained = job.train(&recipe, seed)?;
            if let Some(folder) = &folder {
                folder.draw()?;
            }
            output.row(trained.row(&recipe, &name, seed));
            // Shown as they come: the whole table takes minutes.
            let of = if several {
                format!(", seed {seed}")
            } else {
                String::new()
            };
            output.complain(&trained.line(&recipe, &of));
            if let Some(why) = &trained.diverged {
                output.fail(why);
            }
            runs.push(trained);
        }
        all.push(Of { recipe, runs });
    }
    table::table(&all, several, output);
    Ok(())
}
