//! Who asks.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE as COOKIE_HEADER};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Actor, AreaPath, Context, Id};
use store::new_id;

use super::problem::Problem;
use crate::Platform;
use crate::session::Session;
use crate::token::Token;

/// The name of the session's cookie.
pub const COOKIE: &str = "zs_session";
/// The header in which unsafe requests repeat the session's CSRF token.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// Who makes a request, with what they may do: what handlers of guarded routes take.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What goes down to the store.
    pub context: Context,
    /// The person.
    pub person: Id,
    /// The permission of the route, when it names one.
    pub permission: Option<&'static str>,
    /// The session behind the request.
    pub session: Arc<Session>,
    /// The cookie's token.
    pub token: String,
}

impl Caller {
    /// Where the route's permission is held; nothing on a route without one.
    #[must_use]
    pub fn scope(&self) -> Vec<AreaPath> {
        self.permission.map(|p| self.context.scope(p)).unwrap_or_default()
    }

    /// Whether the route's permission is held at `area`.
    #[must_use]
    pub fn sees(&self, area: &AreaPath) -> bool {
        self.permission.is_some_and(|p| self.context.may(p, area))
    }
}

/// The holder of a token, on routes that take one.
#[derive(Clone, Debug)]
pub struct TokenCaller {
    /// The token.
    pub token: Arc<Token>,
    /// What goes down to the store. Where the holder may write is the token's affair, since a
    /// part of the hub, which this names, may do everything.
    pub context: Context,
}

impl<S: Send + Sync> FromRequestParts<S> for TokenCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::nobody)
    }
}

/// Who makes a request on a route that people and systems share.
#[derive(Clone, Debug)]
pub enum Party {
    /// A person.
    Person(Caller),
    /// The holder of a token.
    Token(TokenCaller),
}

impl<S: Send + Sync> FromRequestParts<S> for Party {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match TokenCaller::from_request_parts(parts, state).await {
            Ok(caller) => Ok(Self::Token(caller)),
            Err(_) => Caller::from_request_parts(parts, state).await.map(Self::Person),
        }
    }
}

/// What [`identify`] found of a token.
#[derive(Clone, Debug)]
pub(crate) struct TokenIdentity(pub(crate) Option<TokenCaller>);

/// What [`identify`] found; empty for nobody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity(pub(crate) Option<Caller>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(Problem::nobody)
    }
}

/// Runs before every route: finds the integrator's token or the session of the cookie, refuses
/// unsafe requests of a session without its CSRF token, and gives the request its id. A request
/// with a token is never a session's, whatever cookies it carries.
pub async fn identify(State(platform): State<Arc<Platform>>, mut request: Request, next: Next) -> Response {
    let request_id = new_id();
    // U+0000 in a path or query: PostgreSQL's texts cannot hold it.
    if request.uri().path_and_query().is_some_and(|p| p.as_str().contains("%00")) {
        return Problem::bad_request("the address holds the character U+0000").into_response();
    }
    let token = secret(request.headers(), request.uri().query()).and_then(|secret| platform.token(&secret));
    let identity = match token {
        Some(_) => None,
        None => match find(&platform, request.headers(), request_id).await {
            Ok(identity) => identity,
            Err(problem) => return problem.into_response(),
        },
    };
    let token = token.map(|token| {
        let context = Context::system(&format!("token:{}", token.integrator.name), request_id);
        TokenCaller { token, context }
    });
    request.extensions_mut().insert(TokenIdentity(token));
    if let Some(caller) = &identity
        && !request.method().is_safe()
    {
        let given = request.headers().get(CSRF_HEADER).map(|v| v.as_bytes()).unwrap_or_default();
        // Logging in anew does not need the old session's token, and a link's code is one itself.
        let path = request.uri().path();
        let open = request.method() == axum::http::Method::POST
            && (path == "/api/v1/session" || path.starts_with("/api/v1/account-links/"));
        if !open && !same(given, caller.session.csrf.as_bytes()) {
            return Problem::csrf().into_response();
        }
    }
    request.extensions_mut().insert(Identity(identity));
    let mut response = next.run(request).await;
    if let Ok(value) = request_id.to_string().try_into() {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

async fn find(platform: &Platform, headers: &HeaderMap, request_id: Id) -> Result<Option<Caller>, Problem> {
    let Some(token) = cookie(headers) else { return Ok(None) };
    let Some(session) = platform.sessions().find(platform.store(), &token).await? else { return Ok(None) };
    let idempotency_key = match headers.get("idempotency-key") {
        None => None,
        Some(key) => match key.to_str() {
            Ok(key) if (1..=128).contains(&key.len()) => Some(key.to_owned()),
            _ => {
                return Err(Problem::bad_request(
                    "Idempotency-Key must be 1 to 128 visible ASCII characters",
                ));
            }
        },
    };
    let context = Context {
        actor: Actor::Person { id: session.person, name: session.name.clone() },
        grants: session.grants.iter().map(|g| g.grant.clone()).collect(),
        request_id,
        idempotency_key,
    };
    Ok(Some(Caller { context, person: session.person, permission: None, session: Arc::new(session), token }))
}

/// What may be a token's secret: `Authorization: Token …`, `Bearer …`, the password of `Basic …`,
/// or `p` of the query, in that order.
fn secret(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let Some(given) = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()) else {
        let p = query?.split('&').find_map(|pair| pair.strip_prefix("p="));
        // Hexadecimal digits need no percent-encoding.
        return p.map(ToOwned::to_owned);
    };
    let (scheme, value) = given.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
        return pair.split_once(':').map(|(_, password)| password.to_owned());
    }
    None
}

/// The token of the session's cookie.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(COOKIE_HEADER)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value.to_owned())
}

/// Compares without telling by its time where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

/// The peer's address, as handlers take it.
#[derive(Clone, Debug)]
pub(crate) struct Address(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(address(parts)))
    }
}

/// The peer's address, for the throttle; `unknown` inside tests without a socket.
pub(crate) fn address(parts: &Parts) -> String {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or_else(|| "unknown".to_owned(), |ConnectInfo(a)| a.ip().to_string())
}

/// Puts a caller on a request as [`identify`] would, for tests without a login.
#[cfg(feature = "testing")]
pub fn testing_identity(request: &mut Request, caller: Caller) {
    request.extensions_mut().insert(Identity(Some(caller)));
}
