//! `zhongshu token`: tokens of integrators. The secret is printed once, when the token is made.

use anyhow::Context as _;
use clap::Args;
use jiff::{Span, tz::TimeZone};
use model::Micros;
use platform::token::{self, NewToken};
use store::{PageRequest, Store, now};

use super::operator;

/// A token to make.
#[derive(Args, Debug)]
pub struct Create {
    /// Its name: letters, digits, '-', '_', '.'; never used again.
    #[arg(long)]
    pub name: String,
    /// The code of the area where it holds, and below.
    #[arg(long, value_name = "AREA-CODE")]
    pub area: String,
    /// Its holder may read observations.
    #[arg(long)]
    pub read: bool,
    /// Its holder may write observations.
    #[arg(long)]
    pub write: bool,
    /// The tag of a line that names the thing (Telegraf: host) [default: thing]
    #[arg(long, value_name = "TAG")]
    pub thing_tag: Option<String>,
    /// When it ends by itself, from now: P365D (ISO 8601); never when absent.
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<String>,
}

/// Makes the token; its secret.
///
/// # Errors
/// What is wrong with the name, the area or the duration.
pub async fn create(store: &Store, create: Create) -> anyhow::Result<String> {
    let areas = platform::area::load(store).await?;
    let area = areas
        .by_code(&create.area)
        .with_context(|| format!("no area {:?}; areas come with zhongshu import", create.area))?;
    let expires_at = create.expires.as_deref().map(end).transpose()?;
    let new = NewToken {
        name: create.name,
        area: area.path,
        read: create.read,
        write: create.write,
        thing_tag: create.thing_tag,
        expires_at,
    };
    let (_, secret) = token::create(store, &operator("token"), new).await?;
    Ok(secret)
}

fn end(duration: &str) -> anyhow::Result<Micros> {
    let span: Span =
        duration.parse().with_context(|| format!("{duration:?} is not a duration like P365D or PT12H"))?;
    let end = now().timestamp().to_zoned_datetime(TimeZone::UTC).checked_add(span)?;
    Ok(end.timestamp().into())
}

/// A line a token: name, area, rights, and how it stands.
///
/// # Errors
/// The store's.
pub async fn list(store: &Store) -> anyhow::Result<Vec<String>> {
    let areas = platform::area::load(store).await?;
    let everywhere: Vec<_> =
        areas.all().iter().map(|a| a.path.clone()).filter(|path| path.ancestors().count() == 1).collect();
    let at = now();
    let mut lines = Vec::new();
    let mut after = None;
    loop {
        let page = token::list(store, everywhere.clone(), &PageRequest { limit: Some(500), after }).await?;
        for row in page.items {
            let rights = match (row.may_read != 0, row.may_write != 0) {
                (true, true) => "read, write",
                (true, false) => "read",
                _ => "write",
            };
            let state = match (row.revoked_at, row.expires_at) {
                (Some(revoked), _) => format!("revoked {}", Micros(revoked)),
                (None, Some(end)) if end <= at.0 => format!("ended {}", Micros(end)),
                (None, Some(end)) => format!("until {}", Micros(end)),
                (None, None) => "holds".to_owned(),
            };
            lines.push(format!("{}\t{}\t{rights}\ttag {}\t{state}", row.name, row.area, row.thing_tag));
        }
        after = page.next;
        if after.is_none() {
            return Ok(lines);
        }
    }
}

/// Revokes the token.
///
/// # Errors
/// When there is none of this name that holds.
pub async fn revoke(store: &Store, name: &str) -> anyhow::Result<()> {
    Ok(token::revoke(store, &operator("token"), name).await?)
}
