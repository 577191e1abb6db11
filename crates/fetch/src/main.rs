//! `cargo xtask fetch NAME`: brings a published model to this machine.

use std::{env, process::ExitCode, time::Duration};

use fetch::{Fetched, MODELS, Model, Settings, Trouble, fetch};
use indicatif::{ProgressBar, ProgressStyle};

/// What went wrong may go right later, as `xtask` numbers its exits.
const TEMPORARY: u8 = 75;

/// Such a model is not known.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let asked = env::args().nth(1).unwrap_or_default();
    let Some(model) = MODELS.iter().find(|model| model.name == asked) else {
        let names: Vec<_> = MODELS.iter().map(|model| model.name).collect();
        eprintln!("There is no model {asked:?} to fetch; there is {}.", names.join(", "));
        return ExitCode::from(USAGE);
    };
    match bring(model) {
        Ok(files) => {
            for Fetched { path, was_there } in files {
                let how = if was_there { "was there" } else { "arrived" };
                println!("{}  {how}; its length and SHA-256 are right", path.display());
            }
            println!("{} is here, under the licence {}.", model.name, model.licence);
            ExitCode::SUCCESS
        }
        Err(trouble) => {
            eprintln!("{trouble}");
            ExitCode::from(TEMPORARY)
        }
    }
}

fn bring(model: &Model) -> Result<Vec<Fetched>, Trouble> {
    let settings = Settings::from_environment()?;
    let bar = ProgressBar::new(0);
    let style = "{msg:18} {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let files = fetch(model, &settings, &bar);
    bar.finish_and_clear();
    files
}
