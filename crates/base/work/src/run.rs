//! One command in progress: steps of the engine, and their effects as rows.

use std::collections::{HashMap, VecDeque};

use model::{AreaPath, Id, Micros};
use platform::duty::{self, Holder};
use platform::notification::Telling;
use process::{Effect, Input, StepError};
use serde_json::json;
use store::{StoreError, Tx, Value, args, new_id};

use crate::Room;
use crate::case::Case;
use crate::timeline::{self, Entry};
use crate::{escalation, notify, service, task};

store::statements! {
    ADD_TIMER = "INSERT INTO timers (id, kind, case_id, token, element, level, due_at, next_at, attempts)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 0)";
    DROP_TIMER = "DELETE FROM timers WHERE case_id = $1 AND kind = $2 AND token = $3 AND element = $4";
    DROP_TIMERS = "DELETE FROM timers WHERE case_id = $1 AND kind IN ('boundary', 'escalation')";
    ADD_JOB = "INSERT INTO jobs (id, case_id, token, element, service, params, state, attempts, next_at, reason, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, 'waiting', 0, $7, NULL, $7)";
    DROP_JOB = "DELETE FROM jobs WHERE case_id = $1 AND token = $2 AND state <> 'done'";
}

/// Why a step was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The engine did not take it; nothing changed.
    Step(StepError),
    /// The store.
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

/// A command in progress.
pub(crate) struct Run<'a, 'c> {
    pub(crate) tx: &'a mut Tx<'c>,
    pub(crate) room: &'a Room,
    holders: HashMap<(String, AreaPath), Vec<Holder>>,
    log: Vec<Vec<Value>>,
    tellings: Vec<Telling>,
}

impl<'a, 'c> Run<'a, 'c> {
    pub(crate) fn new(tx: &'a mut Tx<'c>, room: &'a Room) -> Self {
        Self { tx, room, holders: HashMap::new(), log: Vec::new(), tellings: Vec::new() }
    }

    /// Writes what waits for the end of the command.
    pub(crate) async fn finish(self) -> Result<(), StoreError> {
        self.tx.insert_many(timeline::INSERT, "", 11, self.log).await?;
        self.room.platform.notifications().tell(self.tx, &self.tellings).await
    }

    /// People are told by the declared channels, once the command has committed.
    pub(crate) fn tell(&mut self, telling: Telling) {
        self.tellings.push(telling);
    }

    /// An entry of a case's timeline.
    pub(crate) fn log(&mut self, case: Id, entry: Entry<'_>) {
        let row = entry.row(self.tx, case);
        self.log.push(row);
    }

    /// Who holds `post` for `area` now; asked once a command.
    pub(crate) async fn holders(&mut self, post: &str, area: &AreaPath) -> Result<Vec<Holder>, StoreError> {
        let key = (post.to_owned(), area.clone());
        if let Some(known) = self.holders.get(&key) {
            return Ok(known.clone());
        }
        let holders = duty::holders(self.tx, post, area).await?;
        self.holders.insert(key, holders.clone());
        Ok(holders)
    }

    /// Sets a timer.
    pub(crate) async fn timer(
        &mut self,
        kind: &'static str,
        case: Id,
        token: u64,
        element: &str,
        level: i64,
        due: Micros,
    ) -> Result<(), StoreError> {
        self.tx.execute(ADD_TIMER, args![new_id(), kind, case, token as i64, element, level, due]).await?;
        self.room.timers.notify_one();
        Ok(())
    }

    /// Drops the timers that belong to the steps of a case.
    pub(crate) async fn drop_timers(&mut self, case: Id) -> Result<(), StoreError> {
        self.tx.execute(DROP_TIMERS, args![case]).await?;
        Ok(())
    }

    /// Drops one timer.
    pub(crate) async fn drop_timer(
        &mut self,
        kind: &'static str,
        case: Id,
        token: u64,
        element: &str,
    ) -> Result<(), StoreError> {
        self.tx.execute(DROP_TIMER, args![case, kind, token as i64, element]).await?;
        Ok(())
    }

    /// Takes one step of the case, with all that follows from it, and saves it.
    pub(crate) async fn step(&mut self, case: &mut Case, input: Input) -> Result<(), Refused> {
        let loaded = case.loaded.clone();
        let now = self.tx.now;
        let effects = case.instance.apply(&loaded.definition, input, now).map_err(Refused::Step)?;
        self.carry_out(case, effects).await?;
        case.save(self).await?;
        Ok(())
    }

    /// Carries effects out in their order. Built-in services answer at once, so that what they
    /// write commits with the step that called them.
    pub(crate) async fn carry_out(
        &mut self,
        case: &mut Case,
        effects: Vec<Effect>,
    ) -> Result<(), StoreError> {
        let loaded = case.loaded.clone();
        let mut waiting = VecDeque::from(effects);
        while let Some(effect) = waiting.pop_front() {
            match effect {
                Effect::Entered { .. } | Effect::Walked { .. } => {}
                Effect::OpenTask { token, element } => escalation::open(self, case, token, &element).await?,
                Effect::WithdrawTask { token, element } => {
                    task::withdraw(self, case, token, &element, None).await?;
                    self.drop_timer("escalation", case.row.id, token, &element).await?;
                }
                Effect::StartTimer { token, element, due } => {
                    let due = self.room.after(self.tx.now, due);
                    self.timer("boundary", case.row.id, token, &element, 0, due).await?;
                }
                Effect::CancelTimer { token, element } => {
                    self.drop_timer("boundary", case.row.id, token, &element).await?;
                }
                Effect::RunService { token, element, service, params } if service::is_built_in(&service) => {
                    let result = if service == service::NOTIFY {
                        notify::notify(self, case, &element, &params).await?
                    } else {
                        notify::end(self, case, &element, &params).await?
                    };
                    let now = self.tx.now;
                    let input = Input::ServiceDone { token, result };
                    let more = case
                        .instance
                        .apply(&loaded.definition, input, now)
                        .map_err(|e| StoreError::Document(format!("case {}: {e}", case.row.number)))?;
                    waiting.extend(more);
                }
                Effect::RunService { token, element, service, params } => {
                    let now = self.tx.now;
                    let params = json!(params);
                    let values = args![new_id(), case.row.id, token as i64, &element, &service, &params, now];
                    self.tx.execute(ADD_JOB, values).await?;
                    self.room.jobs.notify_one();
                }
                Effect::WithdrawService { token, .. } => {
                    self.tx.execute(DROP_JOB, args![case.row.id, token as i64]).await?;
                }
                Effect::Ended { outcome } => case.close(self, &outcome).await?,
            }
        }
        Ok(())
    }
}
