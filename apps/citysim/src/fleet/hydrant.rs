//! One hydrant: when it measures, what it sends, how it answers.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::AnswerPace;
use super::world::{Behaviour, Hydrant, World, micros_now};
use crate::client::{Device, Options};

/// A change that is reported at once, in MPa.
const EXCEPTION: f64 = 0.02;
/// The least time between two reports by exception.
const EXCEPTION_GAP: Duration = Duration::from_secs(1);
/// When the second sample follows one by exception.
const FOLLOW_UP: Duration = Duration::from_secs(2);
/// How often a hydrant looks while its main changes, and for how long.
const LOOK: Duration = Duration::from_millis(500);
const ATTENTIVE: Duration = Duration::from_secs(20);
/// The spread of the sensor's noise, in MPa.
const NOISE: f64 = 0.002;
/// Within what time after the start everybody has sent once.
const FIRST_ROUND: Duration = Duration::from_secs(5);
/// How often a device with a fault sends what nobody can read.
const MALFORMED_EVERY: Duration = Duration::from_secs(5);

const DATASTREAM: &str = "pressure";
const REPLY: &str = "reply";

/// What firmware gone mad sends, in turn.
const MALFORMED: [&[u8]; 6] = [
    b"{\"t\":\"yesterday\",\"v\":0.312}",
    b"pressure=0.31",
    b"{\"v\":\"high\"}",
    b"{\"t\":1795501925120,\"v\":",
    b"\xff\xfe\x00\x01\x02",
    b"{\"v\":null}",
];

/// How a hydrant is paced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub interval: Duration,
    pub seed: u64,
    pub answers: AnswerPace,
}

/// Answers that one hydrant owes at the same time; further questions it forgets.
const OWED: usize = 16;

/// What comes down: an order, or a question.
#[derive(Deserialize)]
#[serde(untagged)]
enum Command {
    Order {
        command: String,
        #[serde(default)]
        reason: String,
        #[serde(default)]
        correlation: serde_json::Value,
    },
    Question {
        id: String,
        ask: String,
    },
}

/// An answer that is owed.
struct Owed {
    at: Instant,
    id: String,
    ask: String,
}

struct Sensor<'a> {
    world: &'a World,
    hydrant: &'a Hydrant,
    device: Device,
    rng: SmallRng,
    /// What was reported last, and when.
    reported: Option<(f64, Instant)>,
    /// When the second sample of a report by exception is due.
    follow_up: Option<Instant>,
    malformed: usize,
    answers: AnswerPace,
    /// It never answers a question.
    mute: bool,
    owed: Vec<Owed>,
}

/// Runs the hydrant `index` of the world until told to stop.
pub(super) async fn run(
    world: Arc<World>,
    index: usize,
    options: Options,
    pace: Pace,
    mut stop: watch::Receiver<bool>,
) {
    let Some(hydrant) = world.hydrants.get(index) else { return };
    let Some(mut changes) = world.changes(&hydrant.outlet.main) else { return };
    let mut behaviour = hydrant.behaviour.subscribe();
    // An odd multiplier spreads neighbouring indices over the seeds.
    let seed = pace.seed ^ (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut rng = SmallRng::seed_from_u64(seed);
    let start = Instant::now();
    let phase: f64 = rng.random();
    let mut regular = start + pace.interval.min(FIRST_ROUND).mul_f64(phase);
    let mut attentive: Option<(Instant, Instant)> = None;
    let mute = rng.random_bool(pace.answers.mute.clamp(0.0, 1.0));
    let device = Device::start(options);
    let mut sensor = Sensor {
        world: &world,
        hydrant,
        device,
        rng,
        reported: None,
        follow_up: None,
        malformed: 0,
        answers: pace.answers,
        mute,
        owed: Vec::new(),
    };
    loop {
        let look = attentive.map(|(look, _)| look);
        let owed = sensor.owed.iter().map(|owed| owed.at).min();
        let wake = [sensor.follow_up, look, owed].into_iter().flatten().fold(regular, Instant::min);
        tokio::select! {
            () = tokio::time::sleep_until(wake) => {
                let now = Instant::now();
                sensor.pay(now);
                if now >= regular {
                    sensor.report();
                    // The first round is quick; then each keeps its own place in the interval.
                    let rounds = (now - start).as_secs_f64() / pace.interval.as_secs_f64() - phase;
                    regular = start + pace.interval.mul_f64((rounds.floor() + 1.0).max(0.0) + phase);
                } else if sensor.follow_up.is_some_and(|at| now >= at) {
                    sensor.follow_up = None;
                    sensor.report();
                } else if let Some((look, until)) = attentive {
                    sensor.look();
                    attentive = (now < until).then(|| (look.max(now) + LOOK, until));
                }
            }
            Ok(()) = changes.changed() => {
                let now = Instant::now();
                let first = LOOK.mul_f64(sensor.rng.random_range(0.2..1.0));
                attentive = Some((now + first, now + ATTENTIVE));
            }
            Ok(()) = behaviour.changed() => {
                if matches!(behaviour.borrow_and_update().now(), Behaviour::Malformed { .. }) {
                    sensor.follow_up = Some(Instant::now());
                }
            }
            Some(payload) = sensor.device.command() => sensor.obey(&payload),
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    sensor.device.close(Duration::from_secs(2)).await;
}

impl Sensor<'_> {
    fn measure(&mut self) -> f64 {
        let noise = self.rng.random_range(-NOISE..NOISE);
        self.world.pressure(&self.hydrant.outlet, noise)
    }

    /// Sends a sample, or what a faulty device sends in its stead.
    fn report(&mut self) {
        let behaviour = self.hydrant.behaviour.borrow().now();
        match behaviour {
            Behaviour::Silent { .. } => {}
            Behaviour::Malformed { .. } => {
                let payload = MALFORMED[self.malformed % MALFORMED.len()];
                self.malformed += 1;
                // A full window is counted by the device; the next round will do.
                let _ = self.device.begin(DATASTREAM, payload);
                self.follow_up = Some(Instant::now() + MALFORMED_EVERY);
            }
            Behaviour::Dutiful => {
                let value = self.measure();
                self.send(value);
            }
        }
    }

    fn send(&mut self, value: f64) {
        let payload = json!({"t": micros_now().to_string(), "v": value}).to_string();
        if self.device.begin(DATASTREAM, payload).is_ok() {
            self.reported = Some((value, Instant::now()));
        }
    }

    /// Looks whether there is something to report by exception.
    fn look(&mut self) {
        let value = self.measure();
        let moved = self
            .reported
            .is_none_or(|(last, at)| (value - last).abs() > EXCEPTION && at.elapsed() >= EXCEPTION_GAP);
        if moved && self.hydrant.behaviour.borrow().now() == Behaviour::Dutiful {
            self.send(value);
            self.follow_up = Some(Instant::now() + FOLLOW_UP);
        }
    }

    /// Answers a command. A repair that is reported reaches the simulated main by this way: the
    /// hub asks the device to measure and says why.
    fn obey(&mut self, payload: &[u8]) {
        if matches!(self.hydrant.behaviour.borrow().now(), Behaviour::Silent { .. }) {
            return;
        }
        let command: Command = match serde_json::from_slice(payload) {
            Ok(command) => command,
            Err(error) => {
                tracing::warn!(thing = self.hydrant.code, %error, "cannot read a command");
                return;
            }
        };
        let (command, reason, correlation) = match command {
            Command::Order { command, reason, correlation } => (command, reason, correlation),
            Command::Question { id, ask } => {
                if !self.mute && self.owed.len() < OWED {
                    let AnswerPace { after, within, .. } = self.answers;
                    let wait = after + (within - after).mul_f64(self.rng.random());
                    self.owed.push(Owed { at: Instant::now() + wait, id, ask });
                }
                return;
            }
        };
        let reply = if command == "measure" {
            let value = self.measure();
            let t = micros_now().to_string();
            let sample = json!({"t": t, "v": value}).to_string();
            if self.device.begin(DATASTREAM, sample).is_ok() {
                self.reported = Some((value, Instant::now()));
            }
            if reason == "repair-reported"
                && let Ok(true) = self.world.repaired(&self.hydrant.outlet.main)
            {
                tracing::info!(main = self.hydrant.outlet.main, "the repair was reported: filling");
            }
            json!({"correlation": correlation, "t": t, "v": value})
        } else {
            let error = format!("this device does not know the command {command:?}");
            json!({"correlation": correlation, "error": error})
        };
        let _ = self.device.begin(REPLY, reply.to_string());
    }

    /// Gives the answers that are due. A device that fell silent meanwhile gives none.
    fn pay(&mut self, now: Instant) {
        let silent = matches!(self.hydrant.behaviour.borrow().now(), Behaviour::Silent { .. });
        let due: Vec<Owed> = self.owed.extract_if(.., |owed| owed.at <= now).collect();
        for Owed { id, ask, .. } in due {
            if silent {
                continue;
            }
            let reply = if ask == DATASTREAM {
                let value = self.measure();
                self.reported = Some((value, Instant::now()));
                json!({"id": id, "t": micros_now().to_string(), "v": value})
            } else {
                json!({"id": id, "error": format!("this device does not measure {ask:?}")})
            };
            // A full window is counted by the device; to the hub it was silent then.
            let _ = self.device.begin(REPLY, reply.to_string());
        }
    }
}
