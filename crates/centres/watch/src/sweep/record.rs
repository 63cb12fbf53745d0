//! Sweeps and their rows in the database.
//!
//! Events, each with `id`, `number`, `state` and `counts`: `sweep.changed` when one starts and when
//! it is over.

use std::collections::HashSet;

use model::{AreaPath, Context, Id, Micros};
use serde_json::json;
use store::{Store, StoreError, Tx, Value, args, new_id};

use super::drive::sort;
use super::schedule::{self, Due};
use super::{Counts, MOST_RUNNING, Scope, SweepError, SweepState};
use crate::http::SweepRow;

/// How long sweeps are kept: as long as a maintenance contract is argued about.
const KEEP: i64 = 1095 * Micros::DAY;

store::statements! {
    SAME = "SELECT number FROM sweeps WHERE state = 'running' AND area = $1 AND type = $2 AND datastream = $3";
    HOW_MANY = "SELECT COUNT(*) FROM sweeps WHERE state = 'running'";
    BEGIN = "INSERT INTO sweeps (id, number, area, type, datastream, limit_ms, state, started_at, started_by, by_name,
        schedule, repeats, total, asked, ok, low, fault, silent)
        VALUES ($1, $2, $3, $4, $5, $6, 'running', $7, $8, $9, $10, $11, $12, 0, 0, 0, 0, 0)";
    STOP = "UPDATE sweeps SET stopped_by = $2 WHERE id = $1 AND state = 'running' AND stopped_by IS NULL
        RETURNING number, area";
    END = "UPDATE sweeps SET state = $2, reason = $3, ended_at = $4, last_answer_at = $5,
        asked = $6, ok = $7, low = $8, fault = $9, silent = $10 WHERE id = $1 AND state = 'running' RETURNING id";
    INTERRUPTED = "SELECT id, number, area, total FROM sweeps WHERE state = 'running'";
    TALLY = "SELECT verdict, COUNT(*), COUNT(asked_at), MAX(answered_at) FROM sweep_rows WHERE sweep = $1 GROUP BY verdict";
    UNANSWERED = "SELECT thing FROM sweep_rows WHERE sweep = $1 AND verdict IN ('silent', 'open')";
    TRIM_ROWS = "DELETE FROM sweep_rows WHERE sweep IN
        (SELECT id FROM sweeps WHERE started_at < $1 AND state <> 'running' ORDER BY started_at LIMIT 2)";
    TRIM = "DELETE FROM sweeps WHERE started_at < $1 AND state <> 'running'
        AND NOT EXISTS (SELECT 1 FROM sweep_rows WHERE sweep_rows.sweep = sweeps.id)";
}

const ADD_ROWS: &str =
    "INSERT INTO sweep_rows (sweep, thing, thing_zh, thing_en, area, place_zh, place_en, datastream,
    asked_at, answered_at, measured_at, value, via, note, last_at, last_value, verdict, severity, sort)";
const RENEW_ROWS: &str = "ON CONFLICT (sweep, thing) DO UPDATE SET asked_at = excluded.asked_at,
    answered_at = excluded.answered_at, measured_at = excluded.measured_at, value = excluded.value,
    via = excluded.via, note = excluded.note, last_at = excluded.last_at, last_value = excluded.last_value,
    verdict = excluded.verdict, severity = excluded.severity, sort = excluded.sort";

/// A sweep that begins.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) id: Id,
    pub(super) scope: Scope,
    pub(super) limit_ms: i64,
    pub(super) total: i64,
    pub(super) repeats: Option<Id>,
    /// The schedule that it is due by, which moves on with it.
    pub(super) due: Option<Due>,
}

/// How a sweep came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Answered,
    Limit,
    Stopped,
    Restart,
}

impl Reason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Limit => "limit",
            Self::Stopped => "stopped",
            Self::Restart => "restart",
        }
    }

    fn state(self) -> SweepState {
        if self == Self::Stopped { SweepState::Stopped } else { SweepState::Ended }
    }
}

/// A sweep that is over.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) id: Id,
    pub(super) area: AreaPath,
    pub(super) number: String,
    pub(super) reason: Reason,
    pub(super) counts: Counts,
    pub(super) last_answer_at: Option<Micros>,
}

fn tell(tx: &mut Tx<'_>, id: Id, number: &str, area: &AreaPath, state: SweepState, counts: &Counts) {
    tx.subject("sweep", number, Some(area));
    let data = json!({ "id": id, "number": number, "state": state, "counts": counts });
    tx.event("sweep.changed", area, &data);
}

/// Puts a sweep on record; id and number, of an earlier one under the same idempotency key.
pub(super) async fn begin(
    store: &Store,
    context: &Context,
    begun: Begun,
) -> Result<(Id, String), SweepError> {
    store
        .command::<_, (Id, String), SweepError, _>(context, "sweep:start", begun, |tx, begun| {
            Box::pin(async move {
                let Begun { id, scope, limit_ms, total, repeats, due } = begun;
                let same = args![&scope.area, &scope.kind, &scope.datastream];
                if let Some((number,)) = tx.opt::<(String,)>(SAME, same).await? {
                    return Err(SweepError::Running(number));
                }
                let running = tx.opt::<(i64,)>(HOW_MANY, args![]).await?.map_or(0, |(n,)| n);
                if running >= MOST_RUNNING {
                    return Err(SweepError::Busy(running));
                }
                if let Some(due) = due {
                    schedule::move_on(tx, due).await?;
                }
                let number = tx.next_number("sweep").await?;
                let by =
                    due.as_ref().map_or_else(|| tx.context.actor.name().to_owned(), |d| d.by_name.clone());
                let bound = args![
                    id,
                    &number,
                    &scope.area,
                    &scope.kind,
                    &scope.datastream,
                    *limit_ms,
                    tx.now,
                    tx.context.actor.person(),
                    by,
                    due.as_ref().map(|due| due.id),
                    *repeats,
                    *total
                ];
                tx.execute(BEGIN, bound).await?;
                let total = u64::try_from(*total).unwrap_or(0);
                let counts = Counts { total, open: total, ..Counts::default() };
                tell(tx, *id, &number, &scope.area, SweepState::Running, &counts);
                Ok((*id, number))
            })
        })
        .await
}

/// Puts on record who stops it; that it is over is written by its task.
pub(super) async fn stop(store: &Store, context: &Context, id: Id) -> Result<(), SweepError> {
    store
        .command::<_, (), SweepError, _>(context, "sweep:stop", id, |tx, id| {
            Box::pin(async move {
                let by = tx.context.actor.name().to_owned();
                let row: Option<(String, String)> = tx.opt(STOP, args![*id, by]).await?;
                let (number, area) = row.ok_or(SweepError::Over)?;
                tx.subject("sweep", number, Some(&path(&area)?));
                Ok(())
            })
        })
        .await
}

pub(crate) fn path(text: &str) -> Result<AreaPath, StoreError> {
    AreaPath::parse(text).map_err(|e| StoreError::Document(e.to_string()))
}

/// Writes rows, over those that are there. No thing stands twice in `rows`.
pub(super) async fn write(store: &Store, sweep: Id, rows: Vec<SweepRow>) -> Result<(), StoreError> {
    let context = Context::system("watch", new_id());
    store
        .command::<_, (), StoreError, _>(&context, "sweep:note", (sweep, rows), |tx, (sweep, rows)| {
            Box::pin(async move {
                tx.bookkeeping();
                let rows = rows.iter().map(|row| values(*sweep, row)).collect();
                tx.insert_many(ADD_ROWS, RENEW_ROWS, 19, rows).await
            })
        })
        .await
}

fn values(sweep: Id, row: &SweepRow) -> Vec<Value> {
    args![
        sweep,
        &row.thing,
        &row.name.zh,
        &row.name.en,
        &row.area,
        &row.place.zh,
        &row.place.en,
        row.datastream,
        row.asked_at,
        row.answered_at,
        row.measured_at,
        row.value,
        row.via.map(super::Via::as_str),
        row.note.clone(),
        row.last_at,
        row.last_value,
        row.verdict.as_str(),
        row.severity,
        sort(row)
    ]
}

/// Puts the end of a sweep on record, once.
pub(super) async fn end(store: &Store, context: &Context, end: End) -> Result<(), StoreError> {
    store
        .command::<_, (), StoreError, _>(context, "sweep:end", end, |tx, end| {
            Box::pin(async move { write_end(tx, end).await })
        })
        .await
}

async fn write_end(tx: &mut Tx<'_>, end: &End) -> Result<(), StoreError> {
    tx.bookkeeping();
    let End { id, area, number, reason, counts, last_answer_at } = end;
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let state = reason.state();
    let bound = args![
        *id,
        if state == SweepState::Stopped { "stopped" } else { "ended" },
        reason.as_str(),
        tx.now,
        *last_answer_at,
        count(counts.asked),
        count(counts.ok),
        count(counts.low),
        count(counts.fault),
        count(counts.silent)
    ];
    if tx.opt::<(Id,)>(END, bound).await?.is_some() {
        tell(tx, *id, number, area, state, counts);
    }
    Ok(())
}

type Tally = (String, i64, i64, Option<i64>);

/// Ends, with what is known, the sweeps that the last run of the hub did not bring to an end.
pub(super) async fn end_interrupted(store: &Store) -> Result<(), StoreError> {
    let context = Context::system("watch", new_id());
    let interrupted: Vec<(Id, String, String, i64)> = store.read().all(INTERRUPTED, args![]).await?;
    for (id, number, area, total) in interrupted {
        let tallies: Vec<Tally> = store.read().all(TALLY, args![id]).await?;
        let total = u64::try_from(total).unwrap_or(0);
        let mut counts = Counts { total, ..Counts::default() };
        let mut last_answer_at = None;
        let mut known = 0;
        for (verdict, rows, asked, last) in tallies {
            let rows = u64::try_from(rows).unwrap_or(0);
            let verdict = super::Verdict::from_name(&verdict).unwrap_or_default();
            *counts.of(verdict) += rows;
            counts.asked += u64::try_from(asked).unwrap_or(0);
            known += rows;
            last_answer_at = last_answer_at.max(last);
        }
        // Those that were not even asked have no row.
        counts.open += total.saturating_sub(known);
        let last_answer_at = last_answer_at.map(Micros);
        tracing::warn!(sweep = number, "the hub was stopped in a sweep; it is ended with what is known");
        let area = path(&area)?;
        let over = End { id, area, number, reason: Reason::Restart, counts, last_answer_at };
        end(store, &context, over).await?;
    }
    Ok(())
}

/// Who did not answer in a sweep.
pub(super) async fn unanswered(store: &Store, sweep: Id) -> Result<HashSet<String>, StoreError> {
    let things: Vec<(String,)> = store.read().all(UNANSWERED, args![sweep]).await?;
    Ok(things.into_iter().map(|(thing,)| thing).collect())
}

/// Deletes sweeps that are older than they are kept, two at a time.
pub(super) async fn trim(store: &Store) -> Result<(), StoreError> {
    let context = Context::system("watch", new_id());
    let before = super::now().plus(-KEEP);
    store
        .command::<_, (), StoreError, _>(&context, "sweep:forget", before, |tx, before| {
            Box::pin(async move {
                tx.bookkeeping();
                tx.execute(TRIM_ROWS, args![*before]).await?;
                tx.execute(TRIM, args![*before]).await?;
                Ok(())
            })
        })
        .await
}
