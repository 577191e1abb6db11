//! `cargo xtask train-assets`: trains the models that Wick ships, or goes on where it was stopped.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};
use candle_core::{Device, Tensor};
use clap::Parser;
use datasets::Split;
use indicatif::{ProgressBar, ProgressStyle};
use train_assets::{
    BPE_GPT, CHAR_GPT, Config, Run, Tokenizer, bigram, enter_in_ledger, learn_merges, loss, ship,
    unigram,
};

/// Steps between two savings of the state.
const SAVED: usize = 100;

/// Windows of held-out text that losses are taken on while training.
const WINDOWS: usize = 24;

/// Trains the models that Wick ships.
#[derive(Parser)]
struct Cli {
    /// `char_gpt` or `bpe_gpt`; by default both.
    name: Option<String>,
    /// Train for so many steps; the schedule is made for them.
    #[arg(long)]
    steps: Option<usize>,
    /// Where states are kept, to be resumed.
    #[arg(long, default_value = ".wick/train-assets")]
    states: std::path::PathBuf,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let wanted = |config: &Config| cli.name.as_deref().is_none_or(|name| name == config.name);
    let configs: Vec<_> = [CHAR_GPT, BPE_GPT].into_iter().filter(wanted).collect();
    if configs.is_empty() {
        bail!("There is no such model; there are char_gpt and bpe_gpt.");
    }
    for config in configs {
        let steps = cli.steps.unwrap_or(config.steps);
        train(Config { steps, ..config }, &cli.states)?;
    }
    Ok(())
}

/// Trains one model, writes its file, and brings the ledger up to date.
fn train(config: Config, states: &Path) -> Result<()> {
    let [text, valid] = [Split::Train, Split::Valid].map(datasets::shakespeare_part);
    let (text, valid) = (text?, valid?);
    let merges = learn_merges(&text, config.n_merges);
    let tokenizer = Tokenizer::new(&merges);
    let (tokens, held_out) = (tokenizer.encode(&text), tokenizer.encode(&valid));
    let state = states.join(format!("{}.safetensors", config.name));
    let mut run = Run::resume(config, &state)?;
    let bar = ProgressBar::new(config.steps as u64).with_position(run.done() as u64);
    bar.set_style(ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {eta} {msg}")?);
    bar.set_prefix(config.name);
    bar.enable_steady_tick(Duration::from_millis(500));
    let mut mean = f64::NAN;
    while run.done() < config.steps {
        let progress = run.step(&tokens)?;
        mean = if mean.is_nan() { progress.loss } else { 0.98 * mean + 0.02 * progress.loss };
        bar.inc(1);
        if progress.step % SAVED == 0 || progress.step == config.steps {
            run.save(&state)?;
            let valid = held_out_loss(&config, &run, &held_out)?;
            bar.set_message(format!("loss {mean:.3}, on held-out text {valid:.3}"));
            eprintln!("{}: step {}: {mean:.4} {valid:.4}", config.name, progress.step);
        }
    }
    bar.finish();
    let per_token = held_out_loss(&config, &run, &held_out)?;
    let per_character = per_token * held_out.len() as f64 / valid.len() as f64;
    let mut about = config.about();
    let merges: Vec<String> = merges.iter().map(|[a, b]| format!("{a} {b}")).collect();
    let words = [
        ("merges", merges.join(",")),
        ("text", "nine plays of Shakespeare, the first eight tenths".to_owned()),
        ("valid_nats_per_token", format!("{per_token:.4}")),
        ("valid_nats_per_character", format!("{per_character:.4}")),
        ("revision", revision("HEAD")),
        ("trainer", revision("HEAD:crates/train-assets")),
        ("trained_by", "cargo xtask train-assets".to_owned()),
    ];
    about.extend(words.map(|(name, word)| (name.to_owned(), word)));
    let path = format!("models/{}.safetensors", config.name);
    let file = datasets::folder().join(&path);
    ship(&file, run.weights(), &about)?;
    enter_in_ledger(datasets::folder(), &path)?;
    println!(
        "{}: {} steps, {} bytes, {per_token:.3} nats a token and {per_character:.3} a character \
         of held-out text; counting letters gives {:.3}, counting pairs {:.3}.",
        config.name,
        config.steps,
        fs::metadata(&file)?.len(),
        unigram(&text, &valid),
        bigram(&text, &valid),
    );
    Ok(())
}

/// Mean surprise at windows spread over a held-out text, in nats a token.
fn held_out_loss(config: &Config, run: &Run, tokens: &[u32]) -> Result<f64> {
    let stride = (tokens.len() - config.n_ctx - 1) / WINDOWS;
    let mut windows = Vec::new();
    for n in 0..WINDOWS {
        windows.extend_from_slice(&tokens[n * stride..=n * stride + config.n_ctx]);
    }
    let windows = Tensor::from_vec(windows, (WINDOWS, config.n_ctx + 1), &Device::Cpu)?;
    let cut = |from: usize| windows.narrow(1, from, config.n_ctx)?.contiguous();
    let loss = loss(run.weights(), config.n_heads, &cut(0)?, &cut(1)?)?;
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
