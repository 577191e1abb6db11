//! Writes one page of each kind, for eyes: `cargo run -p pictures --example gallery -- FOLDER`.

use std::{fs, io, path::PathBuf};

use pictures::{
    Belief, Disc, Guess, HeadPattern, Line, attention_patterns, logit_lens, othello_board,
    patching, probe_accuracy,
};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    fs::create_dir_all(&folder)?;
    let text = ["The", " cat", " sat", ".", " The", " cat", " sat", ".", " The", " cat", " sat"];
    let tokens: Vec<String> = text.map(str::to_owned).to_vec();
    let pages = [
        ("attention", attention_patterns("Where the heads look", &tokens, &heads(tokens.len()))),
        ("lens", logit_lens("The logit lens on a repeated text", &tokens, &lens(&tokens))),
        ("patching", patching("Patching the residual stream", &tokens, &heat(tokens.len()))),
        ("probe", probe()),
        ("board", board()),
    ];
    for (name, page) in pages {
        fs::write(folder.join(format!("{name}.html")), page)?;
    }
    Ok(())
}

/// Numbers that look drawn, from 0 to 1.
fn noise(n: usize) -> f64 {
    ((n as f64 * 12.9898).sin() * 43_758.545_3).fract().abs()
}

fn heads(seq: usize) -> Vec<HeadPattern> {
    let names = ["previous token", "first token", "itself", "induction"];
    let aim = |kind: usize, q: usize| match kind {
        0 => q.saturating_sub(1),
        1 => 0,
        2 => q,
        _ => (q + 1).saturating_sub(4) % seq,
    };
    let row = |kind: usize, q: usize| -> Vec<f64> {
        let weight = |k: usize| {
            if k > q {
                0.0
            } else {
                0.3 * noise(kind * 97 + q * 31 + k) + if k == aim(kind, q) { 4.0 } else { 0.0 }
            }
        };
        let total: f64 = (0..seq).map(weight).sum();
        (0..seq).map(|k| weight(k) / total).collect()
    };
    let head = |(kind, name): (usize, &str)| HeadPattern {
        name: format!("block {}, head {}: {name}", kind / 2, kind % 2),
        pattern: (0..seq).map(|q| row(kind, q)).collect(),
    };
    names.into_iter().enumerate().map(head).collect()
}

fn lens(tokens: &[String]) -> Vec<(String, Vec<Guess>)> {
    let names = ["the embedding", "block 0", "block 1", "block 2"];
    let guess = |layer: usize, at: usize| {
        let is_right = at >= 4 && layer >= 2 || noise(layer * 17 + at) > 0.85;
        let right = tokens.get(at + 1).map_or(".", String::as_str);
        let chance =
            if is_right { 0.3 + 0.2 * layer as f64 } else { 0.05 + 0.3 * noise(at + layer) };
        let token = if is_right { right } else { [" on", " a", ",", " mat"][(at + layer) % 4] };
        Guess { token: token.to_owned(), chance: chance.min(0.98), is_right }
    };
    let row = |(layer, name): (usize, &&str)| {
        ((*name).to_owned(), (0..tokens.len()).map(|at| guess(layer, at)).collect())
    };
    names.iter().enumerate().map(row).collect()
}

fn heat(seq: usize) -> Vec<(String, Vec<f64>)> {
    let value = |layer: usize, at: usize| match (layer, at) {
        (0 | 1, 2) => 0.97 - 0.05 * layer as f64,
        (1 | 2, 3) => 0.62,
        (2 | 3, 10) => 0.9,
        (3, 4) => -0.66,
        _ => 0.12 * (noise(layer * 53 + at) - 0.5),
    };
    let row = |layer| (format!("block {layer}"), (0..seq).map(|at| value(layer, at)).collect());
    (0..4).map(row).collect()
}

fn probe() -> String {
    let layers: Vec<String> = (0..5).map(|n| format!("block {n}")).collect();
    let line = |name: &str, values: [f64; 5], is_control| Line {
        name: name.to_owned(),
        values: values.to_vec(),
        is_control,
    };
    let lines = [
        line("mine or theirs", [0.62, 0.74, 0.88, 0.96, 0.97], false),
        line("black or white", [0.60, 0.64, 0.69, 0.72, 0.71], false),
        line("random labels", [0.38, 0.40, 0.41, 0.39, 0.37], true),
        line("model without training", [0.58, 0.60, 0.59, 0.60, 0.59], true),
    ];
    probe_accuracy("A probe for the board, layer by layer", &layers, &lines)
}

fn board() -> String {
    let rows = ["......", "..wb..", ".wwbb.", "..bbw.", "...bw.", "......"];
    let disc = |c| match c {
        'b' => Disc::Black,
        'w' => Disc::White,
        _ => Disc::Empty,
    };
    let truth: Vec<Disc> = rows.concat().chars().map(disc).collect();
    let belief: Vec<Belief> = truth
        .iter()
        .enumerate()
        .map(|(at, &disc)| match at {
            16 => Belief { disc: Disc::White, chance: 0.58 },
            26 => Belief { disc: Disc::Empty, chance: 0.49 },
            _ => Belief { disc, chance: 0.7 + 0.3 * noise(at) },
        })
        .collect();
    othello_board("The board after move 9", &truth, &belief)
}
