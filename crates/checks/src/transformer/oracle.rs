//! A GPT by index loops in `f64`, as its definition says.

use crate::Array;

/// `(x − mean) / √(variance + eps) · weight + bias` for every vector.
pub(super) fn layer_norm(x: &Array, weight: &Array, bias: &Array, eps: f64) -> Array {
    let d_model = weight.dim(0);
    let mut values = Vec::with_capacity(x.values().len());
    for vector in x.values().chunks(d_model) {
        let mean = vector.iter().sum::<f64>() / d_model as f64;
        let variance = vector.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d_model as f64;
        let deviation = (variance + eps).sqrt();
        let learned = weight.values().iter().zip(bias.values());
        let out = vector.iter().zip(learned).map(|(x, (w, b))| (x - mean) / deviation * w + b);
        values.extend(out);
    }
    Array::new(x.shape(), values)
}
