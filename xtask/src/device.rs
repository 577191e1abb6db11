//! The device that a check runs on: what was asked for, or what `auto` comes to.
//!
//! **Invariant:** a device that cannot be used ends in an error, never in another device, unless
//! `auto` was asked for; and then the verdict says why.

use std::path::PathBuf;

use devices::{Cuda, Lack, Need, System};

use crate::{
    cli::Device,
    exit::{Exit, problem},
    text::wrap,
};

/// Where a check computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The device, as the judge spells it.
    pub(crate) name: &'static str,
    /// Why, or the card's name; empty on the processor if it was asked for.
    pub(crate) reason: String,
    /// What a build for CUDA needs; none elsewhere.
    pub(crate) cuda: Option<Cuda>,
}

/// What was found of a device's needs.
pub(crate) struct Found {
    /// In the order in which to mend them; none for `auto`, which needs nothing.
    pub(crate) needs: Vec<Need>,
    /// Folders in which libraries were looked for.
    searched: Vec<PathBuf>,
}

/// Looks for what a device needs.
pub(crate) fn look(device: Device, system: &System) -> Found {
    let alone = |needs| Found { needs, searched: vec![] };
    match device {
        Device::Auto => alone(vec![]),
        Device::Cpu => alone(devices::cpu(system)),
        Device::Metal => alone(devices::metal()),
        Device::Cuda => {
            let devices::Cuda { needs, searched, .. } = devices::cuda(system);
            Found { needs, searched }
        }
    }
}

impl Found {
    /// Names of the needs that are not met.
    pub(crate) fn lacking(&self) -> Vec<&'static str> {
        self.needs.iter().filter(|need| !need.is_met()).map(|need| need.name).collect()
    }

    /// Where libraries were looked for, if one was not found.
    pub(crate) fn places(&self) -> Option<String> {
        let is_lost = self.needs.iter().filter_map(|need| need.found.as_ref().err());
        is_lost.into_iter().find(|lack| lack.what.contains("looked for"))?;
        let folders = self.searched.iter().map(|folder| folder.display().to_string());
        Some(format!("the loader's folders, {}", folders.collect::<Vec<_>>().join(", ")))
    }
}

/// Settles where something is to be `done`, such as `judged`.
///
/// # Errors
///
/// Fails with what was looked for and how to mend it if the device cannot be used.
pub(crate) fn choose(asked: Device, done: &str) -> anyhow::Result<Choice> {
    let system = System::this();
    let cpu = |reason| Choice { name: "cpu", reason, cuda: None };
    match asked {
        Device::Cpu => Ok(cpu(String::new())),
        Device::Metal => {
            let found = look(asked, &system);
            Err(problem(Exit::NoDevice, refusal(name(asked), &found, done)))
        }
        Device::Cuda | Device::Auto => {
            let cuda = devices::cuda(&system);
            let found = Found { needs: cuda.needs.clone(), searched: cuda.searched.clone() };
            let is_auto = asked == Device::Auto;
            if cuda.is_usable() {
                let card = cuda.card.as_ref().map_or("", |card| card.name.as_str()).to_owned();
                return Ok(Choice { name: "cuda", reason: card, cuda: Some(cuda) });
            }
            if is_auto {
                return Ok(cpu(format!("cuda lacks {}", found.lacking().join(", "))));
            }
            Err(problem(Exit::NoDevice, refusal(name(asked), &found, done)))
        }
    }
}

/// The device as people type it.
pub(crate) fn name(device: Device) -> &'static str {
    match device {
        Device::Auto => "auto",
        Device::Cpu => "cpu",
        Device::Cuda => "cuda",
        Device::Metal => "metal",
    }
}

/// Why a device cannot be used, one line a need.
fn refusal(name: &str, found: &Found, done: &str) -> String {
    let mut text = format!("{name} cannot be used here, so nothing was {done}:\n");
    for need in &found.needs {
        if let Err(Lack { what, mend }) = &need.found {
            text += &wrap(&format!("  {}: {what}\n", need.name), WIDTH, "    ");
            text += &wrap(&format!("    mend: {mend}\n"), WIDTH, "      ");
        }
    }
    text + &format!(
        "`cargo xtask doctor --device {name}` says where it looked; `--device cpu` needs none of \
         this."
    )
}

/// Of a refusal, in characters; it goes to standard error, whose terminal is not asked.
const WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        let lack = Lack { what: "looked for it".to_owned(), mend: "install it".to_owned() };
        let needs = vec![
            Need { name: "driver", found: Err(lack) },
            Need { name: "kit", found: Ok("/kit".to_owned()) },
        ];
        Found { needs, searched: vec!["/usr/lib64".into()] }
    }

    #[test]
    fn a_refusal_names_what_is_lacking_and_its_mend_alone() {
        let text = refusal("cuda", &found(), "judged");
        assert!(text.contains("  driver: looked for it\n    mend: install it\n"), "{text}");
        assert!(!text.contains("/kit"), "{text}");
    }

    #[test]
    fn only_what_is_not_met_is_lacking() {
        assert_eq!(found().lacking(), ["driver"]);
    }

    #[test]
    fn the_processor_needs_no_reason() {
        assert_eq!(choose(Device::Cpu, "judged").unwrap().reason, "");
    }
}
