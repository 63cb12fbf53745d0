//! The HTTP edge that every room shares, and the platform's own routes.
//!
//! A route is added with its [`Access`]; refusal is the default. [`identify`] runs once a request
//! and finds out who asks; the route's own check then answers 401 to nobody, 403 to one who holds
//! the permission nowhere, and hands the handler a [`Caller`] who carries the scope. What lies
//! outside the scope is answered 404 by the handler. Other systems come with a token instead of a
//! session: the handler is handed a [`TokenCaller`], and refusals have the shape ([`ErrorShape`])
//! of the API that their clients speak.

mod api;
mod caller;
mod problem;
mod refusal;
mod shape;
mod table;

mod account;
mod areas;
mod audit;
mod files;
mod grants;
mod inbox;
mod links;
mod notices;
mod notifications;
mod people;
mod personal;
mod session;
mod tokens;
mod webhooks;

use std::sync::Arc;

pub use api::{Access, Api, RouteAccess};
#[cfg(feature = "testing")]
pub use caller::testing_identity;
pub use caller::{COOKIE, CSRF_HEADER, Caller, Party, TokenCaller, identify};
pub use problem::{FieldError, HttpResult, Problem};
pub use refusal::ErrorShape;
pub use session::{DutyView, GrantView, PersonView, SessionView};
pub use shape::{Created, Json, Query};
pub use table::{Cell, Table};

use crate::Platform;

/// The platform's own routes.
#[must_use]
pub fn routes(platform: Arc<Platform>) -> Api<()> {
    Api::new()
        .merge(session::routes())
        .merge(account::routes())
        .merge(links::routes())
        .merge(people::routes())
        .merge(personal::routes())
        .merge(grants::routes())
        .merge(audit::routes())
        .merge(areas::routes())
        .merge(files::routes())
        .merge(notices::routes())
        .merge(tokens::routes())
        .merge(notifications::routes())
        .merge(inbox::routes())
        .merge(webhooks::routes())
        .with_state(platform)
}
