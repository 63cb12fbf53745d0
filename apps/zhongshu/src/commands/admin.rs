//! `zhongshu admin create`: an account, with a one-time password that is printed once.

use anyhow::{Context as _, bail};
use clap::Args;
use model::AreaPath;
use platform::area::Areas;
use platform::person::{self, NewAccount};
use store::Store;

use super::operator;

/// An account to make.
#[derive(Args, Debug)]
pub struct Create {
    /// What they log in with.
    #[arg(long)]
    pub login: String,
    /// Their name as shown.
    #[arg(long)]
    pub name: String,
    /// The code of their organisation.
    #[arg(long)]
    pub organisation: Option<String>,
    /// A grant: ROLE@AREA-CODE (street-officer@500112011); may be given several times.
    #[arg(long = "grant", value_name = "ROLE@AREA")]
    pub grants: Vec<String>,
    /// A duty: POST@AREA-CODE (street-duty@500112011); may be given several times.
    #[arg(long = "duty", value_name = "POST@AREA")]
    pub duties: Vec<String>,
    /// A demo account: the server then refuses addresses other than loopback.
    #[arg(long)]
    pub demo: bool,
    /// Whether the password must be changed at the first log-in [default: true, false with --demo]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub change_password: Option<bool>,
}

fn at_areas(areas: &Areas, given: &[String]) -> anyhow::Result<Vec<(String, AreaPath)>> {
    given
        .iter()
        .map(|text| {
            let Some((what, code)) = text.split_once('@') else { bail!("{text:?} is not NAME@AREA-CODE") };
            let area = areas
                .by_code(code)
                .with_context(|| format!("no area {code:?}; areas come with zhongshu import"))?;
            Ok((what.to_owned(), area.path))
        })
        .collect()
}

/// Makes the account; its one-time password.
///
/// # Errors
/// What is wrong with login, grants or duties.
pub async fn create(store: &Store, create: Create) -> anyhow::Result<String> {
    let areas = platform::area::load(store).await?;
    // A role of the platform itself may be given before the hub has ever run.
    platform::role::put_built_in(store).await?;
    let account = NewAccount {
        must_change: create.change_password.unwrap_or(!create.demo),
        area: None,
        grants: at_areas(&areas, &create.grants)?,
        duties: at_areas(&areas, &create.duties)?,
        login: create.login,
        name: create.name,
        organisation: create.organisation,
        demo: create.demo,
    };
    if account.grants.is_empty() {
        bail!("an account without a grant can do nothing; give --grant ROLE@AREA");
    }
    let password = person::one_time_password();
    person::create_account(store, &operator("admin"), account, Some(&password)).await?;
    Ok(password)
}
