//! Draws what your parts see in trained models: where heads look, what a model would say at each
//! depth, and through where an answer travels.
//!
//! `cargo run -p probing --example look` writes three pages below `.wick/pictures`. It needs
//! `run_with_cache`, `head_scores`, `logit_lens` and `activation_patch`.
//!
//! `cargo run -p probing --example look -- MODEL` looks into a model of *yours* instead: any file
//! in GPT-2's names whose words say `n_heads`, such as the one that `transformer`'s example `train`
//! writes. It needs `run_with_cache`, `head_scores` and `logit_lens`.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::softmax;
use pictures::{Guess, HeadPattern, attention_patterns, logit_lens as lens_page, patching};
use probing::{
    circuits::{activation_patch, head_scores},
    hooks::run_with_cache,
    lens::logit_lens,
};
use wick::Gpt;

/// Where pages go, below the folder that this is run in.
const FOLDER: &str = ".wick/pictures";

fn main() -> Result<()> {
    let pages = match env::args_os().nth(1) {
        None => vec![("patterns", patterns()?), ("lens", lens()?), ("patching", patch()?)],
        Some(file) => own(Path::new(&file))?,
    };
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder)?;
    for (name, page) in pages {
        let path = folder.join(format!("probing-example-{name}.html"));
        fs::write(&path, page)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Draws where the heads of a learner's model look, and what it would say at each depth.
pub(crate) fn own(file: &Path) -> Result<Vec<(&'static str, String)>> {
    let bytes = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let (model, about) = Gpt::from_safetensors(&bytes)
        .with_context(|| format!("{} is no model in GPT-2's names", file.display()))?;
    let written = about.get("merges").map_or("", String::as_str);
    let merges = merges(written).context("its words say `merges` that are no pairs of tokens")?;
    let tokens = encode(TEXT, &merges);
    let texts: Vec<String> = tokens.iter().map(|&token| text_of(token, &merges)).collect();
    let patterns = attention_patterns("Where your heads look", &texts, &heads(&model, &tokens)?);
    let lens = lens_of(&model, "What your model would say at each depth", &tokens, |token| {
        text_of(token, &merges)
    })?;
    Ok(vec![("own-patterns", patterns), ("own-lens", lens)])
}

/// A model that is shipped.
pub(crate) fn shipped(name: &str) -> Result<Gpt> {
    Ok(Gpt::from_safetensors(&datasets::model(name)?)?.0)
}

/// Eight tokens, twice.
const REPEATED: [u32; 16] = [5, 17, 3, 9, 21, 0, 13, 30, 5, 17, 3, 9, 21, 0, 13, 30];

/// Where each head of the induction model looks in a text that repeats.
pub(crate) fn patterns() -> Result<String> {
    let heads = heads(&shipped("induction")?, &REPEATED)?;
    let title = "Where the heads of an induction model look";
    Ok(attention_patterns(title, &letters(&REPEATED), &heads))
}

fn heads(model: &Gpt, tokens: &[u32]) -> Result<Vec<HeadPattern>> {
    let tokens = row(tokens)?;
    let (_, cache) = run_with_cache(model, &tokens, None)?;
    let scores = head_scores(&cache, &tokens)?;
    let mut heads = Vec::new();
    for layer in 0..model.n_layers() {
        let pattern = cache.get(&format!("blocks.{layer}.attn.hook_pattern"))?.get(0)?;
        for head in 0..model.n_heads() {
            let score = |role: &str| -> Result<f32> {
                Ok(scores.get(role)?.get(layer)?.get(head)?.to_scalar()?)
            };
            let (previous, induction) = (score("previous")?, score("induction")?);
            let name = format!(
                "block {layer}, head {head}: previous {previous:.2}, induction {induction:.2}"
            );
            let pattern = pattern.get(head)?.to_dtype(DType::F64)?.to_vec2()?;
            heads.push(HeadPattern { name, pattern });
        }
    }
    Ok(heads)
}

/// A line as the models of Shakespeare know them.
const TEXT: &str = "KING HENRY:\nWhat say you";

/// What the char-GPT would say at each depth.
pub(crate) fn lens() -> Result<String> {
    let title = "What a small GPT would say at each depth";
    lens_of(&shipped("char_gpt")?, title, &encode(TEXT, &[]), character)
}

fn lens_of(
    model: &Gpt,
    title: &str,
    tokens: &[u32],
    text_of: impl Fn(u32) -> String,
) -> Result<String> {
    let (_, cache) = run_with_cache(model, &row(tokens)?, None)?;
    // (n_layers + 1, 1, seq, d_vocab)
    let chances = softmax(&logit_lens(model, &cache)?, D::Minus1)?;
    let mut rows = Vec::new();
    for depth in 0..=model.n_layers() {
        let rows_of_depth = chances.get(depth)?.get(0)?.to_vec2::<f32>()?;
        let guess = |(at, chances): (usize, Vec<f32>)| {
            let best = (0..chances.len()).max_by(|a, b| chances[*a].total_cmp(&chances[*b]));
            let best = best.unwrap_or_default();
            let is_right = tokens.get(at + 1).is_some_and(|next| *next as usize == best);
            Guess { token: text_of(best as u32), chance: chances[best].into(), is_right }
        };
        let name = match depth {
            0 => "embedding".to_owned(),
            depth => format!("block {}", depth - 1),
        };
        rows.push((name, rows_of_depth.into_iter().enumerate().map(guess).collect()));
    }
    let texts: Vec<String> = tokens.iter().map(|token| text_of(*token)).collect();
    Ok(lens_page(title, &texts, &rows))
}

/// Reads merges as `train` writes them: `104 101,256 108`.
fn merges(written: &str) -> Option<Vec<[u32; 2]>> {
    let pair = |pair: &str| {
        let (left, right) = pair.split_once(' ')?;
        Some([left.parse().ok()?, right.parse().ok()?])
    };
    written.split(',').filter(|pair| !pair.is_empty()).map(pair).collect()
}

/// The tokens of a text: bytes, and merge `n` as token `256 + n`.
fn encode(text: &str, merges: &[[u32; 2]]) -> Vec<u32> {
    let mut tokens = Vec::new();
    for word in wick::words(text) {
        let mut ids: Vec<u32> = word.bytes().map(u32::from).collect();
        for (token, merge) in (256..).zip(merges) {
            let mut at = 0;
            while at + 1 < ids.len() {
                if ids[at..at + 2] == merge[..] {
                    ids.splice(at..at + 2, [token]);
                }
                at += 1;
            }
        }
        tokens.extend(ids);
    }
    tokens
}

fn text_of(token: u32, merges: &[[u32; 2]]) -> String {
    let merge = token.checked_sub(256).and_then(|n| merges.get(n as usize));
    // A merge is of earlier tokens only, or it is none.
    match merge {
        Some(pair) if pair.iter().all(|&part| part < token) => {
            pair.iter().map(|&part| text_of(part, merges)).collect()
        }
        _ => character(token),
    }
}

/// Through where the induction model's answer travels.
pub(crate) fn patch() -> Result<String> {
    let model = shipped("induction")?;
    // The text ends where its third token comes again, so the fourth follows.
    let clean = &REPEATED[..11];
    let (correct, wrong) = (REPEATED[3], REPEATED[6]);
    let mut corrupt = clean.to_vec();
    corrupt[2] = 28;
    let one = |token: u32| Tensor::new(&[token], &Device::Cpu);
    let shares = activation_patch(
        &model,
        &row(clean)?,
        &row(&corrupt)?,
        &one(correct)?,
        &one(wrong)?,
        "hook_resid_pre",
    )?;
    let shares = shares.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let name = |layer| format!("before block {layer}");
    let rows: Vec<_> = shares.into_iter().enumerate().map(|(n, row)| (name(n), row)).collect();
    let title = "Where an answer travels: the residual stream, patched place by place";
    Ok(patching(title, &letters(clean), &rows))
}

/// One sequence as a batch.
fn row(tokens: &[u32]) -> candle_core::Result<Tensor> {
    Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)
}

/// A byte as one sees it.
fn character(byte: u32) -> String {
    char::from_u32(byte).map_or_else(String::new, String::from)
}

/// A letter for each of the 32 tokens of an induction model.
fn letters(tokens: &[u32]) -> Vec<String> {
    tokens.iter().map(|token| character(u32::from(b'A') + token)).collect()
}
