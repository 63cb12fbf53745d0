//! Timers: instants at which something happens by itself, in the database.
//!
//! The runner sleeps until the next one; what came due while the hub was down fires once at the
//! start. A timer is claimed by deleting its row in the command that acts on it, so that it fires
//! once whoever else looks.

use std::sync::Arc;
use std::time::Duration;

use model::{Context, Id, Micros, Text};
use platform::notice;
use process::Input;
use store::{StoreError, args, new_id, now};

use crate::Room;
use crate::case::{self, Case};
use crate::escalation;
use crate::run::{Refused, Run};
use crate::timeline::Entry;

store::statements! {
    NEXT = "SELECT MIN(next_at) FROM timers";
    DUE = "SELECT id, due_at, attempts FROM timers WHERE next_at <= $1 ORDER BY next_at LIMIT 64";
    CLAIM = "DELETE FROM timers WHERE id = $1 RETURNING kind, case_id, token, element, level";
    LATER = "UPDATE timers SET next_at = $2, attempts = attempts + 1 WHERE id = $1";
}

/// The longest sleep: a timer of another node has no wake-up here.
const LONGEST: Duration = Duration::from_secs(10);

#[derive(sqlx::FromRow)]
struct TimerRow {
    kind: String,
    case_id: Id,
    token: i64,
    element: String,
    level: i64,
}

/// Fires timers until the room stops.
pub(crate) async fn run(room: Arc<Room>) {
    let mut head = room.store.head();
    loop {
        let pause = match fire_due(&room).await {
            Ok(pause) => pause,
            Err(StoreError::Stopping) => break,
            Err(e) => {
                tracing::warn!(error = %e, "timers wait: the store does not answer");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = room.stop.cancelled() => break,
            () = room.store.stopped() => break,
            () = room.timers.notified() => {}
            // What a subscriber set is seen once its commit is.
            changed = head.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(pause) => {}
        }
        // A flood of commits asks for the next timer a hundred times a second at most.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Fires what is due; how long nothing will be.
async fn fire_due(room: &Arc<Room>) -> Result<Duration, StoreError> {
    loop {
        let due: Vec<(Id, i64, i64)> = room.store.read().all(DUE, args![now()]).await?;
        if due.is_empty() || room.stop.is_cancelled() {
            break;
        }
        for (id, due_at, attempts) in due {
            metrics::histogram!("zhongshu_timers_late_seconds")
                .record(now().since(Micros(due_at)).max(0) as f64 / 1e6);
            match fire(room, id).await {
                Ok(()) => {}
                Err(e) if e.is_transient() => return Err(e),
                Err(e) => {
                    tracing::error!(timer = %id, attempts, error = %e, "a timer did not fire; it is tried again later");
                    later(room, id, attempts).await?;
                }
            }
        }
        room.jobs.notify_one();
    }
    let next: Option<(Option<i64>,)> = room.store.read().opt(NEXT, args![]).await?;
    let until = next
        .and_then(|(n,)| n)
        .map_or(LONGEST, |n| Duration::from_micros(u64::try_from(Micros(n).since(now())).unwrap_or(0)));
    Ok(until.min(LONGEST))
}

async fn fire(room: &Arc<Room>, id: Id) -> Result<(), StoreError> {
    let context = Context::system("work", new_id());
    room.store
        .command(&context, "timer:fire", (room.clone(), id), |tx, (room, id)| {
            Box::pin(async move {
                tx.bookkeeping();
                let Some(timer) = tx.opt::<TimerRow>(CLAIM, args![*id]).await? else { return Ok(()) };
                tx.subject("case", timer.case_id, None);
                let mut run = Run::new(tx, room);
                act(&mut run, &timer).await?;
                run.finish().await
            })
        })
        .await
}

async fn act(run: &mut Run<'_, '_>, timer: &TimerRow) -> Result<(), StoreError> {
    let token = timer.token as u64;
    match timer.kind.as_str() {
        "restart" => return case::restart(run, timer.case_id).await,
        "notice" => {
            notice::end(run.tx, &format!("case/{}/", timer.case_id)).await?;
            return Ok(());
        }
        _ => {}
    }
    let Some(mut case) = Case::load(run, timer.case_id).await?.filter(Case::is_open) else { return Ok(()) };
    if timer.kind == "escalation" {
        return escalation::due(run, &mut case, token, &timer.element, timer.level).await;
    }
    let name = case.loaded.name_of(&timer.element);
    let text = Text::new(format!("到时：{}", name.zh), format!("time is up: {}", name.en));
    let entry = Entry::new("timer.fired", text).at(&timer.element);
    match run.step(&mut case, Input::TimerFired { token, element: timer.element.clone() }).await {
        Ok(()) => {
            run.log(case.row.id, entry);
            Ok(())
        }
        // The activity was completed meanwhile, or the timer belongs to an earlier visit.
        Err(Refused::Step(
            process::StepError::NoSuchToken { .. } | process::StepError::NoSuchTimer { .. },
        )) => Ok(()),
        Err(Refused::Step(e)) => Err(StoreError::Document(format!("case {}: {e}", case.row.number))),
        Err(Refused::Store(e)) => Err(e),
    }
}

/// Lays a timer that fails aside for a while, longer each time, an hour at most.
async fn later(room: &Arc<Room>, id: Id, attempts: i64) -> Result<(), StoreError> {
    let pause = (Micros::SECOND << attempts.clamp(0, 11)).min(Micros::HOUR);
    let context = Context::system("work", new_id());
    room.store
        .command(&context, "timer:delay", (id, now().plus(pause)), |tx, (id, at)| {
            Box::pin(async move {
                tx.bookkeeping();
                tx.execute(LATER, args![*id, *at]).await.map(|_| ())
            })
        })
        .await
}
