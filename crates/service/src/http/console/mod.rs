//! The recovery console: a machine's serial line over a WebSocket, and the log kept of it. [`screen`]
//! is its other console, [`ticket`] lets browsers in.

pub mod screen;
pub mod ticket;

use std::sync::Arc;
use std::time::Duration;

use abbild_api::{ConsoleKind, ConsoleNotice};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use self::ticket::Visitor;
use super::droplet::live;
use super::{ApiError, ApiResult, Handshake, PathId};
use crate::Service;
use crate::auth::Caller;
use crate::console::{Event, Seat, Viewer};
use crate::db::to_json;
use crate::drain::Session;
use crate::vm::Hypervisor;

/// The most of a log that one answer carries.
const MAX_LOG_BYTES: u64 = 16 << 20;
/// Of one message to the serial console, as large as somebody may paste.
const MAX_TYPED_BYTES: usize = 128 << 10;
/// How long the machine may take for what was typed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How somebody comes to a console.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Entrance {
    /// A one-time ticket, in place of any other proof of who one is.
    ticket: Option<String>,
    /// `watch` to look only; everybody else takes the keyboard.
    mode: Option<String>,
}

impl Entrance {
    fn may_type(&self) -> ApiResult<bool> {
        match self.mode.as_deref() {
            None => Ok(true),
            Some("watch") => Ok(false),
            Some(_) => Err(ApiError::bad_request("`mode` can only be `watch`")),
        }
    }
}

/// Attaches to the serial console
///
/// *Ours.* A WebSocket: binary messages are console bytes, in both directions. Several may be attached;
/// all of them see everything, and one has the keyboard: who came last, or typed when nobody had it.
/// Text messages from the service, a `ConsoleNotice` each, say who that is, and what was left out in either
/// direction because the other side was too slow.
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/console",
    tag = "Droplets",
    operation_id = "console",
    params(
        PathId,
        Entrance,
        Handshake,
    ),
    responses(
        (status = 101, description = "The connection is a WebSocket from here on", body = ConsoleNotice),
        (status = 409, description = "The machine is off, or cannot be reached"),
    ),
)]
pub async fn attach(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    PathId(id): PathId,
    handshake: Handshake,
) -> ApiResult<Response> {
    let (row, holder) = visitor.enter(&service, id, ConsoleKind::Serial).await?;
    let may_type = visitor.entrance.may_type()?;
    let upgrade = handshake.upgrade(MAX_TYPED_BYTES)?;
    let hypervisor = &service.region(&row.region)?.hypervisor;
    let viewer = service
        .consoles
        .join(row.id, &holder, may_type, hypervisor.console(row.id))
        .await
        .map_err(unreachable)?;
    let session = service.drain.session();
    Ok(upgrade.on_upgrade(move |socket| show(socket, viewer, session)))
}

fn unreachable(error: crate::vm::VmError) -> ApiError {
    ApiError::conflict(format!("the console cannot be reached: {error}"))
}

/// Serves a viewer until either side ends, or the service.
async fn show(mut socket: WebSocket, viewer: Viewer, mut session: Session) {
    let Viewer { seat, mut screen } = viewer;
    let mut typed: Option<Typed> = None;
    loop {
        let answer = tokio::select! {
            event = screen.next() => Some(match event {
                Ok(Event::Output(bytes)) => Message::Binary(bytes),
                Ok(Event::Keyboard { seat: holds, holder }) => notice(&ConsoleNotice::Keyboard {
                    yours: holds == seat.number,
                    holder: holder.to_string(),
                }),
                Ok(Event::End) => Message::Close(None),
                Err(pieces) => notice(&ConsoleNotice::Lost { pieces }),
            }),
            () = session.draining() => Some(going_away()),
            taken = hand_over(&seat, typed.as_ref()) => {
                let typed = typed.take();
                let unread = typed.filter(|_| !taken).map(|typed| typed.bytes.len());
                unread.map(|bytes| notice(&ConsoleNotice::Unread { bytes: bytes as u64 }))
            }
            message = socket.recv(), if typed.is_none() => {
                let bytes = match message {
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Text(text))) => text.into(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    _ => break,
                };
                typed = seat.has_keyboard().then(|| Typed::now(bytes));
                None
            }
        };
        let Some(answer) = answer else { continue };
        let ended = matches!(answer, Message::Close(_));
        if socket.send(answer).await.is_err() || ended {
            break;
        }
    }
}

/// Something that waits for the machine to take it.
struct Typed {
    bytes: Bytes,
    until: Instant,
}

impl Typed {
    fn now(bytes: Bytes) -> Self {
        let until = Instant::now() + PATIENCE;
        Self { bytes, until }
    }
}

/// Whether the machine took what was typed, which ends once it has, or its time is over.
async fn hand_over(seat: &Seat, typed: Option<&Typed>) -> bool {
    match typed {
        Some(typed) => timeout_at(typed.until, seat.type_in(&typed.bytes))
            .await
            .is_ok(),
        None => std::future::pending().await,
    }
}

fn notice(notice: &ConsoleNotice) -> Message {
    Message::Text(to_json(notice).into())
}

fn going_away() -> Message {
    Message::Close(Some(CloseFrame {
        code: close_code::AWAY,
        reason: "the service is being stopped; the machine goes on".into(),
    }))
}

/// How much of a log is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Tail {
    /// Bytes from the end; everything, up to a bound, when absent.
    #[param(minimum = 0)]
    tail: Option<i64>,
}

/// Shows what the console printed
///
/// *Ours.* The bytes, control characters included, since the machine was created; at most the last 16 MiB.
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/console/log",
    tag = "Droplets",
    operation_id = "console_log",
    params(PathId, Tail),
    responses((status = 200, description = "The log", body = String, content_type = "text/plain")),
)]
pub async fn log(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
    Query(tail): Query<Tail>,
) -> ApiResult<Response> {
    let row = live(service.db.read(), account.id, id).await?;
    let bytes = match tail.tail.map(u64::try_from) {
        None => MAX_LOG_BYTES,
        Some(Ok(bytes)) => bytes.min(MAX_LOG_BYTES),
        Some(Err(_)) => return Err(ApiError::bad_request("`tail` must not be negative")),
    };
    let region = service.region(&row.region)?;
    let log = region
        .hypervisor
        .console_log(row.id, bytes)
        .await
        .map_err(anyhow::Error::from)?;
    Ok(([(CONTENT_TYPE, "text/plain")], log).into_response())
}
