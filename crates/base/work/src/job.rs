//! Jobs: service tasks that leave the hub, run after the commit that called for them.
//!
//! The row is the promise: a call whose answer was lost in a crash is made again under the same
//! id, and its answer moves the case once. A call that fails for good stays as a failed job,
//! visible in the case, which waits there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use model::{Context, Id, Micros, Text};
use process::Input;
use serde_json::Value;
use store::{StoreError, args, now};

use crate::Room;
use crate::case::{Case, CaseAlert, area, str_of};
use crate::run::{Refused, Run};
use crate::service::{AlertCalled, ServiceCall, ServiceError};
use crate::timeline::Entry;

store::statements! {
    DUE = "SELECT j.id, j.case_id, j.token, j.element, j.service, j.params, j.attempts, c.number, c.area, c.instance
        FROM jobs j JOIN cases c ON c.id = j.case_id WHERE j.state = 'waiting' AND j.next_at <= $1
        ORDER BY j.next_at LIMIT 16";
    NEXT = "SELECT MIN(next_at) FROM jobs WHERE state = 'waiting'";
    ALERTS = "SELECT case_id, alert, severity, state, facts FROM case_alerts WHERE case_id = $1 ORDER BY sort, alert";
    DONE = "UPDATE jobs SET state = 'done', attempts = attempts + 1, reason = NULL WHERE id = $1 AND state = 'waiting'";
    AGAIN = "UPDATE jobs SET attempts = attempts + 1, next_at = $2, reason = $3 WHERE id = $1 AND state = 'waiting'";
    FAILED = "UPDATE jobs SET state = 'failed', attempts = attempts + 1, reason = $2 WHERE id = $1 AND state = 'waiting'";
}

/// How often a call is made before it counts as failed.
const ATTEMPTS: i64 = 8;
/// How long a call may take.
const BOUND: Duration = Duration::from_secs(30);
/// The longest sleep.
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Clone, sqlx::FromRow)]
struct JobRow {
    id: Id,
    case_id: Id,
    token: i64,
    element: String,
    service: String,
    params: String,
    attempts: i64,
    number: String,
    area: String,
    instance: String,
}

/// Runs jobs until the room stops.
pub(crate) async fn run(room: Arc<Room>) {
    let mut head = room.store.head();
    loop {
        let round = async {
            loop {
                let due: Vec<JobRow> = room.store.read().all(DUE, args![now()]).await?;
                if due.is_empty() {
                    let next: Option<(Option<i64>,)> = room.store.read().opt(NEXT, args![]).await?;
                    let pause = next.and_then(|(n,)| n).map_or(LONGEST, |n| {
                        Duration::from_micros(u64::try_from(Micros(n).since(now())).unwrap_or(0))
                    });
                    return Ok::<_, StoreError>(pause.min(LONGEST));
                }
                for done in join_all(due.into_iter().map(|job| call(&room, job))).await {
                    done?;
                }
            }
        };
        // Stopping drops the calls under way: their rows are still there at the next start.
        let round = tokio::select! {
            () = room.stop.cancelled() => break,
            () = room.store.stopped() => break,
            round = round => round,
        };
        let pause = match round {
            Ok(pause) => pause,
            Err(StoreError::Stopping) => break,
            Err(e) => {
                tracing::warn!(error = %e, "jobs wait: the store does not answer");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = room.stop.cancelled() => break,
            () = room.store.stopped() => break,
            () = room.jobs.notified() => {}
            changed = head.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(pause) => {}
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn prepare(room: &Room, job: &JobRow) -> Result<ServiceCall, StoreError> {
    let alerts: Vec<CaseAlert> = room.store.read().all(ALERTS, args![job.case_id]).await?;
    let alerts = alerts
        .into_iter()
        .map(|a| {
            let facts = a.facts()?;
            Ok(AlertCalled {
                id: a.alert,
                number: str_of(&facts, "number").to_owned(),
                thing: str_of(&facts, "thing").to_owned(),
                datastream: facts.get("datastream").and_then(Value::as_i64).unwrap_or_default(),
            })
        })
        .collect::<Result<_, StoreError>>()?;
    let instance: process::Instance = serde_json::from_str(&job.instance)?;
    let params: BTreeMap<String, String> = serde_json::from_str(&job.params)?;
    let (case, area) = (job.number.clone(), area(&job.area)?);
    Ok(ServiceCall { job: job.id, case, params, data: Value::Object(instance.data), area, alerts })
}

async fn call(room: &Arc<Room>, job: JobRow) -> Result<(), StoreError> {
    let answer = match room.services.get(job.service.as_str()) {
        None => {
            Err(ServiceError { retry: false, reason: format!("this hub has no service {:?}", job.service) })
        }
        Some(service) => match prepare(room, &job).await {
            Err(e) if e.is_transient() => return Err(e),
            Err(e) => Err(ServiceError { retry: false, reason: e.to_string() }),
            Ok(call) => tokio::time::timeout(BOUND, service.run(call)).await.unwrap_or_else(|_| {
                Err(ServiceError { retry: true, reason: format!("no answer within {} s", BOUND.as_secs()) })
            }),
        },
    };
    if let Err(e) = &answer {
        tracing::warn!(case = job.number, service = job.service, attempts = job.attempts, error = %e, "a service was not carried out");
    }
    let context = Context::system("work", job.id);
    let finished = settle(room, &context, job.clone(), answer).await;
    match finished {
        Err(e) if !e.is_transient() => {
            // The answer does not fit the case: that is final.
            let failed = Err(ServiceError { retry: false, reason: e.to_string() });
            settle(room, &context, job, failed).await
        }
        other => other,
    }
}

async fn settle(
    room: &Arc<Room>,
    context: &Context,
    job: JobRow,
    answer: Result<Value, ServiceError>,
) -> Result<(), StoreError> {
    let args = (room.clone(), job, answer);
    room.store
        .command(context, "job:finish", args, |tx, (room, job, answer)| {
            Box::pin(async move {
                tx.subject("case", job.case_id, None);
                let mut run = Run::new(tx, room);
                match answer {
                    Ok(result) => done(&mut run, job, result).await?,
                    Err(e) if e.retry && job.attempts + 1 < ATTEMPTS => {
                        run.tx.bookkeeping();
                        let pause = (Micros::SECOND << job.attempts.clamp(0, 6)).min(Micros::MINUTE);
                        let next = run.tx.now.plus(pause);
                        run.tx.execute(AGAIN, args![job.id, next, &e.reason]).await?;
                    }
                    Err(e) => {
                        if run.tx.execute(FAILED, args![job.id, &e.reason]).await? > 0 {
                            metrics::counter!("zhongshu_jobs_failed_total").increment(1);
                            let text = Text::new(
                                format!("服务 {} 未完成：{}", job.service, e.reason),
                                format!("service {} was not carried out: {}", job.service, e.reason),
                            );
                            run.log(job.case_id, Entry::new("service.failed", text).at(&job.element));
                        }
                    }
                }
                run.finish().await
            })
        })
        .await
}

async fn done(run: &mut Run<'_, '_>, job: &JobRow, result: &Value) -> Result<(), StoreError> {
    if run.tx.execute(DONE, args![job.id]).await? == 0 {
        return Ok(());
    }
    let Some(mut case) = Case::load(run, job.case_id).await?.filter(Case::is_open) else { return Ok(()) };
    let name = case.loaded.name_of(&job.element);
    let text = Text::new(format!("“{}”已执行", name.zh), format!("{:?} was carried out", name.en));
    let mut entry = Entry::new("service.done", text).at(&job.element);
    entry.given = Some(result).filter(|r| r.is_object());
    run.log(case.row.id, entry);
    let input = Input::ServiceDone { token: job.token as u64, result: result.clone() };
    match run.step(&mut case, input).await {
        Ok(()) | Err(Refused::Step(process::StepError::NoSuchToken { .. })) => Ok(()),
        Err(Refused::Step(e)) => Err(StoreError::Document(format!("case {}: {e}", case.row.number))),
        Err(Refused::Store(e)) => Err(e),
    }
}
