//! Bodies rendered beforehand. Every line has the same length, so that the next body is one of
//! them with other digits in the places of its times.

use std::io::Write as _;

/// Digits of nanoseconds since 1970.
const TIME_DIGITS: usize = 19;
/// As many bodies of other values as are rendered.
const VARIANTS: usize = 8;

/// The bodies of one connection.
#[derive(Clone, Debug)]
pub struct Bodies {
    variants: Vec<Vec<u8>>,
    line: usize,
    next: usize,
    last: u64,
}

impl Bodies {
    /// One line for each hydrant of `from` to `to` (numbers of `bench-00000` and on). The values
    /// stay between 0.300 and 0.399 MPa: no rule of any pack opens an alert.
    pub fn new(from: usize, to: usize) -> Self {
        let render = |variant: usize| {
            let mut body = Vec::with_capacity((to - from) * 64);
            for thing in from..to {
                let value = 300 + (thing * 37 + variant * 53 + thing * variant % 11) % 100;
                // Writing to memory does not fail.
                let _ = writeln!(body, "hydrant,thing=bench-{thing:05} pressure=0.{value} {:019}", 0);
            }
            body
        };
        let variants: Vec<Vec<u8>> = (0..VARIANTS).map(render).collect();
        let line = variants[0].iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
        Self { variants, line, next: 0, last: 0 }
    }

    /// Lines of each body.
    pub fn lines(&self) -> usize {
        self.variants[0].len().checked_div(self.line).unwrap_or(0)
    }

    /// The next body: line `n` at `now` (nanoseconds since 1970) and `n` microseconds, and later
    /// than the body before.
    pub fn next(&mut self, now: u64) -> &[u8] {
        let mut time = now.max(self.last + 1000);
        self.next = (self.next + 1) % self.variants.len();
        let body = &mut self.variants[self.next];
        let mut digits = [b'0'; TIME_DIGITS];
        let mut high = u64::MAX;
        for line in body.chunks_exact_mut(self.line) {
            // The seconds change at most once a body.
            if time / 1_000_000_000 != high {
                high = time / 1_000_000_000;
                decimal(high, &mut digits[..10]);
            }
            decimal(time % 1_000_000_000, &mut digits[10..]);
            let end = line.len() - 1;
            line[end - TIME_DIGITS..end].copy_from_slice(&digits);
            time += 1000;
        }
        // The next body of this connection begins after the first line of this one.
        self.last = now.max(self.last + 1000);
        body
    }
}

/// `number` in as many digits as there is room for.
fn decimal(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_well_formed_and_times_advance() {
        let mut bodies = Bodies::new(19_990, 20_000);
        assert_eq!(bodies.lines(), 10);
        let mut before = [0_u64; 10];
        // Across a change of the second, and with a clock that stands still.
        for now in [1_795_501_925_999_995_000, 1_795_501_926_000_000_000, 1_795_501_926_000_000_000] {
            let body = String::from_utf8(bodies.next(now).to_vec()).unwrap();
            assert_eq!(body.lines().count(), 10);
            for (n, line) in body.lines().enumerate() {
                let [series, field, time] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
                assert_eq!(series, format!("hydrant,thing=bench-{:05}", 19_990 + n));
                let value: f64 = field.strip_prefix("pressure=").unwrap().parse().unwrap();
                assert!((0.3..0.4).contains(&value), "{line}");
                let time: u64 = time.parse().unwrap();
                assert!(time > before[n] && time >= now, "{line}");
                before[n] = time;
            }
        }
    }
}
