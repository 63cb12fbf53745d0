//! Refusals in the shape that the client of a standard's API understands.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::problem::Problem;

/// How an error looks to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorShape {
    /// RFC 9457, as everywhere in `/api/v1`.
    Problem,
    /// InfluxDB 1.x: `{"error": "…"}`, and the same in a header.
    InfluxV1,
    /// InfluxDB 2.x: `{"code": "…", "message": "…"}`.
    InfluxV2,
}

/// The longest message that goes into a header.
const HEADER_CAP: usize = 1024;

impl ErrorShape {
    /// An answer of this shape.
    #[must_use]
    pub fn answer(self, status: StatusCode, message: &str) -> Response {
        match self {
            Self::Problem => problem(status, message).into_response(),
            Self::InfluxV1 => {
                let body = axum::Json(serde_json::json!({ "error": message }));
                let mut response = (status, body).into_response();
                // A header is one line of visible characters.
                let line: String = message
                    .chars()
                    .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
                    .take(HEADER_CAP)
                    .collect();
                if let Ok(value) = HeaderValue::from_str(&line) {
                    response.headers_mut().insert(HeaderName::from_static("x-influxdb-error"), value);
                }
                response
            }
            Self::InfluxV2 => {
                let code = match status {
                    StatusCode::UNAUTHORIZED => "unauthorized",
                    StatusCode::FORBIDDEN => "forbidden",
                    StatusCode::PAYLOAD_TOO_LARGE => "request too large",
                    StatusCode::SERVICE_UNAVAILABLE => "unavailable",
                    status if status.is_server_error() => "internal error",
                    _ => "invalid",
                };
                let body = axum::Json(serde_json::json!({ "code": code, "message": message }));
                (status, body).into_response()
            }
        }
    }

    /// The same, asking the client to come again.
    #[must_use]
    pub fn come_again(self, seconds: u64, message: &str) -> Response {
        let mut response = self.answer(StatusCode::SERVICE_UNAVAILABLE, message);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        response
    }

    /// 401: no token, or none that holds.
    #[must_use]
    pub fn no_token(self) -> Response {
        let message = match self {
            Self::Problem => "send a token: Authorization: Token zst_…",
            Self::InfluxV1 => "authorization failed",
            Self::InfluxV2 => "unauthorized access",
        };
        self.answer(StatusCode::UNAUTHORIZED, message)
    }

    /// 403: the token is for something else.
    #[must_use]
    pub fn not_its_right(self) -> Response {
        self.answer(
            StatusCode::FORBIDDEN,
            "insufficient permissions: the token was not made for this; ask whoever made it for another",
        )
    }
}

fn problem(status: StatusCode, message: &str) -> Problem {
    match status {
        StatusCode::UNAUTHORIZED => Problem::nobody(),
        StatusCode::FORBIDDEN => Problem::forbidden(message),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(message),
        StatusCode::SERVICE_UNAVAILABLE => Problem::unavailable(message),
        status if status.is_server_error() => Problem::internal(),
        _ => Problem::bad_request(message),
    }
}
