//! Sweeps that start by themselves: daily, at a minute of the city's day.
//!
//! When one is due next stands in the database, so that a restart forgets none. One that was
//! missed while the hub was down starts once on the next start, and the schedule moves on from now.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, civil};
use model::{Context, Id, Micros};
use serde_json::json;
use store::{Store, StoreError, Tx, args, new_id};

use super::record::path;
use super::{NewSweep, Scope, SweepError, Sweeps};

/// How often schedules are looked at, however far the next one is: another process may write them.
const LOOK: Duration = Duration::from_secs(30);
/// Schedules of the whole hub.
const MOST: i64 = 1000;
/// Schedules that are started at one look.
const AT_ONCE: i64 = 8;

store::statements! {
    DUE = "SELECT id, area, type, datastream, limit_ms, minute, next_at, by_name FROM sweep_schedules
        WHERE next_at <= $1 ORDER BY next_at LIMIT $2";
    NEXT = "SELECT MIN(next_at) FROM sweep_schedules";
    MOVE_ON = "UPDATE sweep_schedules SET next_at = $3 WHERE id = $1 AND next_at = $2";
    HOW_MANY = "SELECT COUNT(*) FROM sweep_schedules";
    SAME = "SELECT id FROM sweep_schedules WHERE area = $1 AND type = $2 AND datastream = $3 AND minute = $4";
    ADD = "INSERT INTO sweep_schedules (id, area, type, datastream, limit_ms, minute, next_at, created_at, by_name)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    DELETE = "DELETE FROM sweep_schedules WHERE id = $1";
}

/// A schedule that is due.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) id: Id,
    pub(super) by_name: String,
    next_at: Micros,
    then: Micros,
}

/// The first instant after `now` at which a day of `zone` is `minute` minutes old by the clock. On a
/// day whose clock leaves that minute out it is as much later.
#[must_use]
pub fn next_after(now: Micros, minute: u16, zone: &TimeZone) -> Micros {
    let today = now.timestamp().to_zoned_datetime(zone.clone()).date();
    let at = civil::Time::midnight() + SignedDuration::from_mins(i64::from(minute % 1440));
    let mut date = today;
    for _ in 0..3 {
        let due = zone.to_timestamp(date.to_datetime(at)).map(Micros::from);
        match due {
            Ok(due) if due > now => return due,
            _ => date = date.saturating_add(jiff::Span::new().days(1)),
        }
    }
    // Beyond the calendar: never within a life.
    now.plus(Micros::DAY)
}

/// Has the schedule moved on with what it starts.
pub(super) async fn move_on(tx: &mut Tx<'_>, due: &Due) -> Result<(), SweepError> {
    match tx.execute(MOVE_ON, args![due.id, due.next_at, due.then]).await? {
        0 => Err(SweepError::MovedOn),
        _ => Ok(()),
    }
}

#[derive(sqlx::FromRow)]
struct DueRow {
    id: Id,
    area: String,
    r#type: String,
    datastream: String,
    limit_ms: i64,
    minute: i64,
    next_at: i64,
    by_name: String,
}

/// A schedule to be kept.
#[derive(Clone, Debug)]
pub struct NewSchedule {
    /// What is asked.
    pub scope: Scope,
    /// How long each device has to answer.
    pub limit: Duration,
    /// At which minute of the city's day, 0 to 1439.
    pub minute: u16,
}

impl Sweeps {
    /// Keeps a schedule; its id.
    ///
    /// # Errors
    /// [`SweepError::BadLimit`], [`SweepError::Scheduled`], [`SweepError::TooManySchedules`],
    /// [`SweepError::Store`].
    pub async fn schedule(&self, context: &Context, new: NewSchedule) -> Result<Id, SweepError> {
        if !(super::LIMITS.0..=super::LIMITS.1).contains(&new.limit) {
            return Err(SweepError::BadLimit);
        }
        let store = &self.watch.store;
        let next_at = next_after(super::now(), new.minute, store.time_zone());
        let args = (new_id(), new, next_at);
        let id = store
            .command::<_, Id, SweepError, _>(
                context,
                "sweep-schedule:create",
                args,
                |tx, (id, new, next_at)| {
                    Box::pin(async move {
                        let Scope { area, kind, datastream } = &new.scope;
                        let minute = i64::from(new.minute);
                        if tx.opt::<(Id,)>(SAME, args![area, kind, datastream, minute]).await?.is_some() {
                            return Err(SweepError::Scheduled);
                        }
                        let there = tx.opt::<(i64,)>(HOW_MANY, args![]).await?.map_or(0, |(n,)| n);
                        if there >= MOST {
                            return Err(SweepError::TooManySchedules(there));
                        }
                        let limit_ms = i64::try_from(new.limit.as_millis()).unwrap_or(i64::MAX);
                        let by = tx.context.actor.name().to_owned();
                        let bound =
                            args![*id, area, kind, datastream, limit_ms, minute, *next_at, tx.now, by];
                        tx.execute(ADD, bound).await?;
                        tx.subject("sweep-schedule", id, Some(area));
                        tx.detail(json!({ "type": kind, "datastream": datastream, "minute": minute }));
                        Ok(*id)
                    })
                },
            )
            .await?;
        self.schedules_changed.notify_one();
        Ok(id)
    }

    /// Deletes a schedule; whether it was there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unschedule(&self, context: &Context, id: Id) -> Result<bool, StoreError> {
        self.watch
            .store
            .command::<_, bool, StoreError, _>(context, "sweep-schedule:delete", id, |tx, id| {
                Box::pin(async move {
                    tx.subject("sweep-schedule", id, None);
                    Ok(tx.execute(DELETE, args![*id]).await? > 0)
                })
            })
            .await
    }

    /// Starts what is due.
    async fn start_due(&self) -> Result<(), StoreError> {
        let store = &self.watch.store;
        let now = super::now();
        let rows: Vec<DueRow> = store.read().all(DUE, args![now, AT_ONCE]).await?;
        for row in rows {
            let minute = u16::try_from(row.minute).unwrap_or_default();
            let due = Due {
                id: row.id,
                by_name: row.by_name,
                next_at: Micros(row.next_at),
                then: next_after(now, minute, store.time_zone()),
            };
            let new = NewSweep {
                scope: Scope { area: path(&row.area)?, kind: row.r#type, datastream: row.datastream },
                limit: Duration::from_millis(u64::try_from(row.limit_ms).unwrap_or_default()),
                repeats: None,
            };
            let context = Context::system("watch", new_id());
            match self.begin(&context, new, Some(due.clone())).await {
                Ok(_) | Err(SweepError::MovedOn) => {}
                Err(SweepError::Store(e)) => return Err(e),
                // Somebody sweeps the same things right now: it stays due until that has ended.
                Err(e @ (SweepError::Running(_) | SweepError::Busy(_))) => {
                    tracing::info!(schedule = %due.id, reason = %e, "a scheduled sweep waits");
                }
                Err(e) => {
                    tracing::warn!(schedule = %due.id, reason = %e, "a scheduled sweep is left out today");
                    skip(store, &context, due).await?;
                }
            }
        }
        Ok(())
    }

    /// How long until a schedule is due, [`LOOK`] at most.
    async fn until_next(&self) -> Result<Duration, StoreError> {
        let next = self.watch.store.read().opt::<(Option<i64>,)>(NEXT, args![]).await?;
        let left = next.and_then(|(at,)| at).map_or(i64::MAX, |at| Micros(at).since(super::now()));
        // What is due and waits for another sweep is not looked at all the time.
        Ok(Duration::from_micros(u64::try_from(left).unwrap_or(0)).clamp(Duration::from_secs(1), LOOK))
    }
}

async fn skip(store: &Store, context: &Context, due: Due) -> Result<(), StoreError> {
    store
        .command::<_, (), StoreError, _>(context, "sweep-schedule:skip", due, |tx, due| {
            Box::pin(async move {
                tx.subject("sweep-schedule", due.id, None);
                tx.execute(MOVE_ON, args![due.id, due.next_at, due.then]).await?;
                Ok(())
            })
        })
        .await
}

/// Keeps the schedules until the hub stops.
pub(super) async fn keep(sweeps: Arc<Sweeps>) {
    loop {
        let pause = match sweeps.start_due().await {
            Ok(()) => sweeps.until_next().await.unwrap_or(LOOK),
            Err(StoreError::Stopping) => return,
            Err(e) => {
                tracing::warn!(error = %e, "scheduled sweeps wait for the store");
                LOOK
            }
        };
        tokio::select! {
            () = sweeps.stopped() => return,
            () = sweeps.schedules_changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_is_by_the_citys_clock() {
        let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (zone, now, minute, expected) in [
            (&shanghai, "2026-11-24T06:00:00+08:00", 8 * 60, "2026-11-24T08:00:00+08:00"),
            (&shanghai, "2026-11-24T08:00:00+08:00", 8 * 60, "2026-11-25T08:00:00+08:00"),
            (&shanghai, "2026-11-24T07:59:59.999999+08:00", 8 * 60, "2026-11-24T08:00:00+08:00"),
            (&shanghai, "2026-12-31T23:59:00+08:00", 0, "2027-01-01T00:00:00+08:00"),
            // 02:30 is left out on 2026-03-29, and comes twice on 2026-10-25.
            (&berlin, "2026-03-29T00:00:00+01:00", 150, "2026-03-29T03:30:00+02:00"),
            (&berlin, "2026-10-25T00:00:00+02:00", 150, "2026-10-25T02:30:00+02:00"),
            (&berlin, "2026-10-25T02:40:00+02:00", 150, "2026-10-26T02:30:00+01:00"),
        ] {
            let now = Micros::parse(now).unwrap();
            assert_eq!(next_after(now, minute, zone), Micros::parse(expected).unwrap(), "{now} {minute}");
        }
    }
}
