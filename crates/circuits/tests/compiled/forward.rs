//! A forward pass in `f64`, with heads and positions to change on the way.

use circuits::{Circuit, Weight};

/// What is changed, and what is kept.
#[derive(Default)]
pub(crate) struct Run<'a> {
    /// A head that adds nothing: layer and number.
    pub(crate) without: Option<(usize, usize)>,
    /// A vector of the stream before a block that is replaced: layer, position, vector.
    pub(crate) resid_pre: Option<(usize, usize, &'a [f64])>,
    /// As `resid_pre`, of what attention adds.
    pub(crate) attn_out: Option<(usize, usize, &'a [f64])>,
}

/// What came out, and on the way: `[layer][position]` vectors, `[layer][head][query]` rows.
pub(crate) struct Trace {
    pub(crate) resid_pre: Vec<Vec<Vec<f64>>>,
    pub(crate) attn_out: Vec<Vec<Vec<f64>>>,
    pub(crate) patterns: Vec<Vec<Vec<Vec<f64>>>>,
    pub(crate) logits: Vec<Vec<f64>>,
}

impl Run<'_> {
    pub(crate) fn of(&self, circuit: &Circuit, tokens: &[usize]) -> Trace {
        let (wte, wpe) = (&circuit.weights["wte.weight"], &circuit.weights["wpe.weight"]);
        let embed = |(at, &token): (usize, &usize)| plus(row(wte, token), row(wpe, at));
        let mut resid: Vec<Vec<f64>> = tokens.iter().enumerate().map(embed).collect();
        let mut trace = Trace {
            resid_pre: Vec::new(),
            attn_out: Vec::new(),
            patterns: Vec::new(),
            logits: Vec::new(),
        };
        for layer in 0..circuit.n_layers {
            replace(&mut resid, layer, self.resid_pre);
            trace.resid_pre.push(resid.clone());
            let (mut attn_out, patterns) = self.attend(circuit, layer, &resid);
            replace(&mut attn_out, layer, self.attn_out);
            resid = resid.iter().zip(&attn_out).map(|(resid, out)| plus(resid, out)).collect();
            trace.attn_out.push(attn_out);
            trace.patterns.push(patterns);
        }
        let lm_head = &circuit.weights["lm_head.weight"];
        let logits = |resid: &Vec<f64>| {
            (0..circuit.d_vocab).map(|token| dot(resid, row(lm_head, token))).collect()
        };
        trace.logits = resid.iter().map(logits).collect();
        trace
    }

    fn attend(
        &self,
        circuit: &Circuit,
        layer: usize,
        resid: &[Vec<f64>],
    ) -> (Vec<Vec<f64>>, Vec<Vec<Vec<f64>>>) {
        let (d_head, d_model) = (circuit.d_head, circuit.d_model());
        let c_attn = &circuit.weights[&format!("h.{layer}.attn.c_attn.weight")];
        let c_proj = &circuit.weights[&format!("h.{layer}.attn.c_proj.weight")];
        let qkv: Vec<Vec<f64>> = resid.iter().map(|resid| times(resid, c_attn)).collect();
        let mut z = vec![vec![0.0; d_model]; resid.len()];
        let mut patterns = Vec::new();
        for head in 0..circuit.n_heads {
            let part = |at: usize, n: usize| &qkv[at][n * d_model + head * d_head..][..d_head];
            let score = |query, key| dot(part(query, 0), part(key, 1)) / (d_head as f64).sqrt();
            let of_query =
                |query| softmax(&(0..=query).map(|key| score(query, key)).collect::<Vec<_>>());
            let pattern: Vec<Vec<f64>> = (0..resid.len()).map(of_query).collect();
            if self.without != Some((layer, head)) {
                for (query, row) in pattern.iter().enumerate() {
                    for (key, weight) in row.iter().enumerate() {
                        let z = &mut z[query][head * d_head..][..d_head];
                        z.iter_mut().zip(part(key, 2)).for_each(|(z, v)| *z += weight * v);
                    }
                }
            }
            patterns.push(pattern);
        }
        (z.iter().map(|z| times(z, c_proj)).collect(), patterns)
    }
}

fn replace(vectors: &mut [Vec<f64>], layer: usize, by: Option<(usize, usize, &[f64])>) {
    if let Some((_, at, vector)) = by.filter(|(of, ..)| *of == layer) {
        vectors[at] = vector.to_vec();
    }
}

pub(crate) fn row(weight: &Weight, row: usize) -> &[f64] {
    &weight.values[row * weight.shape[1]..][..weight.shape[1]]
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn times(vector: &[f64], weight: &Weight) -> Vec<f64> {
    let mut out = vec![0.0; weight.shape[1]];
    for (factor, row) in vector.iter().zip(weight.values.chunks(weight.shape[1])) {
        out.iter_mut().zip(row).for_each(|(out, value)| *out += factor * value);
    }
    out
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}
