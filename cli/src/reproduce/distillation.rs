//! `distillation`: what a small student gains from teachers, with few labels and with all.
//!
//! Every kind of student trains for the same epochs of as many images, and gets the rate, and the temperature, that is best
//! for it on validation images, which nothing is trained on. They are chosen with the first seed: the temperature at the
//! middle rate, then the rate at that temperature.

use fewbit::nn::data::{Dataset, Split};
use fewbit::nn::train::{Augment, TrainOptions, Trainer};
use fewbit::nn::{Distillation, Logits, Model, Recipe, Teacher};

use super::super::eval;
use super::super::output::{Row, seconds};
use super::super::plot::chart::{Axis, Chart, Series, Style, Ticks};
use super::super::seeds::Mean;
use super::super::{Stop, interrupted};
use super::claims::{Claim, Difference};
use super::lab::{self, Job, Lab};
use super::rates::{self, Rate};

/// The weight of the labels beside a teacher.
const ALPHA: f32 = 0.1;
/// Labels where they are few; the other images have none.
const FEW: usize = 6000;
/// Images to choose on.
const VALIDATION: usize = 5000;
/// Teachers of an ensemble.
const TEACHERS: u64 = 3;

/// What a student learns from.
const KINDS: [&str; 4] = ["labels alone", "one teacher", "three teachers", "itself"];

/// Some labels, and what was learned from them.
struct Setting {
    labels: usize,
    /// Percent of the test images, of the first teacher of each seed.
    teacher: Vec<f64>,
    students: Vec<Student>,
}

/// A kind of student.
struct Student {
    kind: &'static str,
    rate: f32,
    temperature: Option<f32>,
    /// Percent of the test images, seed by seed.
    right: Vec<f64>,
}

/// A network's size and speed.
struct Cost {
    bytes: u64,
    latency: f64,
}

/// Images to train on and to choose on, and to test on.
struct Sets {
    choose: Dataset,
    test: Dataset,
    /// The images with labels again and again, as many as all: with them an epoch is as long.
    labelled: [Dataset; 2],
    /// Which images have labels.
    mask: Vec<bool>,
}

/// How its teachers are trained.
pub(super) fn options(lab: &Lab<'_>) -> Result<TrainOptions, Stop> {
    Ok(teacher_options(lab, lab.known("mlp-small")?))
}

fn teacher_options(lab: &Lab<'_>, model: Model) -> TrainOptions {
    lab.options(model, rates::TEACHER, Augment::Shift1)
}

pub(super) fn run(lab: &mut Lab<'_>) -> Result<(), Stop> {
    let teacher = lab.known("mlp-small")?;
    let student = lab.model(Model::mlp(&[784, 30, 10]));
    let (few, validation) = match lab.quick {
        true => (64, 32),
        false => (FEW, VALIDATION),
    };
    let input = |error: &dyn std::fmt::Display| Stop::Input(error.to_string());
    let choose = lab.data.set.clone();
    let choose = choose.validation(validation).map_err(|error| input(&error))?;
    let all = choose.train().len();
    lab.output.line(&format!(
        "Teachers: {}. Students: {}. {all} images to train on, {validation} of those to choose rates and temperatures by; \
         {} of the loss is the labels'",
        teacher.name, student.name, ALPHA
    ));
    lab.output.line(
        "Teachers see their images moved by up to a pixel, students as they are. Where labels are few, teachers and students of \
         labels alone see those images again and again, so that all epochs have as many steps.",
    );
    let mut settings = Vec::new();
    for labels in [few.min(all), all] {
        let sets = Sets::new(lab, &choose, labels)?;
        settings.push(setting(lab, [&teacher, &student], labels, &sets)?);
    }
    let costs = [cost(lab, &teacher)?, cost(lab, &student)?];
    table(lab, &settings, &costs);
    chart(lab, &settings)?;
    let claims = claims(lab, &settings);
    lab.conclude(&claims);
    Ok(())
}

impl Sets {
    fn new(lab: &Lab<'_>, choose: &Dataset, labels: usize) -> Result<Self, Stop> {
        let (train, pixels) = (choose.train(), choose.pixels());
        let some = lab::first(train, labels, pixels);
        let mut again = Split::default();
        for image in 0..train.len() {
            let image = image % some.len().max(1);
            again.images.extend(&some.images[image * pixels..][..pixels]);
            again.labels.push(some.labels[image]);
        }
        let test = lab.data.set.test();
        Ok(Self {
            choose: choose.clone(),
            test: lab::with(choose, train.clone(), test.clone())?,
            labelled: [
                lab::with(choose, again.clone(), choose.test().clone())?,
                lab::with(choose, again, test.clone())?,
            ],
            mask: (0..train.len()).map(|image| image < labels).collect(),
        })
    }
}

fn setting(
    lab: &mut Lab<'_>,
    [teacher, student]: [&Model; 2],
    labels: usize,
    sets: &Sets,
) -> Result<Setting, Stop> {
    lab.output.line(&format!("With {labels} labels:"));
    // The logits of every seed's teachers.
    let (mut ensembles, mut right) = (Vec::new(), Vec::new());
    for seed in lab.seeds.clone() {
        let mut logits = Vec::new();
        for number in 0..TEACHERS {
            let mut options = teacher_options(lab, teacher.clone());
            // Seeds of students are small: no teacher starts from one's.
            options.seed = seed.wrapping_mul(TEACHERS).wrapping_add(number) ^ (1 << 32);
            let job = Job {
                what: "teacher",
                recipe: &Recipe::f32(),
                options,
                data: &sets.labelled[1],
                teacher: None,
            };
            let (run, mut trainer) = lab.train(job)?;
            lab.row(&format!("teacher, {labels} labels"), seed, &run);
            let Some(accuracy) = run.accuracy() else {
                return Err(Stop::Input("a teacher diverged".into()));
            };
            if number == 0 {
                right.push(accuracy);
            }
            logits.push(trainer.logits_of_blocking(sets.choose.train())?);
        }
        ensembles.push(logits);
    }
    let ones: Vec<_> = ensembles.iter().map(|all| all[..1].to_vec()).collect();
    let lesson = |kind, teachers| Lesson {
        model: student,
        kind,
        sets,
        teachers,
    };
    let (alone, own) = lesson(KINDS[0], None).learn(lab)?;
    let mut students = vec![alone];
    for (kind, teachers) in [(KINDS[1], &ones), (KINDS[2], &ensembles), (KINDS[3], &own)] {
        students.push(lesson(kind, Some(teachers)).learn(lab)?.0);
    }
    Ok(Setting {
        labels,
        teacher: right,
        students,
    })
}

/// What a kind of student learns from.
struct Lesson<'a> {
    model: &'a Model,
    kind: &'static str,
    sets: &'a Sets,
    /// The logits of each seed's teachers.
    teachers: Option<&'a Vec<Vec<Logits>>>,
}

/// A rate and a temperature, and percent of the validation images with them.
#[derive(Clone, Copy)]
struct Tried {
    rate: f32,
    temperature: Option<f32>,
    right: f64,
}

impl Lesson<'_> {
    /// Chooses the rate and the temperature, and trains a student with every seed. The second result are each one's own
    /// logits.
    fn learn(&self, lab: &mut Lab<'_>) -> Result<(Student, Vec<Vec<Logits>>), Stop> {
        let Tried {
            rate, temperature, ..
        } = self.choose(lab)?;
        let (mut right, mut logits) = (Vec::new(), Vec::new());
        for number in 0..lab.seeds.len() {
            let (_, mut trainer) = self.train(lab, number, (rate, temperature))?;
            let accuracy = 100.0 * trainer.accuracy_blocking(&self.sets.test)?;
            let row = Row::new("reproduce", self.kind, lab.name, true)
                .with("seed", lab.seeds[number])
                .with(
                    "labels",
                    self.sets.mask.iter().filter(|labelled| **labelled).count(),
                )
                .with("learning_rate", f64::from(rate))
                .with("temperature", temperature.map(f64::from))
                .with("accuracy_percent", accuracy);
            lab.output.row(row);
            right.push(accuracy);
            logits.push(vec![trainer.logits_of_blocking(self.sets.choose.train())?]);
        }
        let student = Student {
            kind: self.kind,
            rate,
            temperature,
            right,
        };
        Ok((student, logits))
    }

    /// With the first seed: the temperature at the middle rate, then the rate at that temperature.
    fn choose(&self, lab: &mut Lab<'_>) -> Result<Tried, Stop> {
        let (rates, temperatures) = match lab.quick {
            true => (&rates::STUDENT_RATES[1..3], &rates::TEMPERATURES[2..4]),
            false => (&rates::STUDENT_RATES[..], &rates::TEMPERATURES[..]),
        };
        let middle = rates[rates.len() / 2];
        let temperatures: Vec<_> = match self.teachers {
            Some(_) => temperatures.iter().copied().map(Some).collect(),
            None => vec![None],
        };
        let mut best: Option<Tried> = None;
        for temperature in &temperatures {
            best = self.better(lab, best, (middle, *temperature))?;
        }
        let temperature = best.map_or(temperatures[0], |best| best.temperature);
        for rate in rates.iter().filter(|rate| **rate != middle) {
            best = self.better(lab, best, (*rate, temperature))?;
        }
        best.ok_or_else(|| {
            Stop::Input(format!(
                "the student of {} diverges at every rate of the grid",
                self.kind
            ))
        })
    }

    /// The better of what was best and another try; of equal ones, and of such as diverge, the first.
    fn better(
        &self,
        lab: &Lab<'_>,
        best: Option<Tried>,
        (rate, temperature): (f32, Option<f32>),
    ) -> Result<Option<Tried>, Stop> {
        interrupted()?;
        let (right, _) = self.train(lab, 0, (rate, temperature))?;
        let tried = right.map(|right| Tried {
            rate,
            temperature,
            right,
        });
        Ok(match (best, tried) {
            (Some(best), Some(tried)) if tried.right > best.right => Some(tried),
            (best, tried) => best.or(tried),
        })
    }

    /// Trains a student with the seed of that number; percent of the validation images.
    fn train(
        &self,
        lab: &Lab<'_>,
        number: usize,
        (rate, temperature): (f32, Option<f32>),
    ) -> Result<(Option<f64>, Trainer), Stop> {
        let of = Rate {
            rate,
            epochs: rates::STUDENT_EPOCHS,
        };
        let mut options: TrainOptions = lab.options(self.model.clone(), of, Augment::None);
        options.seed = lab.seeds[number];
        let mut what = format!("{}, rate {rate}", self.kind);
        let mut job = Job {
            what: "",
            recipe: &Recipe::f32(),
            options,
            data: &self.sets.labelled[0],
            teacher: None,
        };
        if let (Some(teachers), Some(temperature)) = (self.teachers, temperature) {
            what += &format!(", temperature {temperature}");
            let mixed = Logits::mixed(&teachers[number], None, temperature)?;
            job.options.distillation = Some(Distillation {
                temperature,
                alpha: ALPHA,
            });
            job.teacher = Some(Teacher::new(mixed).with_labels(self.sets.mask.clone()));
            job.data = &self.sets.choose;
        }
        job.what = &what;
        let (run, trainer) = lab.train(job)?;
        Ok((run.accuracy(), trainer))
    }
}

/// What a network takes, and an image through it.
fn cost(lab: &Lab<'_>, model: &Model) -> Result<Cost, Stop> {
    let mut options = TrainOptions::default();
    options.model = model.clone();
    options.batch = 1;
    let mut trainer = Trainer::new(lab.device, &Recipe::f32(), &options)?;
    let set = &lab.data.set;
    Ok(Cost {
        bytes: trainer.memory().weights,
        latency: eval::time(&mut trainer, set.test(), set.pixels())?,
    })
}

impl Setting {
    /// How far a kind of student is above the one of labels alone.
    fn gain(&self, lab: &Lab<'_>, student: &Student) -> Difference {
        let images = lab.data.set.test().len();
        Difference::of(&student.right, &self.students[0].right, images)
    }
}

fn table(lab: &Lab<'_>, settings: &[Setting], [teacher, student]: &[Cost; 2]) {
    let mut lines = Vec::new();
    let kilobytes = |cost: &Cost, count: u64| format!("{:.1}", (cost.bytes * count) as f64 / 1e3);
    let dash = || "-".to_string();
    for setting in settings {
        lines.push(vec![
            setting.labels.to_string(),
            "a teacher".into(),
            dash(),
            dash(),
            Mean::of(&setting.teacher).spread(),
            dash(),
            kilobytes(teacher, 1),
            seconds(teacher.latency),
        ]);
        for (i, own) in setting.students.iter().enumerate() {
            lines.push(vec![
                setting.labels.to_string(),
                format!("student of {}", own.kind),
                own.rate.to_string(),
                own.temperature.map_or(dash(), |t| t.to_string()),
                Mean::of(&own.right).spread(),
                match i {
                    0 => dash(),
                    _ => setting.gain(lab, own).to_string(),
                },
                kilobytes(student, 1),
                seconds(student.latency),
            ]);
        }
    }
    let header = [
        "Labels",
        "Network",
        "Rate",
        "T",
        "Accuracy (%)",
        "Less labels alone",
        "Weights (kB)",
        "Latency, batch 1",
    ];
    lab.output.table(
        &header,
        &[
            "Labels",
            "Rate",
            "T",
            "Accuracy (%)",
            "Weights (kB)",
            "Latency, batch 1",
        ],
        &lines,
    );
    lab.output.line(&format!(
        "kB are 10^3 bytes. An ensemble takes {TEACHERS} times a teacher's bytes and time. Rates and temperatures were chosen on validation images."
    ));
}

fn claims(lab: &Lab<'_>, settings: &[Setting]) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (number, setting) in settings.iter().enumerate() {
        let of = format!("with {} labels", setting.labels);
        let [_, one, three, own] = &setting.students[..] else {
            continue;
        };
        let gain = setting.gain(lab, one);
        let (text, holds) = match number {
            0 => (
                format!("{of} a teacher helps a student"),
                gain.mean - gain.half > 0.0,
            ),
            _ => (format!("{of} a teacher does no harm"), gain.no_loss()),
        };
        claims.push(Claim::new(text, gain.to_string(), holds));
        if number == 0 {
            claims.push(Claim::new(
                format!("{of} a teacher is worth a point or more"),
                gain.to_string(),
                gain.mean >= 1.0,
            ));
        }
        let images = lab.data.set.test().len();
        let more = Difference::of(&three.right, &one.right, images);
        claims.push(Claim::new(
            format!("{of} three teachers are better than one, beyond chance"),
            more.to_string(),
            more.mean - more.half > 0.0,
        ));
        let passed = setting.gain(lab, own);
        claims.push(Claim::new(
            format!("{of} a student of its own kind passes its teacher, beyond chance"),
            passed.to_string(),
            passed.mean - passed.half > 0.0,
        ));
    }
    claims
}

fn chart(lab: &Lab<'_>, settings: &[Setting]) -> Result<(), Stop> {
    let mut series: Vec<Series> = Vec::new();
    let labels = |setting: &Setting| setting.labels as f64;
    for (colour, kind) in KINDS.iter().enumerate() {
        let points = settings.iter().flat_map(|setting| {
            let own = setting.students.iter().filter(|student| student.kind == *kind);
            own.map(move |own| (labels(setting), Mean::of(&own.right).mean))
        });
        series.push(Series {
            name: format!("student of {kind}"),
            points: points.collect(),
            style: Style::Curve,
            colour,
        });
    }
    let points = settings
        .iter()
        .map(|setting| (labels(setting), Mean::of(&setting.teacher).mean));
    series.push(Series {
        name: "a teacher".into(),
        points: points.collect(),
        style: Style::Curve,
        colour: KINDS.len(),
    });
    let axis = |label, ticks| Axis { label, ticks };
    lab.chart(
        "distillation.svg",
        Chart {
            title: "Students by what they learn from".into(),
            subtitle: String::new(),
            x: axis("images with labels", Ticks::Decimal),
            y: axis("right (%)", Ticks::Linear),
            series,
            marks: Vec::new(),
        },
    )
}
