//! What can be fetched: models by name, each file pinned to a commit, a length and a hash.

/// A published model.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// What it is asked for by.
    pub name: &'static str,
    /// Its repository on Hugging Face's hub.
    pub repository: &'static str,
    /// The commit of that repository.
    pub commit: &'static str,
    /// Its licence, by its SPDX identifier.
    pub licence: &'static str,
    /// What is fetched of it.
    pub files: &'static [Remote],
}

/// A file of a model.
#[derive(Clone, Copy, Debug)]
pub struct Remote {
    /// Its name in the repository.
    pub name: &'static str,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: &'static str,
}

/// GPT-2 with 124 million parameters, as `OpenAI` published it.
pub const GPT2: Model = Model {
    name: "gpt2",
    repository: "openai-community/gpt2",
    commit: "607a30d783dfa663caf39e06633721c8d4cfcd7e",
    licence: "MIT",
    files: &[
        Remote {
            name: "merges.txt",
            bytes: 456_318,
            sha256: "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
        },
        Remote {
            name: "vocab.json",
            bytes: 1_042_301,
            sha256: "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
        },
        Remote {
            name: "model.safetensors",
            bytes: 548_105_171,
            sha256: "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
        },
    ],
};

/// Every model that can be fetched.
pub const MODELS: &[Model] = &[GPT2];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_is_whole() {
        let is_hex = |text: &str, n: usize| {
            text.len() == n && text.bytes().all(|b| b"0123456789abcdef".contains(&b))
        };
        for model in MODELS {
            assert!(is_hex(model.commit, 40), "{}", model.name);
            for file in model.files {
                assert!(is_hex(file.sha256, 64) && file.bytes > 0, "{}", file.name);
                assert!(!file.name.contains(['/', '\\']), "{}", file.name);
            }
        }
    }
}
