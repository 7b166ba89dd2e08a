//! Who comes to a console: somebody who proves themselves as everywhere, or with a ticket.
//!
//! A browser can send no headers with a WebSocket. Its page asks for a ticket first, with the proof
//! that it has, and then opens the console with the ticket in the URL. URLs end up in logs and
//! histories; but by then the ticket was used, or its minute is over.

use std::sync::Arc;

use abbild_api::{ConsoleKind, ConsoleTicket, ConsoleTicketOne, CreateConsoleTicket};
use axum::Json;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::Entrance;
use crate::Service;
use crate::auth::{self, Identity, Proof};
use crate::db::console;
use crate::db::droplet::DropletRow;
use crate::db::word;
use crate::http::action::timestamp;
use crate::http::droplet::live;
use crate::http::{ApiError, ApiResult, Body, NO_STORE, NoStore, PathId};

/// Somebody who wants to see a console. What the route demands has been checked, unless they have a
/// ticket.
#[derive(Debug)]
pub struct Visitor {
    pub(super) entrance: Entrance,
    identity: Option<Identity>,
}

impl FromRequestParts<Arc<Service>> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, ApiError> {
        let entrance = Query::<Entrance>::from_request_parts(parts, service)
            .await
            .map_err(|error| ApiError::bad_request(error.body_text()))?
            .0;
        let identity = match entrance.ticket {
            Some(_) => None,
            None => Some(Identity::from_request_parts(parts, service).await?),
        };
        Ok(Self { entrance, identity })
    }
}

impl Visitor {
    /// The machine, and who they are.
    ///
    /// # Errors
    /// When there is no such machine, or their ticket is not for it.
    pub async fn enter(
        &self,
        service: &Service,
        id: i64,
        kind: ConsoleKind,
    ) -> ApiResult<(DropletRow, String)> {
        let (account, holder) = match (&self.identity, &self.entrance.ticket) {
            (Some(identity), _) => (identity.account.id, name(identity)),
            (None, Some(ticket)) => {
                let mut tx = service.db.write().await?;
                let row = console::take(&mut tx, &auth::hash(ticket), id, &word(kind)).await?;
                tx.commit().await?;
                let row = row.ok_or_else(ApiError::unauthorized)?;
                (row.account_id, row.holder)
            }
            (None, None) => return Err(ApiError::unauthorized()),
        };
        Ok((live(service.db.read(), account, id).await?, holder))
    }
}

/// What others are told who has the keyboard: a user's address, or the name of a token.
fn name(identity: &Identity) -> String {
    match (&identity.user, &identity.proof) {
        (Some(user), _) => user.email.clone(),
        (None, Proof::Token(token)) => format!("token `{}`", token.name),
        (None, Proof::Session(_)) => "somebody".to_owned(),
    }
}

/// Makes a ticket for a console
///
/// *Ours.* Opens the console once, within a minute, for whoever has it: for WebSockets of browsers, which
/// carry no headers.
#[utoipa::path(
    post,
    path = "/v2/droplets/{id}/console/tickets",
    tag = "Droplets",
    operation_id = "create_console_ticket",
    params(PathId),
    request_body = CreateConsoleTicket,
    responses((status = 201, description = "The ticket", body = ConsoleTicketOne)),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    identity: Identity,
    PathId(id): PathId,
    Body(request): Body<CreateConsoleTicket>,
) -> ApiResult<(StatusCode, NoStore, Json<ConsoleTicketOne>)> {
    let row = live(service.db.read(), identity.account.id, id).await?;
    let secret = auth::random()?;
    let mut tx = service.db.write().await?;
    let (hash, kind) = (auth::hash(&secret), word(request.kind));
    let expires_at = console::insert(&mut tx, &hash, row.id, &kind, &name(&identity)).await?;
    tx.commit().await?;
    let console = match request.kind {
        ConsoleKind::Serial => "console",
        ConsoleKind::Vnc => "console/vnc",
    };
    let ticket = ConsoleTicket {
        kind: request.kind,
        path: format!("/v2/droplets/{id}/{console}?ticket={secret}"),
        expires_at: timestamp(expires_at),
    };
    Ok((
        StatusCode::CREATED,
        NO_STORE,
        Json(ConsoleTicketOne { ticket }),
    ))
}
