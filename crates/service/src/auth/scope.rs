//! What each route demands.
//!
//! Routes are listed by the beginning of their path, and the longest beginning counts. What is not
//! listed is read with [`Scope::Read`] and changed with [`Scope::Admin`], so that a route nobody
//! thought of is closed rather than open.

use abbild_api::Scope;
use axum::http::Method;

use super::Identity;
use crate::http::{ApiError, ApiResult};

/// What is demanded of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// To be known.
    Nothing,
    /// One of these scopes.
    One(&'static [Scope]),
    /// To be logged in, or to have this scope: for what is one's own.
    SessionOr(Scope),
    /// To be logged in.
    Session,
}

/// What the routes below a path demand, for reading and for changing.
struct Rule {
    path: &'static str,
    read: Demand,
    change: Demand,
}

const fn rule(path: &'static str, read: Demand, change: Demand) -> Rule {
    Rule { path, read, change }
}

const READ: Demand = Demand::One(&[Scope::Read]);
const IMAGES: Demand = Demand::One(&[Scope::Images]);
const VMS: Demand = Demand::One(&[Scope::Vms]);
const ADMIN: Demand = Demand::One(&[Scope::Admin]);

const RULES: &[Rule] = &[
    rule("/v2", READ, ADMIN),
    rule("/v2/session", Demand::Nothing, Demand::Nothing),
    rule("/v2/account/audit", ADMIN, ADMIN),
    rule("/v2/account/keys", READ, VMS),
    rule("/v2/account/password", Demand::Session, Demand::Session),
    rule("/v2/account/sessions", Demand::Session, Demand::Session),
    rule(
        "/v2/account/tokens",
        Demand::SessionOr(Scope::Admin),
        Demand::SessionOr(Scope::Admin),
    ),
    rule("/v2/account/users", ADMIN, ADMIN),
    rule("/v2/images", READ, IMAGES),
    rule("/v2/snapshots", READ, IMAGES),
    // Those who send bytes ask how far they are.
    rule(
        "/v2/uploads",
        Demand::One(&[Scope::Read, Scope::Images]),
        IMAGES,
    ),
    rule("/v2/droplets", READ, VMS),
    // Reading it is typing into it; the log beside it is only read.
    rule("/v2/droplets/{id}/console", VMS, VMS),
    rule("/v2/droplets/{id}/console/log", READ, VMS),
    rule("/v2/tags", READ, Demand::One(&[Scope::Images, Scope::Vms])),
];

/// Whether `identity` may send a request to `route`, a path with its parameters in braces.
///
/// # Errors
/// 403, with what is missing.
pub fn check(method: &Method, route: &str, identity: &Identity) -> ApiResult<()> {
    let has = |scope| identity.has(scope);
    let logged_in = identity.session().is_some();
    match demand(method, route) {
        Demand::Nothing => Ok(()),
        Demand::One(scopes) if scopes.iter().copied().any(has) => Ok(()),
        Demand::SessionOr(scope) if logged_in || has(scope) => Ok(()),
        Demand::Session if logged_in => Ok(()),
        Demand::One(scopes) => Err(missing(scopes, identity)),
        Demand::SessionOr(scope) => Err(missing(&[scope], identity)),
        Demand::Session => Err(ApiError::forbidden(
            "Only somebody who is logged in can do this; a token cannot.",
        )),
    }
}

fn demand(method: &Method, route: &str) -> Demand {
    if route == "/v2/account" {
        return Demand::Nothing;
    }
    let below = |rule: &&Rule| {
        let rest = route.strip_prefix(rule.path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let rule = RULES
        .iter()
        .filter(below)
        .max_by_key(|rule| rule.path.len());
    match rule {
        Some(rule) if method.is_safe() => rule.read,
        Some(rule) => rule.change,
        None => ADMIN,
    }
}

fn missing(scopes: &[Scope], identity: &Identity) -> ApiError {
    let words: Vec<_> = scopes.iter().map(|scope| format!("`{scope}`")).collect();
    let words = words.join(" or ");
    ApiError::forbidden(if identity.session().is_some() {
        format!("Your role lacks the scope {words}; an owner of the account can give you another.")
    } else {
        format!("This token lacks the scope {words}; make one that has it.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_counts_and_the_unknown_is_closed() {
        let get = |route| demand(&Method::GET, route);
        let post = |route| demand(&Method::POST, route);
        assert_eq!(get("/v2/images/{id}"), READ);
        assert_eq!(post("/v2/images/{id}/actions"), IMAGES);
        assert_eq!(get("/v2/droplets/{id}"), READ);
        assert_eq!(get("/v2/droplets/{id}/console"), VMS);
        assert_eq!(get("/v2/droplets/{id}/console/log"), READ);
        assert_eq!(get("/v2/account"), Demand::Nothing);
        assert_eq!(get("/v2/account/usage"), READ);
        assert_eq!(get("/v2/account/users/{id}"), ADMIN);
        assert_eq!(post("/v2/account/keys"), VMS);
        assert_eq!(post("/v2/imagesque"), ADMIN);
        assert_eq!(post("/v2/new"), ADMIN);
        assert_eq!(get("/elsewhere"), ADMIN);
    }
}
