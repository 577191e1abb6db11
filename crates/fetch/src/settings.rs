//! Where to ask, as whom, and where to put what comes: from the environment, as Hugging Face's own
//! tools have it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::Trouble;

/// How to fetch.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub endpoint: String,
    /// The folder that Hugging Face's tools call `HF_HOME`.
    pub home: PathBuf,
    /// Who asks, if anybody in particular.
    pub token: Option<String>,
    /// Whether to leave the network alone.
    pub offline: bool,
    /// How long a server may send nothing at all.
    pub patience: Duration,
    /// How often a cut download is taken up again.
    pub retries: usize,
}

impl Settings {
    /// Reads `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN` and `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    ///
    /// Fails if there is neither `HF_HOME` nor a home folder.
    pub fn from_environment() -> Result<Self, Trouble> {
        Self::read(|name| env::var(name).ok().filter(|value| !value.trim().is_empty()))
    }

    fn read(look_up: impl Fn(&str) -> Option<String>) -> Result<Self, Trouble> {
        let user = || look_up("HOME").or_else(|| look_up("USERPROFILE"));
        let cache = || Some(Path::new(&user()?).join(".cache").join("huggingface"));
        let home = look_up("HF_HOME").map(PathBuf::from).or_else(cache).ok_or(Trouble::NoHome)?;
        let token = look_up("HF_TOKEN").or_else(|| fs::read_to_string(home.join("token")).ok());
        let endpoint = look_up("HF_ENDPOINT");
        let endpoint = endpoint.unwrap_or_else(|| "https://huggingface.co".to_owned());
        let yes = ["1", "ON", "YES", "TRUE"];
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            home,
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: look_up("HF_HUB_OFFLINE")
                .is_some_and(|word| yes.contains(&word.to_uppercase().as_str())),
            patience: Duration::from_mins(1),
            retries: 3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Trouble> {
        let find = |name: &str| variables.iter().find(|(found, _)| *found == name);
        Settings::read(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[track_caller]
    fn check(variables: &[(&str, &str)], said: [&str; 4]) {
        let read = read(variables).unwrap();
        let token = read.token.unwrap_or_default();
        let home = read.home.iter().map(|name| name.to_string_lossy()).collect::<Vec<_>>();
        let offline = if read.offline { "offline" } else { "online" };
        assert_eq!([&read.endpoint, home.join("/").as_str(), &token, offline], said);
    }

    #[test]
    fn the_environment_decides() {
        let home = ("HOME", "me");
        check(&[home], ["https://huggingface.co", "me/.cache/huggingface", "", "online"]);
        let all = [
            home,
            ("HF_ENDPOINT", "https://mirror.example/"),
            ("HF_HOME", "there"),
            ("HF_TOKEN", " secret\n"),
            ("HF_HUB_OFFLINE", "true"),
        ];
        check(&all, ["https://mirror.example", "there", "secret", "offline"]);
        check(
            &[home, ("HF_HUB_OFFLINE", "0")],
            ["https://huggingface.co", "me/.cache/huggingface", "", "online"],
        );
    }

    #[test]
    fn nobody_has_no_home() {
        assert!(matches!(read(&[]), Err(Trouble::NoHome)));
    }

    #[test]
    fn a_kept_token_is_found() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("token"), "kept\n").unwrap();
        let read = read(&[("HF_HOME", &home.path().to_string_lossy())]).unwrap();
        assert_eq!(read.token.as_deref(), Some("kept"));
    }
}
