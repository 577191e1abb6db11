//! The optimiser against candle's, and a whole GPT of blocks against its plain formulas.

use candle_core::{DType, Tensor, Var};
use candle_nn::Optimizer as _;
use wick::{
    Weights,
    fused::{self, AdamW, AdamWSettings, Gpt},
};

use crate::agree::{ids, near, noise, numbers};

const SETTINGS: AdamWSettings =
    AdamWSettings { lr: 0.05, beta1: 0.8, beta2: 0.95, eps: 1e-6, weight_decay: 0.1 };

/// Five steps on a bowl, by ours and by candle's, of two variables.
#[track_caller]
fn check_adamw(dtype: DType) {
    let start = [noise(1, &[3, 5]), noise(2, &[40_000])].map(|x| x.to_dtype(dtype).unwrap());
    let vars = || start.iter().map(|x| Var::from_tensor(x).unwrap()).collect::<Vec<_>>();
    let (ours, theirs) = (vars(), vars());
    let params = candle_nn::ParamsAdamW {
        lr: SETTINGS.lr,
        beta1: SETTINGS.beta1,
        beta2: SETTINGS.beta2,
        eps: SETTINGS.eps,
        weight_decay: SETTINGS.weight_decay,
    };
    let mut our = AdamW::new(ours.clone(), SETTINGS).unwrap();
    let mut their = candle_nn::AdamW::new(theirs.clone(), params).unwrap();
    let loss = |vars: &[Var]| {
        (vars[0].sqr().unwrap().sum_all().unwrap() + vars[1].sqr().unwrap().sum_all().unwrap())
            .unwrap()
    };
    for _ in 0..5 {
        our.step(&loss(&ours).backward().unwrap()).unwrap();
        their.step(&loss(&theirs).backward().unwrap()).unwrap();
    }
    for (ours, theirs) in ours.iter().zip(&theirs) {
        near("weights", &numbers(ours).unwrap(), &numbers(theirs).unwrap(), 1e-6);
    }
}

#[test]
fn adamw_is_candles() {
    check_adamw(DType::F32);
    check_adamw(DType::F64);
}

#[test]
fn clipping_keeps_directions() {
    for (max_norm, expected) in [(1.0, 1.0), (1e6, f64::INFINITY)] {
        let vars = [noise(1, &[3, 5]), noise(2, &[7])].map(|x| Var::from_tensor(&x).unwrap());
        let loss = (vars[0].sqr().unwrap().sum_all().unwrap()
            + vars[1].sqr().unwrap().sum_all().unwrap())
        .unwrap();
        let mut gradients = loss.backward().unwrap();
        let before: Vec<_> =
            vars.iter().flat_map(|var| numbers(gradients.get(var).unwrap()).unwrap()).collect();
        let norm = fused::clip_gradients(&mut gradients, &vars, max_norm).unwrap();
        let exact = before.iter().map(|x| x * x).sum::<f64>().sqrt();
        near("norm", &[norm], &[exact], 1e-6);
        let after: Vec<_> =
            vars.iter().flat_map(|var| numbers(gradients.get(var).unwrap()).unwrap()).collect();
        let factor = (expected / exact).min(1.0);
        let scaled: Vec<_> = before.iter().map(|x| x * factor).collect();
        near("gradients", &after, &scaled, 1e-6);
    }
}

fn weights(n_layers: usize, d_model: usize, d_vocab: usize, n_ctx: usize) -> Weights {
    let mut weights = Weights::new();
    let mut seed = 0;
    let mut draw = |name: String, shape: &[usize]| {
        seed += 1;
        weights.insert(&name, (noise(seed, shape) * 0.2).unwrap());
    };
    draw("wte.weight".to_owned(), &[d_vocab, d_model]);
    draw("wpe.weight".to_owned(), &[n_ctx, d_model]);
    for layer in 0..n_layers {
        for (name, d_in, d_out) in [
            ("attn.c_attn", d_model, 3 * d_model),
            ("attn.c_proj", d_model, d_model),
            ("mlp.c_fc", d_model, 4 * d_model),
            ("mlp.c_proj", 4 * d_model, d_model),
        ] {
            draw(format!("h.{layer}.{name}.weight"), &[d_in, d_out]);
            draw(format!("h.{layer}.{name}.bias"), &[d_out]);
        }
        for name in [format!("h.{layer}.ln_1"), format!("h.{layer}.ln_2")] {
            draw(format!("{name}.weight"), &[d_model]);
            draw(format!("{name}.bias"), &[d_model]);
        }
    }
    draw("ln_f.weight".to_owned(), &[d_model]);
    draw("ln_f.bias".to_owned(), &[d_model]);
    weights
}

fn in_f64(weights: &Weights) -> Weights {
    weights.iter().map(|(name, x)| (name.to_owned(), x.to_dtype(DType::F64).unwrap())).collect()
}

#[track_caller]
fn same(what: &str, found: &Weights, expected: &Weights, bound: f64) {
    for (name, expected) in expected.iter() {
        let found = numbers(found.get(name).unwrap()).unwrap();
        near(&format!("{what} of {name}"), &found, &numbers(expected).unwrap(), bound);
    }
}

/// In `f64` a GPT is candle's plain operations; in `f32` its blocks have to do the same.
#[track_caller]
fn check_gpt(batch: usize, seq: usize, n_heads: usize, d_model: usize) {
    let weights = weights(2, d_model, 11, seq + 3);
    let (tokens, targets) = (ids(1, &[batch, seq], 11), ids(2, &[batch, seq], 11));
    let mut blocks = Gpt::new(&weights, n_heads).unwrap();
    let mut plain = Gpt::new(&in_f64(&weights), n_heads).unwrap();
    for _ in 0..3 {
        let losses = [&blocks, &plain].map(|gpt| gpt.loss(&tokens, &targets).unwrap());
        near("loss", &numbers(&losses[0]).unwrap(), &numbers(&losses[1]).unwrap(), 1e-5);
        let stores = losses.map(|loss| loss.backward().unwrap());
        let found = blocks.parameters().gradients(&stores[0]).unwrap();
        let expected = plain.parameters().gradients(&stores[1]).unwrap();
        same("the gradient", &found, &expected, 1e-5);
        // A large `eps`, because Adam divides by gradients that may be rounding errors.
        let settings = AdamWSettings { eps: 1e-2, lr: 0.01, ..SETTINGS };
        let norms = [
            blocks.parameters_mut().step(&stores[0], settings, Some(0.5)).unwrap(),
            plain.parameters_mut().step(&stores[1], settings, Some(0.5)).unwrap(),
        ];
        near("norm", &norms[..1], &norms[1..], 1e-5);
    }
    let logits = [&blocks, &plain].map(|gpt| numbers(&gpt.logits(&tokens).unwrap()).unwrap());
    near("logits", &logits[0], &logits[1], 1e-4);
    let (found, expected) = (blocks.parameters(), plain.parameters());
    same("the weight", &found.weights().unwrap(), &expected.weights().unwrap(), 1e-4);
}

#[test]
fn a_gpt_of_blocks_is_the_plain_one() {
    check_gpt(1, 1, 1, 3);
    check_gpt(3, 7, 2, 10);
    check_gpt(2, 70, 4, 64);
}

#[test]
fn gradients_add_up_until_a_step() {
    let weights = weights(1, 8, 11, 5);
    let gpt = Gpt::new(&weights, 2).unwrap();
    let (tokens, targets) = (ids(1, &[2, 5], 11), ids(2, &[2, 5], 11));
    let back = || gpt.loss(&tokens, &targets).unwrap().backward().unwrap();
    let once = gpt.parameters().gradients(&back()).unwrap();
    let twice = gpt.parameters().gradients(&back()).unwrap();
    let double = |(name, x): (&str, &Tensor)| (name.to_owned(), (x * 2.0).unwrap());
    same("twice the gradient", &twice, &once.iter().map(double).collect(), 1e-6);
    gpt.parameters().clear_gradients();
    same("the gradient", &gpt.parameters().gradients(&back()).unwrap(), &once, 0.0);
}

#[test]
fn plain_operations_on_a_weight_add_to_its_gradient() {
    let weights = weights(1, 8, 11, 5);
    let gpt = Gpt::new(&weights, 2).unwrap();
    let (tokens, targets) = (ids(1, &[2, 5], 11), ids(2, &[2, 5], 11));
    let loss = gpt.loss(&tokens, &targets).unwrap();
    let alone = gpt.parameters().gradients(&loss.backward().unwrap()).unwrap();
    gpt.parameters().clear_gradients();
    let penalty = gpt.parameters().get("wpe.weight").unwrap().sum_all().unwrap();
    let loss = (gpt.loss(&tokens, &targets).unwrap() + penalty).unwrap();
    let both = gpt.parameters().gradients(&loss.backward().unwrap()).unwrap();
    let more = |(name, x): (&str, &Tensor)| {
        let more = if name == "wpe.weight" { 1.0 } else { 0.0 };
        (name.to_owned(), (x + more).unwrap())
    };
    same("the gradient", &both, &alone.iter().map(more).collect(), 1e-6);
}
