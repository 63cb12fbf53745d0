//! Routes with their access, and the OpenAPI document they make.

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt as _};

use super::caller::{Caller, Identity, TokenCaller, TokenIdentity};
use super::problem::Problem;
use super::refusal::ErrorShape;
use crate::token::TokenRight;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// Anyone who is logged in.
    Session,
    /// Anyone who is logged in, even one who must first change the password or set up the second
    /// factor: the routes by which that is done.
    Unsettled,
    /// Who holds the permission somewhere; the handler sees to where.
    Permission(&'static str),
    /// Whose token gives the right somewhere; refused in the shape that its clients understand.
    Token(TokenRight, ErrorShape),
    /// Who holds the permission somewhere, or whose token gives the right somewhere.
    PermissionOrToken(&'static str, TokenRight),
}

/// One route's access, for the test that walks them all and for the documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteAccess {
    /// `GET`, `POST` …
    pub method: String,
    /// `/api/v1/alerts/{number}`
    pub path: String,
    /// Who may.
    pub access: Access,
}

/// A collection of routes.
pub struct Api<S> {
    router: OpenApiRouter<S>,
    routes: Vec<RouteAccess>,
}

impl<S: Clone + Send + Sync + 'static> Default for Api<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    /// No routes.
    #[must_use]
    pub fn new() -> Self {
        Self { router: OpenApiRouter::new(), routes: Vec::new() }
    }

    /// Adds the routes of `routes!(…)`, all with the same access.
    #[must_use]
    pub fn add(mut self, access: Access, routes: UtoipaMethodRouter<S>) -> Self {
        for (path, item) in &routes.1.paths {
            let methods = [
                ("GET", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("PATCH", &item.patch),
                ("DELETE", &item.delete),
            ];
            for (method, operation) in methods {
                if operation.is_some() {
                    self.routes.push(RouteAccess { method: method.into(), path: path.clone(), access });
                }
            }
        }
        let guarded = routes.layer::<_, Infallible>(from_fn(move |request: Request, next: Next| {
            check(access, request, next)
        }));
        self.router = self.router.routes(guarded);
        self
    }

    /// Adds the routes of another collection.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.routes.extend(other.routes);
        self
    }

    /// Gives the handlers what they work on.
    #[must_use]
    pub fn with_state(self, state: S) -> Api<()> {
        Api { router: self.router.with_state(state), routes: self.routes }
    }
}

impl Api<()> {
    /// The router, the OpenAPI document, and every route's access.
    pub fn split(self) -> (Router, utoipa::openapi::OpenApi, Vec<RouteAccess>) {
        let (router, mut document) = self.router.split_for_parts();
        name_operations(&mut document);
        (router.fallback(unknown), document, self.routes)
    }
}

/// Names every operation by its method and path: an `operationId` must be unique in the document
/// (OpenAPI 3.1 §4.8.10), and handlers of different centres may share a name.
fn name_operations(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let words: Vec<&str> = path
            .trim_start_matches("/api/v1")
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let operations = [
            ("get", &mut item.get),
            ("post", &mut item.post),
            ("put", &mut item.put),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                operation.operation_id = Some(format!("{method}_{}", words.join("_")));
            }
        }
    }
}

async fn unknown() -> Problem {
    Problem::not_found("route")
}

async fn check(access: Access, mut request: Request, next: Next) -> Response {
    let token = request.extensions().get::<TokenIdentity>().cloned().and_then(|found| found.0);
    let (right, shape) = match access {
        Access::Token(right, shape) => (Some(right), shape),
        Access::PermissionOrToken(_, right) => (Some(right), ErrorShape::Problem),
        _ => (None, ErrorShape::Problem),
    };
    match (right, token) {
        (Some(right), Some(token)) if token.token.gives(right) => {
            request.extensions_mut().insert::<TokenCaller>(token);
            return next.run(request).await;
        }
        (Some(_), Some(_)) => return shape.not_its_right(),
        (Some(_), None) if matches!(access, Access::Token(..)) => return shape.no_token(),
        _ => {}
    }
    let identity = request.extensions().get::<Identity>().cloned().unwrap_or_default();
    let permission = match access {
        Access::Public | Access::Session | Access::Unsettled | Access::Token(..) => None,
        Access::Permission(p) | Access::PermissionOrToken(p, _) => Some(p),
    };
    match identity.0 {
        None if access != Access::Public => return Problem::nobody().into_response(),
        None => {}
        Some(mut caller) => {
            if let Some(need) = caller.session.need
                && !matches!(access, Access::Public | Access::Unsettled)
            {
                return Problem::unsettled(need).into_response();
            }
            if let Some(permission) = permission
                && caller.context.scope(permission).is_empty()
            {
                return Problem::forbidden(format!(
                    "this needs the permission {permission}, which none of your grants gives; ask the administrator of your area for it"
                ))
                .with("permission", permission)
                .into_response();
            }
            caller.permission = permission;
            request.extensions_mut().insert::<Caller>(caller);
        }
    }
    next.run(request).await
}
