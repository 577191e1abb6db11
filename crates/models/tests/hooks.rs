//! What a model does at its hooks, and what it says of damaged tensors.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};
use models::{
    Gpt,
    hook::{Hook, Hooks, Place},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};

const N_HEADS: usize = 2;
const BATCH: usize = 3;
const SEQ: usize = 5;

/// Which tensors a model has.
#[derive(Clone, Copy, PartialEq)]
enum Parts {
    /// Everything, with tied ends.
    Whole,
    /// Attention without biases, and a matrix of its own to unembed.
    Bare,
}

use Parts::{Bare, Whole};

/// Two blocks of width 6 with 7 tokens, 8 places and `d_mlp` 11.
fn tensors(parts: Parts) -> BTreeMap<String, Tensor> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut all = BTreeMap::new();
    let mut draw = |name: &str, shape: &[usize]| {
        let number = |_| f64::from(rng.next_u32()) / f64::from(u32::MAX) - 0.5;
        let numbers: Vec<f64> = (0..shape.iter().product()).map(number).collect();
        let tensor = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
        all.insert(name.to_owned(), tensor);
    };
    draw("wte.weight", &[7, 6]);
    if parts == Whole {
        draw("wpe.weight", &[8, 6]);
    }
    if parts == Bare {
        draw("lm_head.weight", &[7, 6]);
    }
    let mut places = vec![("ln_f".to_owned(), vec![6])];
    for n in 0..2 {
        places.push((format!("h.{n}.ln_1"), vec![6]));
        places.push((format!("h.{n}.attn.c_attn"), vec![6, 18]));
        places.push((format!("h.{n}.attn.c_proj"), vec![6, 6]));
        places.push((format!("h.{n}.ln_2"), vec![6]));
        places.push((format!("h.{n}.mlp.c_fc"), vec![6, 11]));
        places.push((format!("h.{n}.mlp.c_proj"), vec![11, 6]));
    }
    for (name, shape) in places {
        if parts == Bare && !name.contains("attn") {
            continue;
        }
        draw(&format!("{name}.weight"), &shape);
        if parts == Whole {
            draw(&format!("{name}.bias"), &shape[shape.len() - 1..]);
        }
    }
    all
}

fn model(parts: Parts) -> Gpt {
    Gpt::new(tensors(parts).into_iter().collect(), N_HEADS).unwrap()
}

fn tokens() -> Tensor {
    let ids = (0..BATCH * SEQ).map(|n| (n * n % 7) as u32).collect();
    Tensor::from_vec(ids, (BATCH, SEQ), &Device::Cpu).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u64> {
    let numbers = tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    numbers.into_iter().map(f64::to_bits).collect()
}

/// Every value of a forward pass, in the order of its hooks, and the logits.
fn all_values(gpt: &Gpt) -> (Vec<(Hook, Tensor)>, Tensor) {
    let mut cache = Vec::new();
    let mut look = |hook, value: Tensor| {
        cache.push((hook, value.clone()));
        Ok(value)
    };
    let logits = gpt.forward(&tokens(), &mut look).unwrap();
    (cache, logits)
}

fn shape_at(place: Place) -> Vec<usize> {
    match place {
        Place::Q | Place::K | Place::V | Place::Z => vec![BATCH, SEQ, N_HEADS, 3],
        Place::Scores | Place::Pattern => vec![BATCH, N_HEADS, SEQ, SEQ],
        Place::Norm1Scale | Place::Norm2Scale | Place::FinalScale => vec![BATCH, SEQ, 1],
        Place::MlpPre | Place::MlpPost => vec![BATCH, SEQ, 11],
        _ => vec![BATCH, SEQ, 6],
    }
}

/// Proves which hooks a model stops at, in order, and the shape of each value.
#[track_caller]
fn stops_at(parts: Parts, expected: impl Fn(&Place) -> bool) {
    let (cache, logits) = all_values(&model(parts));
    let mut hooks = Vec::new();
    let places = |from: usize, to: usize| Place::ALL[from..to].iter().copied().filter(&expected);
    hooks.extend(places(0, 2).map(Hook::of_model));
    for layer in 0..2 {
        hooks.extend(places(2, 19).map(|place| Hook::in_block(place, layer)));
    }
    hooks.extend(places(19, 21).map(Hook::of_model));
    assert_eq!(cache.iter().map(|(hook, _)| *hook).collect::<Vec<_>>(), hooks);
    for (hook, value) in cache {
        assert_eq!(value.dims(), shape_at(hook.place), "{hook}");
    }
    assert_eq!(logits.dims(), [BATCH, SEQ, 7]);
}

#[test]
fn a_whole_model_stops_everywhere() {
    stops_at(Whole, |_| true);
}

#[test]
fn what_is_left_out_has_no_hooks() {
    use Place::{AttnOut, Embed, K, Pattern, Q, ResidPost, ResidPre, Scores, V, Z};
    let has = [Embed, ResidPre, Q, K, V, Scores, Pattern, Z, AttnOut, ResidPost];
    stops_at(Bare, |place| has.contains(place));
}

/// Proves that neither hooks that do nothing nor a value put back changes a bit.
#[track_caller]
fn changes_nothing(parts: Parts) {
    let gpt = model(parts);
    let plain = bits(&gpt.forward(&tokens(), &mut ()).unwrap());
    let (cache, logits) = all_values(&gpt);
    assert_eq!(bits(&logits), plain, "looking everywhere");
    let dynamic: &mut dyn Hooks = &mut ();
    assert_eq!(bits(&gpt.forward(&tokens(), dynamic).unwrap()), plain, "behind a `dyn`");
    for (place, value) in &cache {
        // As it would come back over the border: the same numbers, lying row by row.
        let numbers = value.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let value = Tensor::from_vec(numbers, value.shape(), &Device::Cpu).unwrap();
        let mut put_back = |hook, old| Ok(if hook == *place { value.clone() } else { old });
        let logits = gpt.forward(&tokens(), &mut put_back).unwrap();
        assert_eq!(bits(&logits), plain, "{place} put back");
    }
}

#[test]
fn hooks_that_do_nothing_change_no_bit() {
    changes_nothing(Whole);
    changes_nothing(Bare);
}

#[test]
fn a_change_at_any_hook_reaches_the_logits() {
    let gpt = model(Whole);
    let (cache, logits) = all_values(&gpt);
    for (place, _) in cache {
        let mut change = |hook: Hook, value: Tensor| {
            if hook != place {
                return Ok(value);
            }
            // Softmax does not see a constant, so each score grows by another number.
            let n = value.elem_count() as u32;
            let ramp = Tensor::arange(0, n, &Device::Cpu)?.to_dtype(DType::F64)?;
            value.add(&(ramp.reshape(value.shape())? * 0.1)?)
        };
        let changed = gpt.forward(&tokens(), &mut change).unwrap();
        assert_ne!(bits(&changed), bits(&logits), "{place}");
    }
}

#[test]
fn a_later_token_changes_nothing_before_it() {
    let gpt = model(Whole);
    let early = gpt.forward(&tokens().narrow(1, 0, 3).unwrap(), &mut ()).unwrap();
    let whole = gpt.forward(&tokens(), &mut ()).unwrap().narrow(1, 0, 3).unwrap();
    let differs = (early - whole).unwrap().abs().unwrap().max_all().unwrap();
    assert!(differs.to_scalar::<f64>().unwrap() < 1e-12);
}

#[test]
fn another_shape_is_refused() {
    let mut cut = |hook: Hook, value: Tensor| -> Result<Tensor> {
        if hook.place == Place::Z { value.narrow(1, 0, 2) } else { Ok(value) }
    };
    let said = model(Whole).forward(&tokens(), &mut cut).unwrap_err().to_string();
    assert!(said.contains("at `blocks.0.attn.hook_z` came F64 of [3, 2, 2, 3]"), "{said}");
}

/// Proves what is said of one damaged tensor.
#[track_caller]
fn damaged(change: impl Fn(&mut BTreeMap<String, Tensor>), said: &str) {
    let mut tensors = tensors(Whole);
    change(&mut tensors);
    let found = Gpt::new(tensors.into_iter().collect(), N_HEADS).unwrap_err().to_string();
    assert!(found.contains(said), "{found}");
}

fn zeros(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::zeros(shape, dtype, &Device::Cpu).unwrap()
}

fn put(name: &str, tensor: Tensor) -> impl Fn(&mut BTreeMap<String, Tensor>) {
    move |tensors| drop(tensors.insert(name.to_owned(), tensor.clone()))
}

fn without(prefix: &str) -> impl Fn(&mut BTreeMap<String, Tensor>) {
    move |tensors| tensors.retain(|name, _| !name.starts_with(prefix))
}

#[test]
fn a_missing_tensor_is_named() {
    damaged(without("wte"), "`wte.weight`");
    damaged(without("ln_f.weight"), "`ln_f.weight`");
    damaged(without("h.1.attn.c_attn.weight"), "`h.1.attn.c_attn.weight`");
    damaged(without("h.0.mlp.c_proj.weight"), "`h.0.mlp.c_proj.weight`");
    damaged(without("h.0."), "no tensor of block `h.0`, but there are of `h.1`");
}

#[test]
fn a_misshapen_tensor_is_named() {
    damaged(put("wpe.weight", zeros(&[8, 5], DType::F64)), "`wpe.weight` has shape [8, 5]");
    damaged(put("wte.weight", zeros(&[7], DType::F64)), "`wte.weight` is no matrix");
    let turned = zeros(&[18, 6], DType::F64);
    damaged(put("h.1.attn.c_attn.weight", turned), "`h.1.attn.c_attn.");
    let short = zeros(&[17], DType::F64);
    damaged(put("h.0.attn.c_attn.bias", short), "`h.0.attn.c_attn.bias` has shape [17]");
    let odd = zeros(&[6, 20], DType::F64);
    damaged(put("h.0.attn.c_attn.weight", odd), "`h.0.attn.c_attn.weight` has 20 columns");
}

#[test]
fn a_number_that_is_not_finite_is_named() {
    let hidden = Tensor::new(&[0.0, 1.0, f64::NAN, 0.0, 0.0, 0.0], &Device::Cpu).unwrap();
    damaged(put("h.1.ln_2.bias", hidden), "`h.1.ln_2.bias` holds a number that is not finite");
}

#[test]
fn another_dtype_is_named() {
    damaged(put("ln_f.bias", zeros(&[6], DType::F32)), "`ln_f.bias` has dtype F32");
}

#[test]
fn an_unused_tensor_is_named() {
    damaged(put("h.0.attn.c_extra.weight", zeros(&[1], DType::F64)), "`h.0.attn.c_extra.weight`");
    damaged(without("h.1.mlp"), "there is `h.1.ln_2`, but no MLP that would read it");
}

#[test]
fn masks_are_passed_over() {
    let mut tensors = tensors(Whole);
    tensors.insert("h.0.attn.bias".to_owned(), zeros(&[1, 1, 8, 8], DType::F64));
    Gpt::new(tensors.into_iter().collect(), N_HEADS).unwrap();
}

/// Proves what is said of tokens that cannot be read.
#[track_caller]
fn unread(tokens: &Tensor, said: &str) {
    let found = model(Whole).forward(tokens, &mut ()).unwrap_err().to_string();
    assert!(found.contains(said), "{found}");
}

#[test]
fn unknown_and_too_many_tokens_are_named() {
    unread(&Tensor::new(&[[1u32, 7]], &Device::Cpu).unwrap(), "holds 7, but the model knows 7");
    unread(&zeros(&[1, 9], DType::U32), "a seq of 9, longer than a context of 8");
    unread(&zeros(&[0, 3], DType::U32), "which holds none");
}
