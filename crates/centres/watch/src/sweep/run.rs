//! A running sweep in memory: whom it asks, what each answered, what is not on record yet.
//!
//! Committed observations and answers are noted here by whoever committed them, which must not
//! wait: a look-up and a few words under a lock. What they mean is found out by the sweep's own
//! task (`drive`), and written there.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use lake::Rows;
use model::command::{Answer, Answers, Correlation, Reply};
use model::{DatastreamKey, Id, Micros, Severity};
use tokio::sync::Notify;

use super::{Counts, Scope, Verdict, Via};
use crate::Watch;

/// How far a device's clock may be behind ours: an observation that it stamped so much before the
/// question still counts as measured after it.
const CLOCK_SLACK: i64 = 2 * Micros::SECOND;

/// Whom a sweep asks.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) code: Box<str>,
    pub(super) key: DatastreamKey,
}

/// A value, and when it was measured and came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heard {
    pub(super) reply: Reply,
    pub(super) at: Micros,
    pub(super) via: Via,
}

/// What is known of one target.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// When it was asked, or would have been if it had listened.
    pub(super) asked_at: Option<Micros>,
    /// It listened.
    pub(super) reached: bool,
    pub(super) heard: Option<Heard>,
    /// What was known before.
    pub(super) last: Option<(Micros, f64)>,
    pub(super) verdict: Verdict,
    pub(super) severity: Option<Severity>,
    dirty: bool,
}

#[derive(Debug, Default)]
struct Board {
    known: Vec<Known>,
    /// Places whose rows on record are behind.
    dirty: Vec<u32>,
    /// Asked, and not answered.
    waiting: usize,
    /// Everybody was asked.
    all_asked: bool,
    last_answer_at: Option<Micros>,
    asked: u64,
    counts: Counts,
}

/// Why a sweep ends before everybody answered and before its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// Somebody stopped it.
    Stopped,
    /// The hub stops.
    HubStops,
}

/// A running sweep.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: Id,
    pub(super) number: String,
    pub(super) scope: Scope,
    pub(super) targets: Vec<Target>,
    /// Key → place in `targets`, sorted.
    by_key: Vec<(i32, u32)>,
    board: Mutex<Board>,
    halt: AtomicU8,
    pub(super) wake: Notify,
}

impl Run {
    pub(super) fn new(id: Id, number: String, scope: Scope, targets: Vec<Target>) -> Self {
        let places = targets.iter().zip(0u32..).map(|(target, place)| (target.key.0, place));
        let mut by_key: Vec<_> = places.collect();
        by_key.sort_unstable();
        let board = Board {
            known: vec![Known::default(); targets.len()],
            counts: Counts { open: targets.len() as u64, ..Counts::default() },
            ..Board::default()
        };
        let (board, wake) = (Mutex::new(board), Notify::new());
        Self { id, number, scope, targets, by_key, board, halt: AtomicU8::new(0), wake }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn halt(&self, why: Halt) {
        self.halt.store(if why == Halt::Stopped { 1 } else { 2 }, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn halted(&self) -> Option<Halt> {
        match self.halt.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Halt::Stopped),
            _ => Some(Halt::HubStops),
        }
    }

    /// Targets from place `first` on are asked now; `last` is what was known of each before. Noted
    /// before they are asked, so that no answer comes too early.
    pub(super) fn asking(&self, first: usize, at: Micros, last: Vec<Option<(Micros, f64)>>) {
        let board = &mut *self.board();
        for (place, last) in (first..).zip(last) {
            let Some(known) = board.known.get_mut(place) else { return };
            (known.asked_at, known.last, known.reached) = (Some(at), last, true);
            board.waiting += 1;
            board.asked += 1;
            board.touch(place);
        }
    }

    /// These were not reached after all.
    pub(super) fn not_reached(&self, places: impl Iterator<Item = usize>) {
        let board = &mut *self.board();
        for place in places {
            let Some(known) = board.known.get_mut(place) else { continue };
            known.reached = false;
            board.asked -= 1;
            if known.heard.is_none() {
                board.waiting -= 1;
                board.judge(place, Verdict::Silent, None);
            }
            board.touch(place);
        }
    }

    /// Nobody is left to ask.
    pub(super) fn all_asked(&self) {
        self.board().all_asked = true;
    }

    /// Everybody who was asked has answered.
    pub(super) fn is_done(&self) -> bool {
        self.board().is_done()
    }

    /// Those who have not answered are silent if the time they had is over; it stays open what
    /// would have become of the others. Everybody gets a row.
    pub(super) fn settle(&self, over: bool) {
        let board = &mut *self.board();
        for place in 0..board.known.len() {
            let known = &board.known[place];
            if known.heard.is_none() && known.asked_at.is_some() && over {
                board.judge(place, Verdict::Silent, None);
                board.touch(place);
            } else if known.asked_at.is_none() {
                board.touch(place);
            }
        }
    }

    /// Up to `most` targets whose rows are behind, with what is known of them.
    pub(super) fn behind(&self, most: usize) -> Vec<(usize, Known)> {
        let board = &mut *self.board();
        let keep = board.dirty.len().saturating_sub(most);
        let places = board.dirty.split_off(keep);
        let mut taken = Vec::with_capacity(places.len());
        for place in places {
            let place = place as usize;
            if let Some(known) = board.known.get_mut(place) {
                known.dirty = false;
                taken.push((place, known.clone()));
            }
        }
        taken
    }

    /// What the answers of these mean; their rows are written now.
    pub(super) fn judged(&self, judged: &[(usize, Known)]) {
        let board = &mut *self.board();
        for (place, known) in judged {
            board.judge(*place, known.verdict, known.severity);
        }
    }

    /// Their rows were not written after all.
    pub(super) fn still_behind(&self, places: impl Iterator<Item = usize>) {
        let board = &mut *self.board();
        places.for_each(|place| board.touch(place));
    }

    pub(super) fn counts(&self) -> Counts {
        let board = self.board();
        Counts { total: board.known.len() as u64, asked: board.asked, ..board.counts }
    }

    pub(super) fn last_answer_at(&self) -> Option<Micros> {
        self.board().last_answer_at
    }

    /// Notes committed observations: what a device publishes after it was asked answers as well.
    /// The sweep is not woken, since each answer on a reply topic comes this way first and is told
    /// a moment later; the next look finds whatever was none.
    fn observed(&self, rows: &Rows, now: Micros) {
        let board = &mut *self.board();
        let columns = rows.keys().iter().zip(rows.times()).zip(rows.values());
        for ((key, time), value) in columns {
            let Ok(at) = self.by_key.binary_search_by_key(key, |(key, _)| *key) else { continue };
            let place = self.by_key[at].1 as usize;
            let Some(known) = board.known.get(place) else { continue };
            let since = known.asked_at.filter(|asked| *time >= asked.0 - CLOCK_SLACK);
            if known.heard.is_none() && since.is_some() {
                let reply = Reply::Value { time: Micros(*time), value: *value };
                board.hear(place, Heard { reply, at: now, via: Via::Observation });
            }
        }
    }

    /// Notes an answer. It is the better account of what came as an observation just before.
    fn answered(&self, answer: Answer) {
        let place = answer.correlation.number as usize;
        let heard = Heard { reply: answer.reply, at: answer.received_at, via: Via::Reply };
        let done = {
            let board = &mut *self.board();
            let known = board.known.get(place);
            if known.is_some_and(|known| known.heard.as_ref().is_none_or(|h| h.via == Via::Observation)) {
                board.hear(place, heard);
            }
            board.is_done()
        };
        if done {
            self.wake.notify_one();
        }
    }
}

impl Board {
    fn touch(&mut self, place: usize) {
        if let (Some(known), Ok(at)) = (self.known.get_mut(place), u32::try_from(place))
            && !std::mem::replace(&mut known.dirty, true)
        {
            self.dirty.push(at);
        }
    }

    fn judge(&mut self, place: usize, verdict: Verdict, severity: Option<Severity>) {
        let Some(known) = self.known.get_mut(place) else { return };
        *self.counts.of(known.verdict) -= 1;
        (known.verdict, known.severity) = (verdict, severity);
        *self.counts.of(verdict) += 1;
    }

    fn is_done(&self) -> bool {
        self.all_asked && self.waiting == 0
    }

    fn hear(&mut self, place: usize, heard: Heard) {
        let Some(known) = self.known.get_mut(place) else { return };
        let first = known.heard.is_none();
        self.last_answer_at = self.last_answer_at.max(Some(heard.at));
        known.heard = Some(heard);
        self.waiting -= usize::from(first && known.reached);
        self.touch(place);
    }
}

/// The sweeps that run now.
#[derive(Debug, Default)]
pub(crate) struct Running {
    runs: RwLock<Vec<Arc<Run>>>,
    /// How many: the ingest of a hub that sweeps nothing pays one load for it.
    count: AtomicUsize,
}

impl Running {
    fn runs(&self) -> Vec<Arc<Run>> {
        self.runs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn all(&self) -> Vec<Arc<Run>> {
        self.runs()
    }

    pub(super) fn find(&self, id: Id) -> Option<Arc<Run>> {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        runs.iter().find(|run| run.id == id).cloned()
    }

    pub(super) fn enter(&self, run: &Arc<Run>) {
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        runs.push(run.clone());
        self.count.store(runs.len(), Ordering::Release);
    }

    pub(super) fn leave(&self, id: Id) {
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        runs.retain(|run| run.id != id);
        self.count.store(runs.len(), Ordering::Release);
    }

    /// Notes committed observations for the sweeps that wait for them.
    pub(crate) fn observed(&self, rows: &Rows) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let now = store::now();
        for run in self.runs() {
            run.observed(rows, now);
        }
    }
}

impl Answers for Watch {
    fn expected(&self, thing: &str, correlation: Correlation) -> Option<DatastreamKey> {
        let run = self.sweeping.find(correlation.asker)?;
        let target = run.targets.get(usize::try_from(correlation.number).ok()?)?;
        (*target.code == *thing).then_some(target.key)
    }

    fn take(&self, answers: Vec<Answer>) {
        for answer in answers {
            // One that ended meanwhile has its record; the observation is stored all the same.
            if let Some(run) = self.sweeping.find(answer.correlation.asker) {
                run.answered(answer);
            }
        }
    }
}
