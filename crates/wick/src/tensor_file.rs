//! Named tensors in a file, in the format of safetensors, with some words about them.
//!
//! **Invariant:** a file is replaced whole or not at all, and the same tensors and words make the
//! same bytes.

use std::{collections::BTreeMap, fs, path::Path};

use answer::{Weights, to_raw};
use candle_core::{Device, Error, Result, bail};
use protocol::DType;
use safetensors::SafeTensors;
use serde_json::{Map, Value, json};

/// Where a file's words stand in its header.
const WORDS: &str = "__metadata__";

/// Reads tensors and the words about them from a safetensors file, such as GPT-2's or one that
/// [`save_weights`] wrote. A file without words has none.
///
/// # Errors
///
/// Fails if the file cannot be read, or is cut or no such file.
pub fn load_weights(path: &Path) -> Result<(Weights, BTreeMap<String, String>)> {
    let because = |error: &dyn ToString| {
        Error::Msg(format!("{} cannot be read: {}", path.display(), error.to_string()))
    };
    let bytes = fs::read(path).map_err(|error| because(&error))?;
    let (_, about) = SafeTensors::read_metadata(&bytes).map_err(|error| because(&error))?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?;
    let words = about.metadata().clone().unwrap_or_default();
    Ok((tensors.into_iter().collect(), words.into_iter().collect()))
}

/// Writes tensors and some words about them, such as their number of heads, to a safetensors file.
///
/// # Errors
///
/// Fails if the file cannot be written, or a tensor has a dtype that such files do not.
pub fn save_weights(
    path: &Path,
    weights: &Weights,
    about: &BTreeMap<String, String>,
) -> Result<()> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    header.insert(WORDS.to_owned(), json!(about));
    for (name, tensor) in weights.iter() {
        if name == WORDS {
            bail!("no tensor can be called `{WORDS}`, where the words about them stand");
        }
        let raw = to_raw(tensor)?;
        let ends = [data.len(), data.len() + raw.bytes.len()];
        let row = json!({ "dtype": code(raw.dtype), "shape": raw.shape, "data_offsets": ends });
        header.insert(name.to_owned(), row);
        data.extend(raw.bytes);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // Tensors start at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    let file = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &data].concat();
    replace(path, &file)
        .map_err(|error| Error::Msg(format!("{} cannot be written: {error}", path.display())))
}

/// Writes beside the file first, so that whoever is interrupted keeps the old one.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}

/// How a safetensors file calls a dtype.
fn code(dtype: DType) -> &'static str {
    match dtype {
        DType::U8 => "U8",
        DType::U32 => "U32",
        DType::I64 => "I64",
        DType::BF16 => "BF16",
        DType::F16 => "F16",
        DType::F32 => "F32",
        DType::F64 => "F64",
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;

    fn example() -> Weights {
        let matrix = Tensor::new(&[[1f32, 2., 3.], [4., 5., 6.]], &Device::Cpu).unwrap();
        let half = matrix.to_dtype(candle_core::DType::F16).unwrap();
        let step = Tensor::new(7u32, &Device::Cpu).unwrap();
        let named = [("a.b", matrix.t().unwrap()), ("half", half), ("step", step)];
        named.map(|(name, tensor)| (name.to_owned(), tensor)).into_iter().collect()
    }

    #[test]
    fn what_is_saved_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let words = BTreeMap::from([("n_heads".to_owned(), "2".to_owned())]);
        save_weights(&path, &example(), &words).unwrap();
        let first = fs::read(&path).unwrap();
        let (weights, about) = load_weights(&path).unwrap();
        assert_eq!(about, words);
        assert_eq!(weights.get("a.b").unwrap().dims(), [3, 2]);
        for (name, tensor) in example().iter() {
            assert_eq!(to_raw(weights.get(name).unwrap()).unwrap(), to_raw(tensor).unwrap());
        }
        save_weights(&path, &weights, &about).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[track_caller]
    fn check(bytes: &[u8]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        fs::write(&path, bytes).unwrap();
        let said = load_weights(&path).unwrap_err().to_string();
        assert!(said.contains("a.safetensors cannot be read: "), "{said}");
    }

    #[test]
    fn what_is_cut_or_foreign_is_refused() {
        check(b"");
        check(b"not a file of tensors");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whole");
        save_weights(&path, &example(), &BTreeMap::new()).unwrap();
        let whole = fs::read(&path).unwrap();
        check(&whole[..whole.len() - 1]);
        check(&whole[..20]);
    }
}
