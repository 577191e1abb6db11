//! Trains a GPT for as long as it is told to, and says how long each step took.
//!
//! `cargo xtask bench train` runs it: one process for each way and size, which does a lap for each
//! line that it reads and writes a line of JSON about it, so that ways can take turns.
//! `peers/train.py` does the same in PyTorch.

use std::{
    io::{self, BufRead as _, Write as _},
    time::Instant,
};

use candle_core::{DType, Device, Result, Tensor, bail};

use crate::{
    model::{Way, model},
    size::Size,
};

/// Where to compute, and in which numbers products of matrices are.
struct Place {
    device: Device,
    dtype: DType,
}

impl Place {
    /// By names: `cpu` or `cuda`, `f32` or `bf16`; without a name the first.
    fn named(device: &str, dtype: &str) -> Result<Self> {
        let device = match device {
            "cuda" => Device::new_cuda_with_stream(0)?,
            "" | "cpu" => Device::Cpu,
            other => bail!("there is no device `{other}`"),
        };
        let dtype = match dtype {
            "bf16" => DType::BF16,
            "" | "f32" => DType::F32,
            other => bail!("nothing is computed in `{other}`"),
        };
        Ok(Self { device, dtype })
    }
}

mod model;
mod size;

/// What a step takes, in milliseconds.
struct Lap {
    forward: f64,
    backward: f64,
    optimiser: f64,
    loss: f32,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |n: usize| arguments.get(n).map_or("", String::as_str);
    match (argument(1), Size::named(argument(2))) {
        ("matmul", _) if !argument(2).is_empty() => {
            let place = Place::named(argument(2), argument(3))?;
            print(&format!(r#"{{"gflops":{:.1}}}"#, card_rate(&place)?))
        }
        ("matmul", _) => print(&format!(r#"{{"gflops":{:.1}}}"#, matmul_rate())),
        ("sizes", _) => Size::ALL.iter().try_for_each(|size| print(&size.as_json())),
        ("plain", Some(size)) => serve(Way::Plain, size, &Place::named(argument(3), argument(4))?),
        ("operations", Some(size)) => serve(Way::Operations, size, &Place::named("", "")?),
        ("blocks", Some(size)) => serve(Way::Blocks, size, &Place::named("", "")?),
        // Cargo runs benches among other tests; there is nothing to serve then.
        _ if arguments.iter().any(|argument| argument == "--bench" || argument == "--test") => {
            Ok(())
        }
        _ => bail!("say matmul, sizes, or plain, operations or blocks and a size"),
    }
}

fn serve(way: Way, size: Size, place: &Place) -> Result<()> {
    let Place { device, .. } = place;
    let (tokens, targets) = size.batch(device)?;
    let mut model = model(way, size, place)?;
    let mut steps = 0;
    for line in io::stdin().lock().lines() {
        let wanted: usize = line?.trim().parse().map_err(candle_core::Error::wrap)?;
        for _ in 0..wanted {
            device.synchronize()?;
            let begun = Instant::now();
            let loss = model.loss(&tokens, &targets)?;
            device.synchronize()?;
            let forward = begun.elapsed();
            let gradients = loss.backward()?;
            device.synchronize()?;
            let backward = begun.elapsed();
            model.step(&gradients)?;
            device.synchronize()?;
            let all = begun.elapsed();
            let lap = Lap {
                forward: forward.as_secs_f64() * 1e3,
                backward: backward.saturating_sub(forward).as_secs_f64() * 1e3,
                optimiser: all.saturating_sub(backward).as_secs_f64() * 1e3,
                loss: loss.to_scalar()?,
            };
            lap.print()?;
            steps += 1;
        }
    }
    print(&format!(r#"{{"steps":{steps},"peak_mib":{}}}"#, peak_mib()))
}

impl Lap {
    fn print(&self) -> Result<()> {
        let Self { forward, backward, optimiser, loss } = self;
        let passes = format!(r#""forward":{forward:.3},"backward":{backward:.3}"#);
        print(&format!(r#"{{{passes},"optimiser":{optimiser:.3},"loss":{loss:.4}}}"#))
    }
}

fn print(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// The most memory this process had, or 0 where that cannot be read.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// The middle one of some products of square matrices, in GFLOP/s.
fn matmul_rate() -> f64 {
    let n = 1024;
    let (a, b) = (vec![0.5_f32; n * n], vec![0.25_f32; n * n]);
    let mut out = vec![0.0; n * n];
    let mut seconds = Vec::new();
    for _ in 0..15 {
        let begun = Instant::now();
        let (a, b) = (kernels::Matrix::new(&a, n, n), kernels::Matrix::new(&b, n, n));
        let into = kernels::MatrixMut::new(&mut out, n, n);
        kernels::multiply(into, kernels::Write::Replace, 1.0, a, b);
        seconds.push(begun.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let product = 2.0 * (n * n * n) as f64;
    product / seconds[seconds.len() / 2] / 1e9
}

/// The middle one of some products of square matrices on a device, in GFLOP/s.
fn card_rate(place: &Place) -> Result<f64> {
    let n = if place.device.is_cpu() { 1024 } else { 8192 };
    let numbers = |value: f64| Tensor::full(value as f32, (n, n), &place.device);
    let (a, b) = (numbers(0.5)?.to_dtype(place.dtype)?, numbers(0.25)?.to_dtype(place.dtype)?);
    let mut seconds = Vec::new();
    for _ in 0..15 {
        place.device.synchronize()?;
        let begun = Instant::now();
        let product = a.matmul(&b)?;
        place.device.synchronize()?;
        seconds.push(begun.elapsed().as_secs_f64());
        drop(product);
    }
    seconds.sort_by(f64::total_cmp);
    Ok(2.0 * (n as f64).powi(3) / seconds[seconds.len() / 2] / 1e9)
}

/// Tokens from a seeded generator, as a tensor.
fn tokens(size: Size, draw: &mut impl FnMut() -> u32, device: &Device) -> Result<Tensor> {
    let n = size.batch * size.seq;
    let ids: Vec<u32> = (0..n).map(|_| draw() % size.d_vocab as u32).collect();
    Tensor::from_vec(ids, (size.batch, size.seq), device)
}
