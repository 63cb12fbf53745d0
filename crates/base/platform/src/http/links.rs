//! `/api/v1/account-links`: setting a password by a link of an invitation or a reset.

use std::sync::Arc;

use axum::extract::State;
use model::Micros;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::problem::{FieldError, HttpResult, Problem};
use super::shape::Json;
use super::{Access, Api};
use crate::Platform;
use crate::account::{AccountError, LinkKind, SHORTEST};

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new().add(Access::Public, routes!(look)).add(Access::Public, routes!(set_password))
}

/// A link's code, from the part of the address behind `#`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LinkCode {
    code: String,
}

/// A link's code and the password to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LinkPassword {
    code: String,
    /// The new password.
    password: String,
}

/// Whose link it is and what for.
#[derive(Serialize, ToSchema)]
struct AccountLink {
    /// What to log in with.
    login: String,
    /// The person's name.
    name: String,
    /// What for.
    kind: LinkKind,
    /// Until when it is good.
    expires_at: Micros,
    /// The fewest characters of a password.
    shortest_password: usize,
}

/// What to log in with now.
#[derive(Serialize, ToSchema)]
struct PasswordSet {
    login: String,
}

/// Look at a link. (A POST, so that its code stands in no log of addresses.)
#[utoipa::path(post, path = "/api/v1/account-links/look", tag = "account", request_body = LinkCode,
    responses((status = 200, body = AccountLink), (status = 409, body = Problem)))]
async fn look(
    State(platform): State<Arc<Platform>>,
    Json(asked): Json<LinkCode>,
) -> HttpResult<Json<AccountLink>> {
    let link = platform.open_link(&asked.code).await?;
    Ok(Json(AccountLink {
        login: link.login,
        name: link.name,
        kind: link.kind,
        expires_at: link.expires_at,
        shortest_password: SHORTEST,
    }))
}

/// Set the password by a link, which is then used up.
#[utoipa::path(post, path = "/api/v1/account-links/password", tag = "account", request_body = LinkPassword,
    responses((status = 200, body = PasswordSet), (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn set_password(
    State(platform): State<Arc<Platform>>,
    Json(asked): Json<LinkPassword>,
) -> HttpResult<Json<PasswordSet>> {
    match platform.use_link(&asked.code, asked.password).await {
        Ok(login) => Ok(Json(PasswordSet { login })),
        Err(AccountError::Weak(weakness)) => {
            let errors =
                vec![FieldError { path: "/password".into(), message: super::account::weak(weakness) }];
            Err(Problem::invalid(errors))
        }
        Err(e) => Err(e.into()),
    }
}
