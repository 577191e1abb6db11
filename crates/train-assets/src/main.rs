//! `cargo xtask train-assets`: trains the models that Wick ships, or goes on where it was stopped.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};
use candle_core::{Device, Tensor};
use clap::{Parser, ValueEnum};
use datasets::Split;
use indicatif::{ProgressBar, ProgressStyle};
use train_assets::{
    ALL, Config, Measured, Run, Source, Targets, Task, Tokenizer, bigram, enter_in_ledger,
    learn_merges, loss, measure_othello, measure_repeats, ship, unigram,
};

/// Steps between two savings of the state.
const SAVED: usize = 100;

/// Windows of held-out text that losses are taken on while training.
const WINDOWS: usize = 24;

/// Drawn sequences that a model is measured on while training.
const SEQUENCES: usize = 200;

/// Trains the models that Wick ships.
#[derive(Parser)]
struct Cli {
    /// Which model, such as `char_gpt` or `othello`; by default all, one after the other.
    name: Option<String>,
    /// Train for so many steps; the schedule is made for them, and a run that is taken up goes on
    /// with it.
    #[arg(long)]
    steps: Option<usize>,
    /// Where losses and gradients are computed; a run may go on elsewhere than it began.
    #[arg(long, value_enum, default_value_t = Place::Cpu)]
    device: Place,
    /// Where states are kept, to be resumed.
    #[arg(long, default_value = ".wick/train-assets")]
    states: std::path::PathBuf,
}

/// A device by name.
#[derive(Clone, Copy, ValueEnum)]
enum Place {
    Cpu,
    Cuda,
}

impl Place {
    fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda => Device::new_cuda(0).context("CUDA could not be opened"),
        }
    }
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let wanted = |config: &Config| cli.name.as_deref().is_none_or(|name| name == config.name);
    let configs: Vec<_> = ALL.into_iter().filter(wanted).collect();
    if configs.is_empty() {
        let names = ALL.map(|config| config.name).join(", ");
        bail!("There is no such model; there are {names}.");
    }
    let device = cli.device.open()?;
    for config in configs {
        let steps = cli.steps.unwrap_or(config.steps);
        train(Config { steps, ..config }, &cli.states, &device)?;
    }
    Ok(())
}

/// Trains one model, writes its file, and brings the ledger up to date.
fn train(config: Config, states: &Path, device: &Device) -> Result<()> {
    let reads = Reads::of(&config)?;
    let state = states.join(format!("{}.safetensors", config.name));
    let mut run = Run::resume(config, &state)?.on(device.clone());
    let bar = ProgressBar::new(config.steps as u64).with_position(run.done() as u64);
    bar.set_style(ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {eta} {msg}")?);
    bar.set_prefix(config.name);
    bar.enable_steady_tick(Duration::from_millis(500));
    let mut mean = f64::NAN;
    while run.done() < config.steps {
        let progress = run.step(&reads.source)?;
        mean = if mean.is_nan() { progress.loss } else { 0.98 * mean + 0.02 * progress.loss };
        bar.inc(1);
        if progress.step % SAVED == 0 || progress.step == config.steps {
            run.save(&state)?;
            let measured = words(&reads.measure(&config, run.weights(), SEQUENCES)?);
            bar.set_message(format!("loss {mean:.4}; {measured}"));
            eprintln!("{}: step {}: {mean:.4}; {measured}", config.name, progress.step);
        }
    }
    bar.finish();
    let measured = reads.measure(&config, run.weights(), 10 * SEQUENCES)?;
    let mut about = config.about();
    about.extend(reads.about.clone());
    about.extend(measured.iter().map(|(name, number)| (name.to_string(), format!("{number:.4}"))));
    let words_about = [
        ("schedule", run.schedule().to_owned()),
        ("revision", revision("HEAD")),
        ("trainer", revision("HEAD:crates/train-assets")),
        ("trained_by", "cargo xtask train-assets".to_owned()),
    ];
    about.extend(words_about.map(|(name, word)| (name.to_owned(), word)));
    let path = format!("models/{}.safetensors", config.name);
    let file = datasets::folder().join(&path);
    ship(&file, run.weights(), &about)?;
    enter_in_ledger(datasets::folder(), &path)?;
    let (bytes, measured) = (fs::metadata(&file)?.len(), words(&measured));
    println!("{}: {} steps, {bytes} bytes; {measured}.", config.name, config.steps);
    Ok(())
}

/// Numbers by name, in words.
fn words(measured: &Measured) -> String {
    let word = |(name, number): (&&str, &f64)| format!("{name} {number:.4}");
    measured.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// What a model reads, in training and after.
struct Reads {
    source: Source,
    /// Of a text: what is held out, as tokens, and its tokens in a character.
    held_out: Option<(Vec<u32>, f64)>,
    /// What its file says of that.
    about: BTreeMap<String, String>,
}

impl Reads {
    fn of(config: &Config) -> Result<Self> {
        let Task::Text { n_merges } = config.task else {
            let (source, targets) = match config.task {
                Task::Othello => (Source::Othello, "every legal move alike"),
                _ => (Source::Repeats, "the next token where it can be told"),
            };
            let about = BTreeMap::from([("targets".to_owned(), targets.to_owned())]);
            return Ok(Self { source, held_out: None, about });
        };
        let [text, valid] = [Split::Train, Split::Valid].map(datasets::shakespeare_part);
        let (text, valid) = (text?, valid?);
        let (letters, pairs) = (unigram(&text, &valid), bigram(&text, &valid));
        eprintln!("counting letters gives {letters:.3} nats a character, pairs {pairs:.3}");
        let merges = learn_merges(&text, n_merges);
        let tokenizer = Tokenizer::new(&merges);
        let held_out = tokenizer.encode(&valid);
        let share = held_out.len() as f64 / valid.len() as f64;
        let merges: Vec<String> = merges.iter().map(|[a, b]| format!("{a} {b}")).collect();
        let about = [
            ("merges", merges.join(",")),
            ("text", "nine plays of Shakespeare, the first eight tenths".to_owned()),
        ];
        Ok(Self {
            source: Source::Text(tokenizer.encode(&text)),
            held_out: Some((held_out, share)),
            about: about.into_iter().map(|(name, word)| (name.to_owned(), word)).collect(),
        })
    }

    /// Measures a model on what it was not trained on.
    fn measure(
        &self,
        config: &Config,
        weights: &BTreeMap<String, Tensor>,
        sequences: usize,
    ) -> Result<Measured> {
        let Some((held_out, share)) = &self.held_out else {
            return match config.task {
                Task::Othello => measure_othello(weights, config.n_heads, sequences),
                _ => measure_repeats(weights, config.n_heads, sequences),
            };
        };
        let per_token = held_out_loss(config, weights, held_out)?;
        Ok(BTreeMap::from([
            ("valid_nats_per_token", per_token),
            ("valid_nats_per_character", per_token * share),
        ]))
    }
}

/// Mean surprise at windows spread over a held-out text, in nats a token.
fn held_out_loss(
    config: &Config,
    weights: &BTreeMap<String, Tensor>,
    tokens: &[u32],
) -> Result<f64> {
    let stride = (tokens.len() - config.n_ctx - 1) / WINDOWS;
    let mut windows = Vec::new();
    for n in 0..WINDOWS {
        windows.extend_from_slice(&tokens[n * stride..=n * stride + config.n_ctx]);
    }
    let windows = Tensor::from_vec(windows, (WINDOWS, config.n_ctx + 1), &Device::Cpu)?;
    let cut = |from: usize| windows.narrow(1, from, config.n_ctx)?.contiguous();
    let loss = loss(weights, config.n_heads, &cut(0)?, &Targets::Tokens(cut(1)?))?;
    Ok(f64::from(loss.to_scalar::<f32>()?))
}

/// What git calls a revision, or a folder in it, whose name is the same in other branches.
fn revision(name: &str) -> String {
    let git = |arguments: &[&str]| {
        let said = Command::new("git").args(arguments).output().ok().context("no git");
        said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", "crates"]);
    match (git(&["rev-parse", name]), changed) {
        (Ok(revision), Ok(changed)) if changed.is_empty() => revision,
        (Ok(revision), _) => format!("{revision} with changes"),
        _ => "unknown".to_owned(),
    }
}
