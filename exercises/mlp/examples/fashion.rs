//! To go further: your own `train`, on pictures of clothes in ten classes.
//!
//! It needs the parts `linear`, `relu`, `cross_entropy`, `kaiming_init`, `dropout`, `adamw` and
//! `train`. Run it with `cargo run -p mlp --example fashion`, then change what stands in capitals.

use std::error::Error;

use candle_core::{D, DType, Device, Result, Tensor};
use datasets::{Labelled, Split};
use mlp::{
    linear,
    noise::kaiming_init,
    relu,
    train::{Config, train},
};
use wick::Weights;

/// Hidden units.
const D_MLP: usize = 256;

/// How many epochs at which learning rate: large steps first, then small ones.
const SCHEDULE: [(usize, f64); 3] = [(8, 1e-3), (6, 3e-4), (4, 1e-4)];

const DROPOUT: f64 = 0.3;
const WEIGHT_DECAY: f64 = 0.05;
const BATCH: usize = 32;
const SEED: u64 = 0;

/// What the classes are, in the order of their numbers.
const CLASSES: [&str; 10] = [
    "T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
];

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let (images, labels) = tensors(&datasets::fashion(Split::Train)?)?;
    // Every sixth picture is for validation; those of the test are not looked at until the end.
    let (valid, rest): (Vec<u32>, Vec<u32>) = (0..labels.dim(0)? as u32).partition(|n| n % 6 == 4);
    let pick = |n: &[u32]| -> Result<(Tensor, Tensor)> {
        let n = Tensor::new(n, &Device::Cpu)?;
        Ok((images.index_select(&n, 0)?, labels.index_select(&n, 0)?))
    };
    let ((train_x, train_y), (valid_x, valid_y)) = (pick(&rest)?, pick(&valid)?);

    let mut rng = Rng(SEED);
    let mut weights = start(&mut rng, images.dim(1)?)?;
    let n_epochs: usize = SCHEDULE.iter().map(|(n, _)| n).sum();
    let rates = SCHEDULE.iter().flat_map(|&(n, lr)| std::iter::repeat_n(lr, n));
    // One epoch a call, to show each as it happens; so Adam forgets its averages between epochs.
    for (epoch, lr) in rates.enumerate() {
        let mut noise = Weights::new();
        noise.insert("shuffle", rng.uniform(&[1, rest.len()])?);
        noise.insert("dropout", rng.uniform(&[1, rest.len(), D_MLP])?);
        let config = Config {
            epochs: 1,
            batch: BATCH,
            lr,
            weight_decay: WEIGHT_DECAY,
            dropout: DROPOUT,
            patience: 1,
        };
        let losses;
        (weights, losses) =
            train(&train_x, &train_y, &valid_x, &valid_y, &weights, &noise, config)?;
        let loss = losses.get(0)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        let accuracy = share(&hits(&weights, &valid_x, &valid_y)?);
        let bar = format!("{:░<n_epochs$}", "█".repeat(epoch + 1));
        println!(
            "{bar} epoch {:2} of {n_epochs}  lr {lr:.4}  loss (valid) {loss:.3}  accuracy {:.1} %",
            epoch + 1,
            100.0 * accuracy
        );
    }

    let (test_x, test_y) = tensors(&datasets::fashion(Split::Test)?)?;
    let hits = hits(&weights, &test_x, &test_y)?;
    println!(
        "\nOf {} pictures that it never saw it names {:.1} %:",
        hits.len(),
        100.0 * share(&hits)
    );
    let classes = test_y.to_vec1::<u32>()?;
    for (class, name) in CLASSES.iter().enumerate() {
        let of_class = hits.iter().zip(&classes).filter(|(_, c)| **c as usize == class);
        let of_class: Vec<bool> = of_class.map(|(hit, _)| *hit).collect();
        println!("  {name:9} {:5.1} %", 100.0 * share(&of_class));
    }
    Ok(())
}

/// Pictures `(n, 784)` with grey values from 0 to 1, and classes `(n)`.
fn tensors(set: &Labelled) -> Result<(Tensor, Tensor)> {
    let greys: Vec<f32> = set.pixels.iter().map(|&grey| f32::from(grey) / 255.0).collect();
    let labels: Vec<u32> = set.labels.iter().map(|&label| u32::from(label)).collect();
    let (n, cpu) = (set.len(), &Device::Cpu);
    Ok((Tensor::from_vec(greys, (n, set.n_pixels), cpu)?, Tensor::from_vec(labels, n, cpu)?))
}

/// The first weights; biases are 0.
fn start(rng: &mut Rng, n_pixels: usize) -> Result<Weights> {
    let mut weights = Weights::new();
    for (name, d_out, d_in, behind) in
        [("hidden", D_MLP, n_pixels, "relu"), ("output", CLASSES.len(), D_MLP, "linear")]
    {
        let weight = kaiming_init(&rng.uniform(&[d_out, d_in])?, behind)?;
        weights.insert(&format!("{name}.weight"), weight);
        let bias = Tensor::zeros(d_out, DType::F32, &Device::Cpu)?;
        weights.insert(&format!("{name}.bias"), bias);
    }
    Ok(weights)
}

/// For each picture, whether the highest logit is that of its class.
fn hits(weights: &Weights, images: &Tensor, labels: &Tensor) -> Result<Vec<bool>> {
    let layer = |name: &str, x: &Tensor| {
        let bias = weights.get(&format!("{name}.bias"))?;
        linear(x, weights.get(&format!("{name}.weight"))?, Some(bias))
    };
    let logits = layer("output", &relu(&layer("hidden", images)?)?)?; // (n, 10)
    let hits = logits.argmax(D::Minus1)?.eq(labels)?.to_vec1::<u8>()?;
    Ok(hits.into_iter().map(|hit| hit == 1).collect())
}

fn share(hits: &[bool]) -> f64 {
    hits.iter().filter(|hit| **hit).count() as f64 / hits.len() as f64
}

/// Random numbers that repeat (candle's on the CPU cannot be seeded): splitmix64.
struct Rng(u64);

impl Rng {
    /// Draws numbers that are uniform in `[0, 1)`.
    fn uniform(&mut self, shape: &[usize]) -> Result<Tensor> {
        let n = shape.iter().product();
        let numbers: Vec<f32> =
            (0..n).map(|_| (self.next() >> 40) as f32 / 2f32.powi(24)).collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
