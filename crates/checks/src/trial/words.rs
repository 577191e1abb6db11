//! What a trial says of arguments and errors, in a learner's words.

use protocol::{RawTensor, Value};

use crate::{Array, compare::number};

/// What a finding says of an answer that leaves the device of its arguments.
pub const DEVICES_MIXED: &str =
    "Make each new tensor where an argument is, on `x.device()`, never on `Device::Cpu`.";

/// Longest description of an argument, in characters.
const DESCRIPTION: usize = 160;

pub(super) fn describe(value: &Value) -> String {
    let text = match value {
        Value::None => "none".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        // Only the start is shown, so only the start of a long one is written.
        Value::Text(text) => format!("{:?}", text.chars().take(DESCRIPTION).collect::<String>()),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::Ints(ints) if ints.len() > DESCRIPTION => format!("{:?}", &ints[..DESCRIPTION]),
        Value::Ints(ints) => format!("{ints:?}"),
        Value::Texts(texts) => format!("{texts:?}"),
        Value::Tensor(raw) => describe_raw(raw),
        Value::Named(set) => {
            let each: Vec<_> =
                set.iter().map(|(name, raw)| format!("{name}: {}", describe_raw(raw))).collect();
            each.join(", ")
        }
        Value::Numbers(numbers) => {
            let each: Vec<_> =
                numbers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            each.join(", ")
        }
    };
    if text.chars().count() <= DESCRIPTION {
        return text;
    }
    text.chars().take(DESCRIPTION).chain(['…']).collect()
}

fn describe_raw(raw: &RawTensor) -> String {
    match Array::from_raw(raw) {
        Ok(array) if array.values().len() <= 12 && array.rank() <= 1 => {
            let values: Vec<_> = array.values().iter().map(|&value| number(value)).collect();
            format!("{} [{}]", array.dtype().name(), values.join(", "))
        }
        Ok(array) => array.describe(),
        Err(error) => error.to_string(),
    }
}

/// Says in a learner's words what candle says in its own.
pub(super) fn translate(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    if message.contains("non-contiguous") || message.contains("MatMulUnexpectedStriding") {
        return format!(
            "{first}. An operand of the matmul is not contiguous, as splitting heads or a \
             transpose leaves it; call `.contiguous()?` on it first."
        );
    }
    if message.contains("device mismatch") {
        return format!("{first}. {DEVICES_MIXED}");
    }
    let kept: Vec<&str> = message.lines().take(4).collect();
    kept.join(" ")
}
