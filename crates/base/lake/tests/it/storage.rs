//! How many bytes a point takes in the table.

use std::sync::Arc;

use lake::cold::{Cold, ColdConfig};
use lake::{LakeLocation, Rows};
use model::Micros;
use model::observation::{Columns, Sample};
use object_store::memory::InMemory;

use crate::sample;

/// Numbers that look random and are the same at every run (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From -1 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

const START: i64 = 1_795_305_600 * Micros::SECOND;

/// A report every 30 s, up to 20 ms early or late, in whole milliseconds.
fn instant(n: i64, noise: &mut Noise) -> Micros {
    Micros(START + n * 30 * Micros::SECOND + (noise.unit() * 20.0) as i64 * 1000)
}

fn hydrants(noise: &mut Noise) -> Vec<Sample> {
    let mut samples = Vec::new();
    for key in 0..420 {
        let base = 0.30 + 0.05 * noise.unit();
        for n in 0..720 {
            let swing = 0.02 * (n as f64 / 2880.0 * std::f64::consts::TAU).sin();
            let value = ((base + swing + 0.003 * noise.unit()) * 1000.0).round() / 1000.0;
            samples.push(sample(key, instant(n, noise), value));
        }
    }
    samples
}

fn slow_temperature(noise: &mut Noise) -> Vec<Sample> {
    let mut samples = Vec::new();
    for key in 0..100 {
        for n in 0..2880 {
            let swing = 6.0 * (n as f64 / 2880.0 * std::f64::consts::TAU).sin();
            let value = ((18.0 + swing + 0.02 * noise.unit()) * 10.0).round() / 10.0;
            samples.push(sample(key, instant(n, noise), value));
        }
    }
    samples
}

fn never_again(noise: &mut Noise) -> Vec<Sample> {
    (0..100_000).map(|n| sample(1, instant(n, noise), noise.unit() * 1e3)).collect()
}

#[tokio::test]
async fn points_take_few_bytes() {
    let mut noise = Noise(7);
    for (name, samples, most) in [
        ("420 hydrants in 0.001 MPa", hydrants(&mut noise), 4.2),
        ("a slow temperature in 0.1 °C", slow_temperature(&mut noise), 4.2),
        ("a float that never repeats", never_again(&mut noise), 11.0),
    ] {
        let store = Arc::new(InMemory::new());
        let cold = Cold::open(ColdConfig::new(LakeLocation::Store(store.clone()))).await.unwrap();
        let count = samples.len();
        let columns: Columns = samples.into_iter().collect();
        cold.append(Rows::new(columns), 1).await.unwrap();
        cold.optimise(Micros(START + 400 * Micros::DAY)).await.unwrap();
        let a_point = cold.view().bytes() as f64 / count as f64;
        eprintln!("{name}: {a_point:.2} bytes a point");
        assert!(a_point < most, "{name}: {a_point:.2} bytes a point");
    }
}
