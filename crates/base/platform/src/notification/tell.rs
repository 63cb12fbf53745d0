//! Telling: messages and their first deliveries, in the transaction of the step that tells.

use std::collections::{HashMap, HashSet};

use model::{AreaPath, Id, Micros, Severity, Text};
use serde::{Deserialize, Serialize};
use store::{StoreError, Tx, Value, args, new_id};

use super::channel::Channel;
use super::contact::{self, Contact};
use super::{Notifications, webhook};

store::statements! {
    WITHDRAW = "UPDATE deliveries SET state = 'withdrawn', settled_at = $2 WHERE state IN ('waiting', 'held')
        AND notification IN (SELECT id FROM notifications WHERE key = $1)";
    WITHDRAW_MESSAGES = "UPDATE notifications SET state = 'withdrawn' WHERE key = $1 AND state = 'waiting'";
}

const ADD_MESSAGES: &str =
    "INSERT INTO notifications (id, sort, key, case_no, area, person, webhook, recipient, post,
    severity, title_zh, title_en, body_zh, body_en, path, plan, state, created_at, read_at)";
pub(super) const ADD_DELIVERIES: &str = "INSERT INTO deliveries (id, sort, notification, area, severity, channel,
    address, state, attempts, tries, first_at, next_at, claimed_until, settled_at, reason, reference, created_at)";
pub(super) const DELIVERY_COLUMNS: usize = 17;

/// The rank of a message without a colour: after blue.
pub(super) const NO_SEVERITY: i64 = 5;
/// The longest title and text, in characters.
const LONGEST: [usize; 2] = [200, 2_000];

/// What the holders of a post are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// What it is about, for [`withdraw`]: `task/…`.
    pub key: String,
    /// The number of the case; empty when there is none.
    pub case: String,
    /// Where it happened: who may read this area's notifications sees it.
    pub area: AreaPath,
    /// How grave; decides on quiet hours.
    pub severity: Option<Severity>,
    /// The post that is told.
    pub post: String,
    /// Who holds it now: id and name.
    pub people: Vec<(Id, String)>,
    /// What happened.
    pub title: Text,
    /// What to do.
    pub body: Text,
    /// The page that shows it: `/tasks/…`; empty when there is none.
    pub path: String,
    /// The channels of this message in their order, in place of the configured one.
    pub channels: Option<Vec<Channel>>,
}

/// What may still be tried: channel and address, the next one first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan(pub(super) Vec<(Channel, String)>);

/// A delivery to write.
pub(super) struct NewDelivery<'a> {
    pub(super) notification: Id,
    pub(super) area: &'a str,
    pub(super) severity: i64,
    pub(super) channel: Channel,
    pub(super) address: &'a str,
    pub(super) state: &'static str,
    pub(super) next_at: Micros,
}

impl NewDelivery<'_> {
    pub(super) fn row(&self, now: Micros) -> Vec<Value> {
        let id = new_id();
        let settled = (self.state == "accepted").then_some(now);
        let none = || Value::I64(None);
        let mut row = args![
            id,
            id.to_string(),
            self.notification,
            self.area,
            self.severity,
            self.channel.as_str(),
            self.address,
            self.state,
            0i64,
            0i64
        ];
        row.extend([none(), Value::from(self.next_at), none(), Value::from(settled)]);
        row.extend([Value::Text(None), Value::Text(None), Value::from(now)]);
        row
    }
}

/// The first channel of a plan becomes a delivery: waiting, or held back until the quiet hours end.
pub(super) fn first<'a>(
    notification: Id,
    area: &'a str,
    severity: i64,
    (channel, address): &'a (Channel, String),
    now: Micros,
    held: Option<Micros>,
) -> NewDelivery<'a> {
    let (state, next_at) = held.map_or(("waiting", now), |until| ("held", until));
    NewDelivery { notification, area, severity, channel: *channel, address, state, next_at }
}

fn short(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.trim().to_owned();
    }
    let mut cut: String = text.chars().take(longest - 1).collect();
    cut.push('…');
    cut
}

impl Notifications {
    /// Tells, inside a command: what is written commits with the step that tells, and is sent
    /// after. A person told twice of one key in one call is told once; a system whose webhook
    /// names the post (or every post) there is told besides.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tell(&self, tx: &mut Tx<'_>, all: &[Telling]) -> Result<(), StoreError> {
        if all.is_empty() {
            return Ok(());
        }
        let now = tx.now;
        let mut contacts: HashMap<Id, Contact> = HashMap::new();
        let mut told: HashSet<(String, Id)> = HashSet::new();
        let (mut messages, mut deliveries) = (Vec::new(), Vec::new());
        for telling in all {
            for (person, name) in &telling.people {
                if !told.insert((telling.key.clone(), *person)) {
                    continue;
                }
                let contact = match contacts.get(person) {
                    Some(known) => known.clone(),
                    None => {
                        let contact = contact::of_in(tx, *person).await?;
                        contacts.insert(*person, contact.clone());
                        contact
                    }
                };
                let order = telling.channels.as_ref().unwrap_or(&self.config.order);
                let ways = order.iter().filter(|c| self.serves(**c)).filter_map(|channel| {
                    contact.address(*channel).map(|address| (*channel, address.to_owned()))
                });
                let message = Message { telling, person: Some(*person), webhook: None, name };
                let quiet = contact.quiet_hours(self.config.quiet);
                let held = quiet.hold(telling.severity, now, self.store.time_zone());
                message.write(ways.collect(), now, held, &mut messages, &mut deliveries);
            }
            for hook in webhook::of_post(tx, &telling.post, &telling.area).await? {
                if !told.insert((telling.key.clone(), hook.id)) {
                    continue;
                }
                let message = Message { telling, person: None, webhook: Some(hook.id), name: &hook.name };
                let ways = vec![(Channel::Webhook, hook.url)];
                message.write(ways, now, None, &mut messages, &mut deliveries);
            }
        }
        tx.insert_many(ADD_MESSAGES, "", 19, messages).await?;
        tx.insert_many(ADD_DELIVERIES, "", DELIVERY_COLUMNS, deliveries).await?;
        // The runner may look before the commit; it looks again when the commit is told.
        self.wake.notify_one();
        Ok(())
    }
}

/// A message to one recipient.
struct Message<'a> {
    telling: &'a Telling,
    person: Option<Id>,
    webhook: Option<Id>,
    name: &'a str,
}

impl Message<'_> {
    fn write(
        &self,
        mut ways: Vec<(Channel, String)>,
        now: Micros,
        held: Option<Micros>,
        messages: &mut Vec<Vec<Value>>,
        deliveries: &mut Vec<Vec<Value>>,
    ) {
        let t = self.telling;
        let id = new_id();
        let severity = t.severity.map_or(NO_SEVERITY, Severity::rank);
        let way = if ways.is_empty() { None } else { Some(ways.remove(0)) };
        let state = if way.is_some() { "waiting" } else { "in-page" };
        if self.person.is_some() {
            let in_page = NewDelivery {
                notification: id,
                area: t.area.as_str(),
                severity,
                channel: Channel::InPage,
                address: "",
                state: "accepted",
                next_at: now,
            };
            deliveries.push(in_page.row(now));
        }
        if let Some(way) = &way {
            deliveries.push(first(id, t.area.as_str(), severity, way, now, held).row(now));
        }
        let plan = serde_json::to_string(&Plan(ways)).unwrap_or_else(|_| "[]".into());
        let [title, body] = LONGEST;
        let mut row = args![id, id.to_string(), &t.key, &t.case, &t.area, self.person, self.webhook];
        row.extend(args![
            self.name,
            &t.post,
            severity,
            short(&t.title.zh, title),
            short(&t.title.en, title),
            short(&t.body.zh, body),
            short(&t.body.en, body),
            &t.path,
            plan,
            state,
            now
        ]);
        row.push(Value::I64(None));
        messages.push(row);
    }
}

/// What `key` was about is over: what was not sent yet is not sent any more.
///
/// # Errors
/// [`StoreError`].
pub async fn withdraw(tx: &mut Tx<'_>, key: &str) -> Result<(), StoreError> {
    let now = tx.now;
    tx.execute(WITHDRAW, args![key, now]).await?;
    tx.execute(WITHDRAW_MESSAGES, args![key]).await?;
    Ok(())
}
