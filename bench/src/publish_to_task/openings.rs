//! The hydrants that lose pressure: each connects, is well, is low, and is low again.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use citysim::client::Device;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::LEAD;
use super::background::now_ms;
use crate::city::Thing;

/// When the good value goes before the deciding one, and when the first low one.
const GOOD: Duration = Duration::from_secs(2);
const LOW: Duration = Duration::from_secs(1);

/// A deciding sample that was sent.
#[derive(Clone, Debug)]
pub(super) struct Published {
    /// Its place among all openings.
    pub(super) order: usize,
    /// The hydrant's code.
    pub(super) thing: String,
    /// When it was handed to the device.
    pub(super) at: std::time::Instant,
    /// How long its acknowledgement took.
    pub(super) acked: Duration,
}

/// Openings under way.
pub(super) struct Openings(tokio::task::JoinHandle<JoinSet<Result<Published>>>);

impl Openings {
    /// The deciding samples go from `begins` on, `gap` apart.
    pub(super) fn start(address: SocketAddr, hydrants: Vec<Thing>, begins: Instant, gap: Duration) -> Self {
        Self(tokio::spawn(async move {
            let mut stories = JoinSet::new();
            for (order, hydrant) in hydrants.into_iter().enumerate() {
                let decides = begins + gap.mul_f64(order as f64);
                tokio::time::sleep_until(decides - LEAD).await;
                stories.spawn(story(address, hydrant, order, decides));
            }
            stories
        }))
    }

    /// Waits until every story is told.
    pub(super) async fn finish(self, patience: Duration) -> Result<Vec<Published>> {
        let mut stories = self.0.await?;
        let all = async {
            let mut published = Vec::with_capacity(stories.len());
            while let Some(told) = stories.join_next().await {
                published.push(told??);
            }
            anyhow::Ok(published)
        };
        let mut published =
            tokio::time::timeout(patience, all).await.context("deciding samples stay unacknowledged")??;
        published.sort_by_key(|p| p.order);
        Ok(published)
    }
}

async fn story(address: SocketAddr, hydrant: Thing, order: usize, decides: Instant) -> Result<Published> {
    let device = Device::connect(address, &hydrant.code, &hydrant.secret).await?;
    tokio::time::sleep_until(decides - GOOD).await;
    device.publish("pressure", format!("{{\"t\":{},\"v\":0.351}}", now_ms())).await?;
    tokio::time::sleep_until(decides - LOW).await;
    device.publish("pressure", format!("{{\"t\":{},\"v\":0.187}}", now_ms())).await?;
    tokio::time::sleep_until(decides).await;
    let payload = format!("{{\"t\":{},\"v\":0.185}}", now_ms());
    let at = std::time::Instant::now();
    device.publish("pressure", payload).await?;
    let acked = at.elapsed();
    device.close(Duration::from_secs(1)).await;
    Ok(Published { order, thing: hydrant.code, at, acked })
}
