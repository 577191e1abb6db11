//! What the shipped models that read drawn sequences can do, by the hooked model.
//!
//! The sequences are held out: no configuration has their seed.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;

use candle_core::{D, Device, Tensor};
use datasets::{
    othello::{Game, SQUARES, games},
    repeats::{Repeats, repeats},
};
use models::{
    Gpt,
    hook::{Hook, Place},
};
use train_assets::{ALL, Config, HELD_OUT};

/// A shipped model of which the ledger holds the file, and the words of which are its
/// configuration.
#[track_caller]
fn shipped(name: &str) -> (Gpt, Config, BTreeMap<String, String>) {
    let config = ALL.into_iter().find(|config| config.name == name).unwrap();
    let (gpt, about) = Gpt::from_safetensors(&datasets::model(name).unwrap()).unwrap();
    let steps = about["steps"].parse().unwrap();
    for (word, number) in (Config { steps, ..config }).about() {
        assert_eq!(about.get(&word), Some(&number), "{word} in the words about {name}");
    }
    assert!(about["schedule"].ends_with(&about["steps"]), "{}", about["schedule"]);
    (gpt, config, about)
}

/// The token that a model has first behind each token.
fn first(gpt: &Gpt, rows: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let shape = (rows.len(), rows[0].len());
    let x = Tensor::from_vec(rows.concat(), shape, &Device::Cpu).unwrap();
    gpt.forward(&x, &mut ()).unwrap().argmax(D::Minus1).unwrap().to_vec2().unwrap()
}

/// Proves that an induction model continues what is repeated.
#[track_caller]
fn continues(name: &str) {
    let (gpt, config, _) = shipped(name);
    assert!(!config.has_mlps && gpt.n_layers() == 2);
    let rows: Vec<_> = repeats(HELD_OUT, 1, 65).take(200).collect();
    let read: Vec<_> = rows.iter().map(|row| row.tokens[..64].to_vec()).collect();
    let (mut right, mut all) = (0u32, 0u32);
    for (row, first) in rows.iter().zip(first(&gpt, &read)) {
        for place in (1..65).filter(|&place| row.can_be_told(place)) {
            all += 1;
            right += u32::from(first[place - 1] == row.tokens[place]);
        }
    }
    let accuracy = f64::from(right) / f64::from(all);
    println!("{name}: {accuracy:.4} of {all} repeated tokens");
    assert!(accuracy >= 0.95, "{name}: {accuracy}");
}

#[test]
fn induction_continues_what_is_repeated() {
    continues("induction");
}

#[test]
fn its_siblings_do_too() {
    continues("induction_b");
    continues("induction_c");
}

/// Proves of an Othello model how many of its first moves are legal, and how near its loss is to
/// the exact floor.
#[track_caller]
fn plays(name: &str, legal_enough: f64, near_enough: f64) {
    let (gpt, _, _) = shipped(name);
    let games: Vec<_> = games(HELD_OUT, 1).take(200).collect();
    let pad = |game: &Game| {
        let moves = game.moves.iter().map(|&square| u32::from(square));
        moves.chain(std::iter::repeat(0)).take(32).collect::<Vec<_>>()
    };
    let x: Vec<u32> = games.iter().flat_map(pad).collect();
    let x = Tensor::from_vec(x, (games.len(), 32), &Device::Cpu).unwrap();
    let logits = gpt.forward(&x, &mut ()).unwrap();
    let nats = candle_nn::ops::log_softmax(&logits, D::Minus1).unwrap().to_vec3::<f32>().unwrap();
    let (mut legal, mut all, mut loss, mut floor) = (0.0, 0.0, 0.0, 0.0);
    for (game, nats) in games.iter().zip(nats) {
        floor += game.floor() * (game.moves.len() - 1) as f64;
        for at in 1..game.moves.len() {
            let (nats, moves) = (&nats[at - 1], game.boards[at].legal_moves());
            let best = (0..SQUARES).max_by(|&a, &b| nats[a].total_cmp(&nats[b])).unwrap();
            legal += f64::from(u8::from(moves.contains(&best)));
            let surprise = moves.iter().map(|&square| -f64::from(nats[square])).sum::<f64>();
            loss += surprise / moves.len() as f64;
            all += 1.0;
        }
    }
    let (legal, above) = (legal / all, (loss - floor) / all);
    println!("{name}: {legal:.4} legal first moves, {above:.4} nats above {:.4}", floor / all);
    assert!(legal >= legal_enough, "{name}: {legal}");
    assert!((0.0..=near_enough).contains(&above), "{name}: {above}");
}

#[test]
fn othello_plays_legal_moves() {
    plays("othello", 0.98, 0.15);
    plays("othello_b", 0.98, 0.15);
}

#[test]
fn all_are_small() {
    let names = ["induction", "induction_b", "induction_c", "othello", "othello_b"];
    let bytes = names.map(|name| datasets::model(name).unwrap().len());
    assert!(bytes.iter().sum::<usize>() <= 3_000_000, "{bytes:?} bytes");
}

/// Proves that a model does it by the known circuit: some head in block 0 looks at the token
/// before, and some head in block 1 at what followed the same token earlier.
#[track_caller]
fn has_the_circuit(name: &str) {
    let (gpt, _, _) = shipped(name);
    let rows: Vec<_> = repeats(HELD_OUT, 2, 65).take(50).collect();
    let x: Vec<u32> = rows.iter().flat_map(|row| row.tokens[..64].to_vec()).collect();
    let x = Tensor::from_vec(x, (rows.len(), 64), &Device::Cpu).unwrap();
    let mut patterns = Vec::new();
    let mut look = |hook: Hook, value: Tensor| {
        if hook.place == Place::Pattern {
            patterns.push(value.clone());
        }
        Ok(value)
    };
    gpt.forward(&x, &mut look).unwrap();
    // How much of its attention the best head of a block gives, on average, to some places.
    let best = |layer: usize, aims: &dyn Fn(&Repeats, usize) -> Vec<usize>| {
        let mut sums = vec![0.0; gpt.n_heads()];
        let mut all = 0.0;
        for (n, row) in rows.iter().enumerate() {
            let pattern = patterns[layer].get(n).unwrap().to_vec3::<f32>().unwrap();
            for query in row.fresh..64 {
                all += 1.0;
                for (sum, head) in sums.iter_mut().zip(&pattern) {
                    *sum += aims(row, query)
                        .iter()
                        .map(|&key| f64::from(head[query][key]))
                        .sum::<f64>();
                }
            }
        }
        sums.into_iter().fold(0.0, f64::max) / all
    };
    let previous = best(0, &|_, query| vec![query - 1]);
    let induction = best(1, &|row, query| {
        let start = row.fresh - row.period;
        let followed = (1..).map_while(|n| (query + 1).checked_sub(n * row.period));
        followed.take_while(|&key| key >= start).collect()
    });
    println!("{name}: {previous:.3} at the token before, {induction:.3} at what followed");
    assert!(previous > 0.15 && induction > 0.5, "{name}: {previous} {induction}");
}

#[test]
fn two_heads_in_a_row_do_it() {
    has_the_circuit("induction");
    has_the_circuit("induction_b");
    has_the_circuit("induction_c");
}
