//! The audit log: who did what, to what, from where and when.
//!
//! A handler that changes something takes an [`Origin`] and records an [`Event`] in the transaction
//! of the change, so that neither is there without the other. What a handler does not record itself,
//! [`watch`] does: every request that changes something and was carried out, or was forbidden, has
//! an entry, whether somebody thought of it or not. Entries are never changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use abbild_api::upload;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::Service;
use crate::auth::{self, Identity, Proof};
use crate::db::audit::{self, AuditRow};
use crate::db::user::UserRow;
use crate::db::{self, Tx};
use crate::http::peer::Peer;
use crate::http::{ApiError, RequestId};

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// Whoever asked may not.
    Denied,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event {
    action: String,
    object: Option<(String, String)>,
    outcome: Outcome,
    detail: String,
}

impl Event {
    /// Something that was done, such as `token.create`.
    pub fn new(action: &str) -> Self {
        Self {
            action: action.to_owned(),
            object: None,
            outcome: Outcome::Done,
            detail: String::new(),
        }
    }

    /// What it was done to.
    #[must_use]
    pub fn on(mut self, kind: &str, id: impl ToString) -> Self {
        self.object = Some((kind.to_owned(), id.to_string()));
        self
    }

    /// It was refused.
    #[must_use]
    pub fn denied(mut self) -> Self {
        self.outcome = Outcome::Denied;
        self
    }

    /// A word on it for people; no secrets.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// Who does something, and from where.
#[derive(Debug, Clone)]
pub struct Origin {
    who: AuditRow,
    recorded: Recorded,
}

/// Whether the handler of a request recorded something.
#[derive(Debug, Clone, Default)]
struct Recorded(Arc<AtomicBool>);

impl Origin {
    /// An operator, on the machine that has the data.
    pub fn operator() -> Self {
        let name = std::env::var("USER").unwrap_or_default();
        Self::of("operator", &name)
    }

    /// The service itself.
    pub fn system() -> Self {
        Self::of("system", "")
    }

    fn of(actor: &str, name: &str) -> Self {
        let who = AuditRow {
            actor: actor.to_owned(),
            actor_name: name.to_owned(),
            ..AuditRow::default()
        };
        Self {
            who,
            recorded: Recorded::default(),
        }
    }

    /// Sets the account in whose log it belongs.
    #[must_use]
    pub fn in_account(mut self, account: i64) -> Self {
        self.who.account_id = Some(account);
        self
    }

    /// Sets who it is, once somebody has logged in or failed to.
    #[must_use]
    pub fn by_user(mut self, user: &UserRow) -> Self {
        self.who.account_id = Some(user.account_id);
        self.who.actor = "user".to_owned();
        self.who.actor_name.clone_from(&user.email);
        self.who.user_id = Some(user.id);
        self
    }

    /// Forgets who it is, but not from where.
    #[must_use]
    pub fn anonymously(mut self) -> Self {
        self.who = AuditRow {
            actor: "anonymous".to_owned(),
            address: self.who.address,
            request_id: self.who.request_id,
            ..AuditRow::default()
        };
        self
    }

    fn by_identity(mut self, identity: &Identity) -> Self {
        let user = identity.user.as_ref();
        self.who.account_id = Some(identity.account.id);
        self.who.user_id = user.map(|user| user.id);
        match &identity.proof {
            Proof::Token(token) => {
                self.who.actor = "token".to_owned();
                self.who.actor_name.clone_from(&token.name);
                self.who.token_id = Some(token.id);
            }
            Proof::Session(_) => {
                self.who.actor = "user".to_owned();
                self.who.actor_name = user.map_or_else(String::new, |user| user.email.clone());
            }
        }
        self
    }

    /// Adds an entry to the log, with the transaction of the change.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn record(&self, tx: &mut Tx, event: Event) -> db::Result<()> {
        let (object_type, object_id) = event.object.unzip();
        let row = AuditRow {
            action: event.action,
            object_type,
            object_id,
            outcome: event.outcome.word().to_owned(),
            detail: event.detail,
            ..self.who.clone()
        };
        audit::insert(tx, &row).await?;
        self.recorded.0.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Adds an entry that belongs to no change.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn record_alone(&self, service: &Service, event: Event) -> db::Result<()> {
        let mut tx = service.db.write().await?;
        self.record(&mut tx, event).await?;
        tx.commit().await
    }
}

/// Whoever asks; anonymous if that is not known.
impl FromRequestParts<Arc<Service>> for Origin {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, ApiError> {
        let Peer(address) = Peer::from_request_parts(parts, service).await?;
        let mut origin = Self::of("anonymous", "");
        origin.who.address = Some(address.to_string());
        let request_id = parts.extensions.get::<RequestId>();
        origin.who.request_id = request_id.map(|id| id.0.clone());
        if let Some(recorded) = parts.extensions.get::<Recorded>() {
            origin.recorded = recorded.clone();
        }
        Ok(match auth::identify(parts, service).await {
            Ok(identity) => origin.by_identity(&identity),
            Err(_) => origin,
        })
    }
}

/// The layer that records what handlers did not.
pub async fn watch(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_bytes(&request) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let recorded = Recorded::default();
    parts.extensions.insert(recorded.clone());
    let event = event(&parts);
    let origin = Origin::from_request_parts(&mut parts, &service).await;
    let response = next.run(Request::from_parts(parts, body)).await;
    let event = match response.status() {
        status if status.is_success() => event,
        StatusCode::FORBIDDEN => event.denied(),
        _ => return response,
    };
    if let Ok(origin) = origin
        && origin.who.account_id.is_some()
        && !recorded.0.load(Ordering::Relaxed)
        && let Err(error) = origin.record_alone(&service, event).await
    {
        tracing::error!(%error, "an entry of the audit log could not be written");
    }
    response
}

/// Each piece of an upload is no change of its own; an upload by `PUT` is one.
fn is_bytes(request: &Request) -> bool {
    let overriding = request.headers().get("x-http-method-override");
    let method = match overriding.and_then(|value| value.to_str().ok()) {
        Some(method) if request.method() == Method::POST => method,
        _ => request.method().as_str(),
    };
    let rest = request.uri().path().strip_prefix(upload::PATH);
    let changes = !["PATCH", "HEAD"]
        .iter()
        .any(|m| method.eq_ignore_ascii_case(m));
    !changes && rest.is_some_and(|rest| rest.starts_with('/'))
}

/// What a request asks for, by its route: `POST /v2/images/{id}/actions` on `image` 7.
fn event(parts: &Parts) -> Event {
    let path = parts.uri.path();
    let route = parts.extensions.get::<MatchedPath>();
    let route = route.map_or(path, MatchedPath::as_str);
    let event = Event::new(&format!("{} {route}", parts.method));
    let segments: Vec<_> = route.split('/').zip(path.split('/')).collect();
    let object = segments
        .windows(2)
        .find(|pair| pair[1].0.starts_with('{'))
        .map(|pair| (pair[0].0.trim_end_matches('s'), pair[1].1));
    match object {
        Some((kind, id)) => event.on(kind, id),
        None => event,
    }
}
