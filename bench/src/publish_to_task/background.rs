//! The devices beside: good values at QoS 1, spread evenly, each acknowledgement waited for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use citysim::client::{Counters, Device, Options, Pending, Status};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::city::Thing;
use crate::latency::Latency;

/// How many connect at once.
const AT_ONCE: usize = 32;
/// Samples of one device that may wait for their acknowledgement.
const WINDOW: usize = 32;

/// Unix milliseconds, as a payload's `t`.
pub(super) fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis())
}

/// Connected devices.
pub(super) struct Background {
    devices: Vec<Device>,
    counters: Arc<Counters>,
}

/// What the devices beside did while it was measured.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// Acknowledgements, by how long they took.
    pub(super) acks: Latency,
    /// Samples that were not sent because as many as may waited already.
    pub(super) dropped: u64,
    /// Samples the hub refused.
    pub(super) refused: u64,
    /// Connections lost.
    pub(super) lost: u64,
}

impl Background {
    pub(super) async fn connect(address: SocketAddr, hydrants: Vec<Thing>) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let connecting = futures::stream::iter(hydrants).map(|hydrant| {
            let options = Options {
                window: WINDOW,
                counters: Arc::clone(&counters),
                ..Options::new(address, &hydrant.code, &hydrant.secret)
            };
            async move {
                let mut device = Device::start(options);
                match device.settled().await {
                    Status::Connected => Ok(device),
                    other => bail!("{} could not connect: {other:?}", hydrant.code),
                }
            }
        });
        let devices: Vec<Result<Device>> = connecting.buffer_unordered(AT_ONCE).collect().await;
        Ok(Self { devices: devices.into_iter().collect::<Result<_>>()?, counters })
    }

    /// Begins to send `rate` samples a second.
    pub(super) fn run(self, rate: u32) -> Running {
        let Self { devices, counters } = self;
        let shared = Arc::new(Shared { counters, acks: Mutex::default(), stop: AtomicBool::new(false) });
        let mut tasks = JoinSet::new();
        let period = Duration::from_secs(1).mul_f64(devices.len() as f64 / f64::from(rate));
        let begins = Instant::now();
        let phase = period.div_f64(devices.len() as f64);
        for (n, device) in devices.into_iter().enumerate() {
            let (to_wait, waiting) = mpsc::unbounded_channel();
            tasks.spawn(send(device, begins + phase.mul_f64(n as f64), period, to_wait, Arc::clone(&shared)));
            tasks.spawn(wait(waiting, Arc::clone(&shared)));
        }
        Running { shared, tasks }
    }
}

struct Shared {
    counters: Arc<Counters>,
    /// There once the measuring began.
    acks: Mutex<Option<(Latency, [u64; 3])>>,
    stop: AtomicBool,
}

impl Shared {
    fn acks(&self) -> MutexGuard<'_, Option<(Latency, [u64; 3])>> {
        // Counting cannot panic half-way.
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self) -> [u64; 3] {
        let c = &self.counters;
        [&c.dropped, &c.refused, &c.lost].map(|n| n.load(Ordering::Relaxed))
    }
}

async fn send(
    device: Device,
    first: Instant,
    period: Duration,
    to_wait: mpsc::UnboundedSender<(Instant, Pending)>,
    shared: Arc<Shared>,
) {
    let mut ticks = tokio::time::interval_at(first, period);
    // What was missed is made up for: the rate is the condition.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut value = 350_u32;
    while !shared.stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        value = 330 + (value + 7) % 40;
        let payload = format!("{{\"t\":{},\"v\":0.{value}}}", now_ms());
        let began = Instant::now();
        // A full window is counted by the device.
        if let Ok(pending) = device.begin("pressure", payload)
            && to_wait.send((began, pending)).is_err()
        {
            break;
        }
    }
    drop(to_wait);
    device.close(Duration::from_secs(5)).await;
}

/// Acknowledgements come in the order of the samples, so that one is waited for at a time.
async fn wait(mut waiting: mpsc::UnboundedReceiver<(Instant, Pending)>, shared: Arc<Shared>) {
    while let Some((began, pending)) = waiting.recv().await {
        if pending.acked().await.is_ok()
            && let Some((acks, _)) = shared.acks().as_mut()
        {
            acks.record(began.elapsed());
        }
    }
}

/// Devices that send.
pub(super) struct Running {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Measures from now on.
    pub(super) fn mark(&self) -> Result<()> {
        *self.shared.acks() = Some((Latency::new()?, self.shared.counted()));
        Ok(())
    }

    /// What was measured since.
    pub(super) fn marked(&self) -> Result<Load> {
        let Some((acks, before)) = self.shared.acks().take() else { bail!("the load was not marked") };
        let [dropped, refused, lost] = self.shared.counted();
        Ok(Load { acks, dropped: dropped - before[0], refused: refused - before[1], lost: lost - before[2] })
    }

    /// Sends no more, and says goodbye.
    pub(super) async fn stop(mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
    }
}
