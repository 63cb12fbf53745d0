//! The audit (审计) for those who read it: search, export, and anchors outside the database.
//!
//! The entries and their chain are the store's ([`store::audit`]).

pub mod anchor;

use model::{AreaPath, Context, Id, Micros};
use store::filter::{KeyValue, Keyed};
use store::{Filter, Order, Page, PageRequest, Select, StoreError, Value};

use crate::Platform;

const ENTRIES: &str = "SELECT seq, position, hash, at, actor, actor_name, action, resource, resource_id, area, request, detail FROM audit";

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Entry {
    /// Its number in the table.
    pub seq: i64,
    /// Its position in the chain; none for one older than the chain.
    pub position: Option<i64>,
    /// Its hash in the chain.
    pub hash: Option<Vec<u8>>,
    /// When, µs.
    pub at: i64,
    /// Who: `person:<id>` or `system:<part>`.
    pub actor: String,
    /// The name as it was then.
    pub actor_name: String,
    /// What: `resource:verb`.
    pub action: String,
    /// On what kind of thing.
    pub resource: Option<String>,
    /// On which.
    pub resource_id: Option<String>,
    /// Where, a path.
    pub area: Option<String>,
    /// The id of the request.
    pub request: Id,
    /// Facts: a JSON text.
    pub detail: String,
}

impl Keyed for Entry {
    fn key(&self) -> Vec<KeyValue> {
        vec![KeyValue::I64(self.at), KeyValue::I64(self.seq)]
    }
}

/// What is asked of the audit; each that is there narrows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Part of the actor's name, or the whole of its key (`person:<id>`).
    pub who: Option<String>,
    /// Part of the action.
    pub what: Option<String>,
    /// The kind or the id of what was acted on.
    pub object: Option<String>,
    /// Not before.
    pub from: Option<Micros>,
    /// Before.
    pub to: Option<Micros>,
    /// The request's id.
    pub request: Option<Id>,
}

impl Search {
    fn filter(self) -> Filter {
        let mut filter = Filter::All;
        if let Some(who) = self.who {
            filter = filter.and(Filter::Or(vec![
                Filter::Is("actor", Value::from(&who)),
                Filter::Contains(vec!["actor_name"], who),
            ]));
        }
        if let Some(what) = self.what {
            filter = filter.and(Filter::Contains(vec!["action"], what));
        }
        if let Some(object) = self.object {
            filter = filter.and(Filter::Or(vec![
                Filter::Is("resource", Value::from(&object)),
                Filter::Is("resource_id", Value::from(&object)),
            ]));
        }
        if let Some(from) = self.from {
            filter = filter.and(Filter::AtLeast("at", Value::from(from)));
        }
        if let Some(to) = self.to {
            filter = filter.and(Filter::Below("at", Value::from(to)));
        }
        if let Some(request) = self.request {
            filter = filter.and(Filter::Is("request", Value::from(request)));
        }
        filter
    }
}

impl Platform {
    /// One page of the audit, the newest first. Who reads it for the whole city reads all of it;
    /// who reads it for a part reads the entries that name an area in that part.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit(
        &self,
        scope: Vec<AreaPath>,
        search: Search,
        page: &PageRequest,
    ) -> Result<Page<Entry>, StoreError> {
        let filter = if self.is_everywhere(&scope) { Filter::All } else { Filter::Within("area", scope) };
        let select = Select {
            head: ENTRIES,
            filter: filter.and(search.filter()),
            order: vec![Order::Down("at"), Order::Down("seq")],
        };
        self.store.list(select, page).await
    }

    /// Notes that the audit was exported, and what of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_export(&self, context: &Context, facts: serde_json::Value) -> Result<(), StoreError> {
        self.store
            .command::<_, (), StoreError, _>(context, "audit:export", facts, |tx, facts| {
                Box::pin(async move {
                    tx.detail(facts.clone());
                    Ok(())
                })
            })
            .await
    }

    /// Whether a scope holds every area there is.
    #[must_use]
    pub fn is_everywhere(&self, scope: &[AreaPath]) -> bool {
        let areas = self.areas.all();
        !areas.is_empty() && areas.iter().all(|area| scope.iter().any(|s| area.path.is_in(s)))
    }
}
