//! `/api/v1/events`: one stream of server-sent events a page.
//!
//! State events carry their position as id and are resumed from `Last-Event-ID`; when the place
//! is no longer kept the client gets `reset` and loads everything anew. Last values and states of
//! things come once a second, coalesced, without id; so does the progress of sweeps, four times a
//! second at most. Everything is filtered by what the caller may see, and a session that has ended,
//! or may do something else now, ends its stream: at once when this
//! hub ended it, within seconds when its time was up. The page then asks anew who it is.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Sse, KeepAlive, Sse as SseResponse};
use axum::response::{IntoResponse as _, Response};
use futures::Stream;
use model::{Context, Event, Id};
use platform::http::{Access, Api, Caller, HttpResult, Problem};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch as latest};
use utoipa_axum::routes;
use watch::sweep::Progress;

use crate::hub::Rooms;

/// How many recent events are kept in memory for the streams.
const KEPT: usize = 8192;
/// How often a stream looks whether its session still holds as it did.
const LOOK_AGAIN: Duration = Duration::from_secs(4);

/// How long a client waits before it connects again; browsers wait three seconds unless told.
const RETRY: Duration = Duration::from_secs(1);

pub(super) fn routes(rooms: Arc<Rooms>) -> Api<()> {
    Api::new().add(Access::Session, routes!(stream)).with_state(rooms)
}

/// The end of the outbox, in memory: one reader of the database serves all streams.
pub struct Tail {
    recent: RwLock<VecDeque<Arc<Event>>>,
    head: latest::Sender<i64>,
}

impl Tail {
    /// Starts following the outbox from its present head.
    pub fn follow(store: store::Store) -> Arc<Self> {
        let mut head = store.head();
        let mut position = *head.borrow_and_update();
        let tail = Arc::new(Self { recent: RwLock::default(), head: latest::channel(position).0 });
        let following = tail.clone();
        tokio::spawn(async move {
            loop {
                match store.events_after(position, 512).await {
                    Ok(events) if !events.is_empty() => {
                        position = events.last().map_or(position, |e| e.position);
                        if let Ok(mut recent) = following.recent.write() {
                            recent.extend(events.into_iter().map(Arc::new));
                            let over = recent.len().saturating_sub(KEPT);
                            recent.drain(..over);
                        }
                        following.head.send_replace(position);
                        continue;
                    }
                    Ok(_) => {}
                    Err(e) => {
                        tracing::warn!(error = %e, "event streams wait for the store");
                        tokio::time::sleep(Duration::from_millis(500)).await;
                        continue;
                    }
                }
                tokio::select! {
                    () = store.stopped() => break,
                    changed = head.changed() => if changed.is_err() { break },
                }
            }
        });
        tail
    }

    /// Events after `position`, from memory; `None` when some of them are no longer there.
    fn after(&self, position: i64) -> Option<Vec<Arc<Event>>> {
        let recent = self.recent.read().ok()?;
        if position >= *self.head.borrow() {
            return Some(Vec::new());
        }
        let first = recent.front()?.position;
        if position + 1 < first {
            return None;
        }
        let from = recent.partition_point(|e| e.position <= position);
        Some(recent.iter().skip(from).cloned().collect())
    }
}

/// Whether the caller may see an event: the permission to read what it tells of, where it is.
fn sees(context: &Context, event: &Event) -> bool {
    let permission = match event.kind.split('.').next().unwrap_or_default() {
        "alert" => "alert:read",
        "case" => "case:read",
        "task" => "task:read",
        "sweep" => "sweep:read",
        "notice" => {
            // A public notice of the estate is seen from its buildings.
            let public = event.data.get("public").and_then(serde_json::Value::as_bool) == Some(true)
                || event.kind == "notice.ended";
            return context.may("notice:read", &event.area)
                || public && context.scope("notice:read").iter().any(|a| a.is_in(&event.area));
        }
        _ => return false,
    };
    context.may(permission, &event.area)
}

fn state_event(event: &Event) -> Sse {
    let mut data = match &event.data {
        serde_json::Value::Object(o) => o.clone(),
        _ => serde_json::Map::new(),
    };
    data.insert("position".into(), event.position.into());
    data.insert("area".into(), event.area.as_str().into());
    data.insert("at".into(), event.at.to_string().into());
    Sse::default()
        .id(event.position.to_string())
        .event(&event.kind)
        .data(serde_json::Value::Object(data).to_string())
}

/// How many streams one session may hold: a tab has one.
const STREAMS: usize = 32;

/// The streams that are open, by session.
#[derive(Default)]
pub struct Streams(Mutex<HashMap<String, usize>>);

/// One open stream; its place is free again when it is dropped.
struct Place {
    streams: Arc<Streams>,
    session: String,
}

impl Streams {
    fn take(self: &Arc<Self>, session: &str) -> Option<Place> {
        let mut open = self.0.lock().ok()?;
        let count = open.entry(session.to_owned()).or_default();
        if *count >= STREAMS {
            return None;
        }
        *count += 1;
        Some(Place { streams: self.clone(), session: session.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(mut open) = self.streams.0.lock()
            && let Some(count) = open.get_mut(&self.session)
        {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.session);
            }
        }
    }
}

struct Reader {
    _place: Place,
    rooms: Arc<Rooms>,
    caller: Caller,
    position: i64,
    head: latest::Receiver<i64>,
    second: tokio::time::Interval,
    look_again: tokio::time::Interval,
    changes: broadcast::Receiver<Id>,
    values: watch::LiveCursor,
    sweeps: broadcast::Receiver<Arc<Progress>>,
    ready: VecDeque<Sse>,
}

/// Everything I may see, as it happens.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "the id of the last event seen")),
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = 401, body = Problem),
        (status = 429, body = Problem)))]
async fn stream(State(rooms): State<Arc<Rooms>>, caller: Caller, headers: HeaderMap) -> HttpResult<Response> {
    let Some(place) = rooms.streams.take(&caller.token) else { return Err(Problem::throttled(10)) };
    let head = rooms.tail.head.subscribe();
    let changes = rooms.platform.sessions().changes();
    let now = *head.borrow();
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<i64>().ok());
    let mut ready = VecDeque::new();
    let position = match last {
        None => now,
        Some(last) => {
            let oldest = rooms.store.oldest_event().await?;
            if last > now || last + 1 < oldest {
                ready.push_back(Sse::default().id(now.to_string()).event("reset").retry(RETRY).data("{}"));
                now
            } else {
                last
            }
        }
    };
    if last.is_none() {
        // Gives the client an id to resume from before anything happens.
        ready.push_back(Sse::default().id(now.to_string()).event("hello").retry(RETRY).data("{}"));
    }
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut look_again = tokio::time::interval(LOOK_AGAIN);
    look_again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let values = rooms.watch.live_cursor();
    let sweeps = rooms.sweeps.progress();
    let reader = Reader {
        _place: place,
        rooms,
        caller,
        position,
        head,
        second,
        look_again,
        changes,
        values,
        sweeps,
        ready,
    };
    let response = SseResponse::new(read(reader)).keep_alive(
        KeepAlive::new().interval(Duration::from_secs(15)).event(Sse::default().event("ping").data("{}")),
    );
    let mut response = response.into_response();
    // A proxy that gathers answers would hold events back.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    Ok(response)
}

fn read(reader: Reader) -> impl Stream<Item = Result<Sse, Infallible>> {
    futures::stream::unfold(reader, |mut reader| async move {
        loop {
            if let Some(event) = reader.ready.pop_front() {
                return Some((Ok(event), reader));
            }
            if !reader.gather().await {
                return None;
            }
        }
    })
}

impl Reader {
    /// Waits for something to tell; `false` ends the stream.
    async fn gather(&mut self) -> bool {
        tokio::select! {
            () = self.rooms.stop.cancelled() => return false,
            changed = self.head.changed() => {
                if changed.is_err() {
                    return false;
                }
                self.head.borrow_and_update();
                return self.state_events().await;
            }
            Ok(progress) = self.sweeps.recv() => self.progress(&progress),
            _ = self.second.tick() => {
                // A missed wake-up costs a second at most.
                if *self.head.borrow() > self.position && !self.state_events().await {
                    return false;
                }
                self.live();
            }
            _ = self.look_again.tick() => return self.holds().await,
            changed = self.changes.recv() => return match changed {
                Ok(person) if person != self.caller.person => true,
                Ok(_) | Err(RecvError::Lagged(_)) => self.holds().await,
                Err(RecvError::Closed) => false,
            },
        }
        true
    }

    /// Whether the session holds and may do what it might when the stream was opened.
    async fn holds(&self) -> bool {
        match self.rooms.platform.sessions().find(&self.rooms.store, &self.caller.token).await {
            Ok(Some(session)) => {
                let before = self.caller.session.grants.iter().map(|g| &g.grant);
                session.need.is_none() && session.grants.iter().map(|g| &g.grant).eq(before)
            }
            Ok(None) => false,
            // The store is away: what was allowed a moment ago stays so until it is back.
            Err(e) => {
                tracing::debug!(error = %e, "a stream's session could not be looked up");
                true
            }
        }
    }

    async fn state_events(&mut self) -> bool {
        let events = match self.rooms.tail.after(self.position) {
            Some(events) => events,
            None => match self.rooms.store.events_after(self.position, 512).await {
                Ok(events) => events.into_iter().map(Arc::new).collect(),
                Err(e) => {
                    tracing::debug!(error = %e, "a stream waits for the store");
                    return true;
                }
            },
        };
        for event in events {
            self.position = event.position;
            if sees(&self.caller.context, &event) {
                self.ready.push_back(state_event(&event));
            }
        }
        true
    }

    /// The progress of a sweep; whoever missed some of it reads the rows when it is over.
    fn progress(&mut self, progress: &Progress) {
        if self.caller.context.may("sweep:read", &progress.area)
            && let Ok(data) = serde_json::to_string(progress)
        {
            self.ready.push_back(Sse::default().event("sweep.changed").data(data));
        }
    }

    fn live(&mut self) {
        let scope = self.caller.context.scope("thing:read");
        if scope.is_empty() {
            return;
        }
        let live = self.rooms.watch.live_since(&mut self.values, &scope);
        if !live.values.is_empty() {
            let data = serde_json::json!({ "at": store::now(), "items": live.values });
            self.ready.push_back(Sse::default().event("values").data(data.to_string()));
        }
        if !live.things.is_empty() {
            let data = serde_json::json!({ "items": live.things });
            self.ready.push_back(Sse::default().event("things").data(data.to_string()));
        }
    }
}
