//! The subscriber of alert events: alerts start cases, and cases hear of their alerts.
//!
//! The cursor moves in the same transaction, so that each event acts exactly once.

use std::sync::Arc;

use futures::future::BoxFuture;
use model::Event;
use store::outbox::Handler;
use store::{StoreError, Tx};

use crate::Room;
use crate::case::{self, str_of};
use crate::run::Run;

store::statements! {}

pub(crate) async fn subscribe(room: &Arc<Room>) -> Result<(), StoreError> {
    room.store.subscribe("work.bindings", handler(room.clone())).await
}

fn handler(room: Arc<Room>) -> Handler {
    // Gives the closure the type that the subscriber asks for.
    fn typed<F>(f: F) -> F
    where
        F: for<'t, 'c> Fn(&'t mut Tx<'c>, &'t [Event]) -> BoxFuture<'t, Result<(), StoreError>> + Send + Sync,
    {
        f
    }
    Arc::new(typed(move |tx, events| {
        let room = room.clone();
        Box::pin(async move { digest(&room, tx, events).await })
    }))
}

async fn digest(room: &Room, tx: &mut Tx<'_>, events: &[Event]) -> Result<(), StoreError> {
    let mut run = Run::new(tx, room);
    for event in events {
        match event.kind.as_str() {
            "alert.opened" => {
                if let Some(binding) = room.bindings.get(str_of(&event.data, "rule")) {
                    case::open_or_join(&mut run, binding, &event.data, "open").await?;
                }
            }
            "alert.changed" | "alert.resolved" => case::follow_alert(&mut run, event).await?,
            _ => {}
        }
    }
    run.finish().await
}
