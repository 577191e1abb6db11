//! Every compiled model does its task, by the heads that the answer key names, and hides how.

mod forward;

use circuits::{Circuit, Head, Prompt, Role, Task, Weight, compile};

use forward::{Run, row};

const SEEDS: std::ops::Range<u64> = 0..50;

/// The part of the decided answers that are the largest logit.
fn accuracy(circuit: &Circuit, run: &Run) -> f64 {
    let (mut right, mut decided) = (0, 0);
    for seed in 100..108 {
        let Prompt { tokens, answers } = circuit.prompt(seed);
        let logits = run.of(circuit, &tokens).logits;
        for (logits, answer) in logits.iter().zip(answers) {
            let Some(answer) = answer else { continue };
            decided += 1;
            right += usize::from((0..logits.len()).all(|other| logits[other] <= logits[answer]));
        }
    }
    assert!(decided >= 8, "{:?} decides {decided} answers", circuit.task);
    f64::from(right as u32) / f64::from(decided)
}

fn without(head: Head) -> Run<'static> {
    Run { without: Some((head.layer, head.head)), ..Run::default() }
}

#[track_caller]
fn check_heads(task: Task) {
    for seed in SEEDS {
        let circuit = compile(task, seed);
        assert_eq!(circuit.heads.len(), circuit.n_layers * circuit.n_heads);
        let whole = accuracy(&circuit, &Run::default());
        assert!(whole >= 1.0, "seed {seed}: {task:?} is right in {whole} of all cases");
        for &head in &circuit.heads {
            let left = accuracy(&circuit, &without(head));
            if head.carries {
                assert!(left < 0.7, "seed {seed}: {left} is left without {head:?}");
            } else {
                assert!(left >= 1.0, "seed {seed}: {left} is left without {head:?}");
            }
        }
    }
}

#[test]
fn induction_needs_its_two_heads_alone() {
    check_heads(Task::Induction);
}

#[test]
fn duplicate_needs_its_head_alone() {
    check_heads(Task::Duplicate);
}

#[test]
fn first_needs_its_head_alone() {
    check_heads(Task::First);
}

#[test]
fn count_needs_its_head_alone() {
    check_heads(Task::Count);
}

/// Weight that a head gives on average to what its role looks at, where there is such a thing.
fn attention(circuit: &Circuit, head: Head) -> Option<f64> {
    let (mut sum, mut queries) = (0.0, 0.0);
    for seed in 200..204 {
        let tokens = circuit.prompt(seed).tokens;
        let trace = Run::default().of(circuit, &tokens);
        for (query, row) in trace.patterns[head.layer][head.head].iter().enumerate().skip(1) {
            let same = |at: usize| tokens[at] == tokens[query];
            let looks_at: Vec<bool> = (0..=query)
                .map(|key| match head.role {
                    Role::Previous => key + 1 == query,
                    Role::Current => key == query,
                    Role::First => key == 0,
                    Role::Duplicate => key < query && same(key),
                    Role::Induction => key > 0 && same(key - 1),
                    Role::Count | Role::Uniform | Role::Random => true,
                })
                .collect();
            if looks_at.contains(&true) {
                queries += 1.0;
                sum +=
                    row.iter().zip(looks_at).map(|(w, is)| if is { *w } else { 0.0 }).sum::<f64>();
            }
        }
    }
    (queries > 0.0).then(|| sum / queries)
}

#[test]
fn heads_look_where_their_roles_say() {
    for task in Task::ALL {
        for seed in SEEDS {
            let circuit = compile(task, seed);
            for &head in &circuit.heads {
                let weight = attention(&circuit, head).unwrap_or(1.0);
                assert!(weight > 0.98, "seed {seed}, {task:?}: {head:?} gives {weight} to it");
            }
        }
    }
}

/// The effect of one cell, 0 for none and 1 for all of it.
fn effect(circuit: &Circuit, seed: u64, run: impl Fn(usize, usize) -> f64, truth: &[Vec<bool>]) {
    for (layer, row) in truth.iter().enumerate() {
        for (at, &carries) in row.iter().enumerate() {
            let (got, expected) = (run(layer, at), f64::from(u8::from(carries)));
            assert!(
                (got - expected).abs() < 0.1,
                "{:?} {seed}: {got} at layer {layer}, position {at}, not {expected}",
                circuit.task
            );
        }
    }
}

#[test]
fn the_difference_is_carried_where_the_answer_key_says() {
    for task in Task::ALL {
        for seed in SEEDS {
            let circuit = compile(task, seed);
            let contrast = circuit.contrast(seed + 1);
            let differs = contrast.clean.iter().zip(&contrast.corrupt).filter(|(a, b)| a != b);
            assert_eq!(differs.count(), 1);
            let clean = Run::default().of(&circuit, &contrast.clean);
            let last = circuit.n_ctx - 1;
            let ahead = |run: &Run, tokens: &[usize]| {
                let logits = &run.of(&circuit, tokens).logits[last];
                logits[contrast.correct] - logits[contrast.wrong]
            };
            let best = ahead(&Run::default(), &contrast.clean);
            let worst = ahead(&Run::default(), &contrast.corrupt);
            assert!(best > 1.0 && worst < best - 1.0, "{task:?} {seed}: {best} against {worst}");
            let of = |run: Run| (ahead(&run, &contrast.corrupt) - worst) / (best - worst);
            let resid_pre = |layer: usize, at: usize| {
                let vector = clean.resid_pre[layer][at].as_slice();
                of(Run { resid_pre: Some((layer, at, vector)), ..Run::default() })
            };
            effect(&circuit, seed, resid_pre, &contrast.resid_pre(circuit.n_layers));
            let attn_out = |layer: usize, at: usize| {
                let vector = clean.attn_out[layer][at].as_slice();
                of(Run { attn_out: Some((layer, at, vector)), ..Run::default() })
            };
            effect(&circuit, seed, attn_out, &contrast.attn_out(circuit.n_layers));
        }
    }
}

/// The largest share that one entry of a row has of the row's squares.
fn share(weight: &Weight) -> f64 {
    let share = |at: usize| {
        let row = row(weight, at);
        let squares = row.iter().map(|value| value * value);
        squares.clone().fold(0.0, f64::max) / squares.sum::<f64>()
    };
    (0..weight.shape[0]).map(share).fold(0.0, f64::max)
}

#[test]
fn no_axis_means_anything() {
    for task in Task::ALL {
        for seed in SEEDS {
            let circuit = compile(task, seed);
            for (name, weight) in &circuit.weights {
                assert!(weight.values.iter().all(|value| value.is_finite()), "{name}");
                let tiny = weight.values.iter().filter(|value| value.abs() < 1e-9).count();
                assert!(tiny <= weight.values.len() / 1000, "{task:?} {seed}: {tiny} in {name}");
                let share = share(weight);
                assert!(share < 0.6, "{task:?} {seed}: an entry has {share} of its row of {name}");
            }
        }
    }
}

#[test]
fn a_seed_repeats_and_another_differs() {
    for task in Task::ALL {
        assert_eq!(compile(task, 5), compile(task, 5));
        assert_ne!(compile(task, 5).weights, compile(task, 6).weights);
        assert_eq!(compile(task, 5).contrast(1), compile(task, 5).contrast(1));
    }
}

#[test]
fn carriers_stand_everywhere() {
    for (task, role) in [(Task::First, Role::First), (Task::Induction, Role::Induction)] {
        let places = SEEDS.map(|seed| compile(task, seed).head(role)).collect::<Vec<_>>();
        for head in 0..3 {
            assert!(places.iter().flatten().any(|place| place.head == head), "{role:?} {head}");
        }
        for layer in usize::from(task == Task::Induction)..3 {
            assert!(places.iter().flatten().any(|place| place.layer == layer), "{role:?} {layer}");
        }
    }
}
