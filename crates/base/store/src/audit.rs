//! The audit as a chain: each entry's hash covers its content and the hash of the entry before it,
//! so that an entry cannot be changed, taken out or put in without every later hash being wrong.
//!
//! The order is certain where the hash is computed: inside the transaction that writes the entries,
//! behind the lock of the one row of `audit_head`, which is held until the commit. Entries from
//! before there was a chain form its start: one hash over all of them.
//!
//! What is hashed (SHA-256): the hash before (32 bytes), the position (8 bytes, big-endian), then
//! each of `at` (8 bytes, big-endian), `actor`, `actor_name`, `action`, `resource`, `resource_id`,
//! `area`, `request` (16 bytes) and `detail`; texts and bytes after their length (4 bytes,
//! big-endian), NULL as the length 0xffffffff. The start is the same over its entries with their
//! `seq` as position, beginning with 32 zero bytes.

use std::collections::BTreeMap;

use model::Id;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::SqlSafeStr;

use crate::sql::{Connection, Value, insert_runs};
use crate::{Store, StoreError, args};

/// A hash of the chain.
pub type Hash = [u8; 32];

/// How many entries are read at once.
const PAGE: i64 = 1000;

crate::statements! {
    BEGUN = "SELECT position FROM audit_head";
    BEGIN = "INSERT INTO audit_head (one, position, hash, start_seq, start_entries, start_hash) VALUES (1, 0, $1, $2, $3, $1)
        ON CONFLICT (one) DO NOTHING";
    // Locks the row on PostgreSQL: who comes later continues where this transaction ends.
    ADVANCE = "UPDATE audit_head SET position = position + $1 WHERE one = 1 RETURNING position, hash";
    MOVE = "UPDATE audit_head SET hash = $1 WHERE one = 1";
    HEAD = "SELECT position, hash, start_seq, start_entries, start_hash FROM audit_head";
    START = "SELECT seq, position, hash, at, actor, actor_name, action, resource, resource_id, area, request, detail
        FROM audit WHERE position IS NULL AND seq > $1 ORDER BY seq LIMIT $2";
    CHAIN = "SELECT seq, position, hash, at, actor, actor_name, action, resource, resource_id, area, request, detail
        FROM audit WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3";
}

const INSERT: &str = "INSERT INTO audit (at, actor, actor_name, action, resource, resource_id, area, request, detail, position, hash)";

/// Where the chain stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The position of the last entry; 0 before the first.
    pub position: i64,
    /// Its hash.
    pub hash: Hash,
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    position: i64,
    hash: Vec<u8>,
    start_seq: i64,
    start_entries: i64,
    start_hash: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct EntryRow {
    seq: i64,
    position: Option<i64>,
    hash: Option<Vec<u8>>,
    at: i64,
    actor: String,
    actor_name: String,
    action: String,
    resource: Option<String>,
    resource_id: Option<String>,
    area: Option<String>,
    request: Id,
    detail: String,
}

impl EntryRow {
    fn values(&self) -> Vec<Value> {
        args![
            self.at,
            &self.actor,
            &self.actor_name,
            &self.action,
            self.resource.clone(),
            self.resource_id.clone(),
            self.area.clone(),
            self.request,
            &self.detail
        ]
    }
}

/// Why the chain does not hold, at its first broken entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Broken {
    /// The entries from before the chain are not those that it began with.
    #[error(
        "the start is broken: of the entries up to number {seq}, which are older than the chain, some were changed, taken out or put in"
    )]
    Start {
        /// The last of them.
        seq: i64,
    },
    /// An entry that no link leads to.
    #[error("entry number {seq} stands outside the chain: it was put in by hand")]
    Outside {
        /// Its number in the table.
        seq: i64,
    },
    /// An entry that should be there is not.
    #[error("entry {position} is missing")]
    Missing {
        /// Its position.
        position: i64,
    },
    /// An entry does not match its hash.
    #[error("entry {position} ({action} of {at}) was changed, or the one before it was")]
    Changed {
        /// Its position.
        position: i64,
        /// What it says was done.
        action: String,
        /// When, as it says.
        at: String,
    },
    /// The head does not match the last entry.
    #[error("the head says another hash than the last entry, {position}")]
    Head {
        /// The head's position.
        position: i64,
    },
    /// The chain was made anew: an anchor from outside says another hash.
    #[error("entry {position} is not the one that was anchored outside the database")]
    Anchor {
        /// The anchored position.
        position: i64,
    },
}

/// What a chain that holds is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Entries older than the chain.
    pub start: i64,
    /// Entries of the chain.
    pub entries: i64,
    /// Anchors that were found in their places.
    pub anchors: usize,
}

fn link(before: &Hash, position: i64, entry: &[Value]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(position.to_be_bytes());
    let mut part = |bytes: Option<&[u8]>| match bytes {
        // A text of 4 GiB fits no row.
        Some(bytes) => {
            hash.update((bytes.len() as u32).to_be_bytes());
            hash.update(bytes);
        }
        None => hash.update(u32::MAX.to_be_bytes()),
    };
    for value in entry {
        match value {
            Value::I64(v) => part(v.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice)),
            Value::F64(v) => part(v.map(f64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice)),
            Value::Text(v) => part(v.as_deref().map(str::as_bytes)),
            Value::Bytes(v) => part(v.as_deref()),
            Value::Uuid(v) => part(v.as_ref().map(|id| id.as_bytes().as_slice())),
        }
    }
    hash.finalize().into()
}

fn hash_of(bytes: &[u8]) -> Result<Hash, StoreError> {
    bytes.try_into().map_err(|_| StoreError::Document("a hash of the audit has not 32 bytes".into()))
}

/// Begins the chain where there is none yet: what stands in the audit is its start.
pub(crate) async fn begin(connection: &mut Connection) -> Result<(), StoreError> {
    if !connection.all::<(i64,)>(BEGUN.into_sql_str(), args![]).await?.is_empty() {
        return Ok(());
    }
    let (mut seq, mut entries, mut hash) = (0, 0, Hash::default());
    loop {
        let rows: Vec<EntryRow> = connection.all(START.into_sql_str(), args![seq, PAGE]).await?;
        let Some(last) = rows.last() else { break };
        seq = last.seq;
        entries += rows.len() as i64;
        hash = rows.iter().fold(hash, |before, row| link(&before, row.seq, &row.values()));
    }
    connection.execute(BEGIN.into_sql_str(), args![hash.to_vec(), seq, entries]).await?;
    Ok(())
}

/// Writes entries as the next of the chain, in the transaction that is open.
pub(crate) async fn append(connection: &mut Connection, entries: Vec<Vec<Value>>) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let count = entries.len() as i64;
    let advanced: Vec<(i64, Vec<u8>)> = connection.all(ADVANCE.into_sql_str(), args![count]).await?;
    let Some((last, before)) = advanced.into_iter().next() else {
        return Err(StoreError::Document("the audit has no head".into()));
    };
    let mut hash = hash_of(&before)?;
    let mut position = last - count;
    let rows = entries
        .into_iter()
        .map(|mut entry| {
            position += 1;
            hash = link(&hash, position, &entry);
            entry.extend(args![position, hash.to_vec()]);
            entry
        })
        .collect();
    for (sql, values) in insert_runs(INSERT, "", 11, rows) {
        connection.execute(sqlx::AssertSqlSafe(sql).into_sql_str(), values).await?;
    }
    connection.execute(MOVE.into_sql_str(), args![hash.to_vec()]).await?;
    Ok(())
}

impl Store {
    async fn head_row(&self) -> Result<HeadRow, StoreError> {
        let row: Option<HeadRow> = self.read().opt(HEAD, args![]).await?;
        row.ok_or_else(|| StoreError::Document("the audit has no head".into()))
    }

    /// Where the chain of the audit stands.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_head(&self) -> Result<Head, StoreError> {
        let row = self.head_row().await?;
        Ok(Head { position: row.position, hash: hash_of(&row.hash)? })
    }

    /// Reads the whole audit and computes its chain anew; entries that come meanwhile are left to
    /// the next time. `anchors` are positions with the hashes that were once written elsewhere.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read; the inner error is the first broken entry.
    pub async fn verify_audit(
        &self,
        anchors: &BTreeMap<i64, Hash>,
    ) -> Result<Result<Verified, Broken>, StoreError> {
        let head = self.head_row().await?;
        if let Err(broken) = self.verify_start(&head).await? {
            return Ok(Err(broken));
        }
        let mut hash = hash_of(&head.start_hash)?;
        let (mut position, mut found) = (0, 0);
        let anchored = |position: i64, hash: &Hash| match anchors.get(&position) {
            Some(expected) if expected != hash => Err(Broken::Anchor { position }),
            Some(_) => Ok(1),
            None => Ok(0),
        };
        while position < head.position {
            let rows: Vec<EntryRow> = self.read().all(CHAIN, args![position, head.position, PAGE]).await?;
            if rows.is_empty() {
                return Ok(Err(Broken::Missing { position: position + 1 }));
            }
            for row in rows {
                position += 1;
                if row.position != Some(position) {
                    return Ok(Err(Broken::Missing { position }));
                }
                hash = link(&hash, position, &row.values());
                if row.hash.as_deref() != Some(hash.as_slice()) {
                    let at = model::Micros(row.at).to_string();
                    return Ok(Err(Broken::Changed { position, action: row.action, at }));
                }
                match anchored(position, &hash) {
                    Ok(one) => found += one,
                    Err(broken) => return Ok(Err(broken)),
                }
            }
        }
        if head.hash != hash {
            return Ok(Err(Broken::Head { position }));
        }
        // Entries that an anchor knows and the database does not: the end was cut off.
        if anchors.range(head.position + 1..).next().is_some() {
            return Ok(Err(Broken::Missing { position: head.position + 1 }));
        }
        Ok(Ok(Verified { start: head.start_entries, entries: head.position, anchors: found }))
    }

    async fn verify_start(&self, head: &HeadRow) -> Result<Result<(), Broken>, StoreError> {
        let (mut seq, mut entries, mut hash) = (0, 0, Hash::default());
        loop {
            let rows: Vec<EntryRow> = self.read().all(START, args![seq, PAGE]).await?;
            let Some(last) = rows.last() else { break };
            if let Some(outside) = rows.iter().find(|row| row.seq > head.start_seq) {
                return Ok(Err(Broken::Outside { seq: outside.seq }));
            }
            seq = last.seq;
            entries += rows.len() as i64;
            hash = rows.iter().fold(hash, |before, row| link(&before, row.seq, &row.values()));
        }
        let same = entries == head.start_entries && head.start_hash == hash;
        Ok(if same { Ok(()) } else { Err(Broken::Start { seq: head.start_seq }) })
    }
}
