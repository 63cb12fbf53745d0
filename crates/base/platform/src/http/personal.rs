//! `/api/v1/people/{id}/personal`: phone and ID number; masked, and revealed one at a time with a
//! reason.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use model::Id;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::caller::Caller;
use super::people::{PersonAccountPage, view, within};
use super::problem::HttpResult;
use super::problem::Problem;
use super::shape::Json;
use super::{Access, Api};
use crate::Platform;
use crate::personal::PersonalField;

pub(super) fn routes() -> Api<Arc<Platform>> {
    Api::new()
        .add(Access::Permission("account:read"), routes!(masked))
        .add(Access::Permission("account:read"), routes!(find))
        .add(Access::Permission("account:manage"), routes!(set))
        .add(Access::Permission("personal:reveal"), routes!(reveal))
}

/// A person's data with their middles hidden.
#[derive(Serialize, ToSchema)]
struct MaskedPersonal {
    /// `138****1234`
    phone: Option<String>,
    /// `110*************2X`
    id_number: Option<String>,
}

/// One of a person's data, to set or (without a value) to take away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PersonalValue {
    field: PersonalField,
    #[serde(default)]
    value: Option<String>,
}

/// What is to be revealed, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RevealRequest {
    field: PersonalField,
    /// Why: kept by the audit; 1 to 200 characters.
    reason: String,
}

/// One of a person's data, whole.
#[derive(Serialize, ToSchema)]
struct RevealedPersonal {
    value: String,
}

/// A whole number, to find whose it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PersonalQuery {
    field: PersonalField,
    value: String,
}

/// Phone and ID number, masked.
#[utoipa::path(get, path = "/api/v1/people/{id}/personal", tag = "people", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = MaskedPersonal), (status = 404, body = Problem)))]
async fn masked(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
) -> HttpResult<Json<MaskedPersonal>> {
    within(&platform, &caller, id).await?;
    let personal = platform.masked_personal(id).await?;
    Ok(Json(MaskedPersonal { phone: personal.phone, id_number: personal.id_number }))
}

/// Set phone or ID number, or take it away.
#[utoipa::path(put, path = "/api/v1/people/{id}/personal", tag = "people", params(("id" = uuid::Uuid, Path)),
    request_body = PersonalValue,
    responses((status = 204), (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn set(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
    Json(asked): Json<PersonalValue>,
) -> HttpResult<StatusCode> {
    within(&platform, &caller, id).await?;
    platform.set_personal(&caller.context, id, asked.field, asked.value.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reveal phone or ID number; who and why are in the audit.
#[utoipa::path(post, path = "/api/v1/people/{id}/personal/reveal", tag = "people", params(("id" = uuid::Uuid, Path)),
    request_body = RevealRequest,
    responses((status = 200, body = RevealedPersonal), (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn reveal(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<Id>,
    Json(asked): Json<RevealRequest>,
) -> HttpResult<Json<RevealedPersonal>> {
    within(&platform, &caller, id).await?;
    let value = platform.reveal_personal(&caller.context, id, asked.field, &asked.reason).await?;
    Ok(Json(RevealedPersonal { value }))
}

/// Whose number this is. (A POST, so that the number stands in no log of addresses.)
#[utoipa::path(post, path = "/api/v1/people/find", tag = "people", request_body = PersonalQuery,
    responses((status = 200, body = PersonAccountPage), (status = 422, body = Problem)))]
async fn find(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Json(asked): Json<PersonalQuery>,
) -> HttpResult<Json<PersonAccountPage>> {
    let mut items = Vec::new();
    for id in platform.find_by_personal(asked.field, &asked.value).await? {
        if within(&platform, &caller, id).await.is_ok()
            && let Some(person) = platform.person(id).await?
        {
            items.push(view(&platform, person)?);
        }
    }
    Ok(Json(PersonAccountPage { items, next: None }))
}
