//! Errors over HTTP: RFC 9457 problem details with a stable `type`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::Text;
use serde::{Deserialize, Serialize};
use store::StoreError;
use utoipa::ToSchema;

use crate::session::Need;

/// What a handler returns.
pub type HttpResult<T> = Result<T, Problem>;

/// A problem document. Extra members stand beside the standard ones.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem for ever: `/problems/not-found`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong here and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Members of the kind.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub extra: serde_json::Map<String, serde_json::Value>,
    #[serde(skip)]
    retry_after: Option<u64>,
}

/// One wrong field of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// A JSON pointer into the body: `/values/outcome`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: Text,
}

impl Problem {
    fn new(status: StatusCode, kind: &str, title: &str, detail: Option<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            title: title.to_owned(),
            status: status.as_u16(),
            detail,
            extra: serde_json::Map::new(),
            retry_after: None,
        }
    }

    /// 401: nobody is logged in.
    #[must_use]
    pub fn nobody() -> Self {
        let detail = "log in, then try again".to_owned();
        Self::new(StatusCode::UNAUTHORIZED, "/problems/not-logged-in", "not logged in", Some(detail))
    }

    /// 401: login or password is wrong; not told apart.
    #[must_use]
    pub fn wrong_login() -> Self {
        let detail = "check both and try again".to_owned();
        Self::new(
            StatusCode::UNAUTHORIZED,
            "/problems/wrong-login",
            "login or password is wrong",
            Some(detail),
        )
    }

    /// 401: login and password are right, and the account asks for a code besides.
    #[must_use]
    pub fn code_needed() -> Self {
        let detail = "send the same again with a code of the second factor, or a recovery code, as code";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "/problems/second-factor",
            "a code is needed",
            Some(detail.to_owned()),
        )
    }

    /// 401: login and password are right, and the code is not.
    #[must_use]
    pub fn wrong_code() -> Self {
        let detail = "each code is good once, and for a minute; wait for the next and try again";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "/problems/wrong-code",
            "the code is wrong",
            Some(detail.to_owned()),
        )
    }

    /// 403: the session is good for nothing else before this is done.
    #[must_use]
    pub fn unsettled(need: Need) -> Self {
        let (kind, title, detail) = match need {
            Need::PasswordChange => (
                "/problems/password-change-required",
                "the password must be changed first",
                "change it: POST /api/v1/account/password",
            ),
            Need::SecondFactor => (
                "/problems/second-factor-required",
                "a second factor must be set up first",
                "set it up: POST /api/v1/account/second-factor",
            ),
        };
        Self::new(StatusCode::FORBIDDEN, kind, title, Some(detail.to_owned()))
    }

    /// 403: may see, may not do; the detail says whom to ask.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "/problems/forbidden", "not permitted", Some(detail.into()))
    }

    /// 403: the CSRF token is missing or wrong.
    #[must_use]
    pub fn csrf() -> Self {
        let detail = "repeat the session's csrf value in the header X-CSRF-Token".to_owned();
        Self::new(StatusCode::FORBIDDEN, "/problems/csrf", "CSRF token missing or wrong", Some(detail))
    }

    /// 404: it is not there, or lies outside the caller's areas.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        let detail = format!("no such {what} in your areas");
        Self::new(StatusCode::NOT_FOUND, "/problems/not-found", "not found", Some(detail))
    }

    /// 400: the request does not read.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "/problems/bad-request",
            "the request does not read",
            Some(detail.into()),
        )
    }

    /// 422: the request reads, and fields are wrong.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "/problems/invalid", "some values are wrong", None)
            .with("errors", errors)
    }

    /// 409: somebody or something was faster.
    #[must_use]
    pub fn conflict(kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, title, Some(detail.into()))
    }

    /// 413: the body is too large.
    #[must_use]
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "/problems/too-large",
            "the body is too large",
            Some(detail.into()),
        )
    }

    /// 415: the body is of a kind the route does not take.
    #[must_use]
    pub fn unsupported(detail: impl Into<String>) -> Self {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(
            status,
            "/problems/unsupported-media-type",
            "not a kind of body that is taken",
            Some(detail.into()),
        )
    }

    /// 429: wait so many seconds.
    #[must_use]
    pub fn throttled(seconds: u64) -> Self {
        let detail = format!("too many attempts; wait {seconds} s");
        let mut problem = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "/problems/throttled",
            "too many attempts",
            Some(detail),
        );
        problem.retry_after = Some(seconds);
        problem.with("seconds", seconds)
    }

    /// 503: the store did not answer; trying again may help.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut problem =
            Self::new(status, "/problems/unavailable", "not available now", Some(detail.into()));
        problem.retry_after = Some(2);
        problem
    }

    /// 500: a defect of the hub; the log has the rest under the request's id.
    #[must_use]
    pub fn internal() -> Self {
        let detail =
            "a fault of the hub; the operator finds it in the log by the answer's X-Request-Id".to_owned();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "/problems/internal", "a fault of the hub", Some(detail))
    }

    /// The same with another member.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.extra.insert(key.to_owned(), value);
        }
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Self {
        match &e {
            StoreError::Unavailable(_) | StoreError::Stopping | StoreError::TooSlow(_) => {
                tracing::warn!(error = %e, "a request found no store");
                Self::unavailable(
                    "the hub could not reach its store; nothing was changed; try again in a moment",
                )
            }
            StoreError::Conflict { constraint } => Self::conflict(
                "/problems/conflict",
                "it is there already",
                format!("{constraint} forbids it"),
            ),
            StoreError::BadCursor => Self::bad_request("after: not a cursor that this list gave out"),
            StoreError::KeyReused { .. } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "/problems/idempotency-key-reused",
                "the idempotency key was used for something else",
                Some(e.to_string()),
            ),
            StoreError::Setup(_) | StoreError::Statement(_) | StoreError::Document(_) => {
                tracing::error!(error = %e, "a request met a fault of the hub");
                Self::internal()
            }
        }
    }
}
