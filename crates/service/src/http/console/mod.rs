//! The recovery console: a machine's serial line over a WebSocket, and the log kept of it.

use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{ApiError, ApiResult, PathId};
use crate::Service;
use crate::auth::Caller;
use crate::db::droplet::{self, DropletRow};
use crate::drain::Session;
use crate::vm::Hypervisor;

/// The most of a log that one answer carries.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// Attaches to the serial console
///
/// *Ours.* A WebSocket: binary messages are console bytes, in both directions.
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/console",
    tag = "Droplets",
    operation_id = "console",
    params(
        PathId,
        ("connection" = String, Header, description = "`upgrade`"),
        ("upgrade" = String, Header, description = "`websocket`"),
        ("sec-websocket-version" = String, Header, description = "`13`"),
        ("sec-websocket-key" = String, Header, description = "16 random bytes in Base64"),
    ),
    responses(
        (status = 101, description = "The connection is a WebSocket from here on"),
        (status = 409, description = "The machine is off, or cannot be reached"),
    ),
)]
pub async fn attach(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> ApiResult<Response> {
    let row = find(&service, account.id, id).await?;
    let upgrade = upgrade.map_err(|e| ApiError::bad_request(e.body_text()))?;
    let region = service.region(&row.region)?;
    let serial =
        region.hypervisor.console(row.id).await.map_err(|error| {
            ApiError::conflict(format!("the console cannot be reached: {error}"))
        })?;
    let session = service.drain.session();
    Ok(upgrade.on_upgrade(move |socket| bridge(socket, serial, session)))
}

async fn find(service: &Service, account: i64, id: i64) -> ApiResult<DropletRow> {
    droplet::find(service.db.read(), account, id)
        .await?
        .ok_or_else(ApiError::not_found)
}

/// Carries bytes both ways until either side ends, or the service.
async fn bridge(mut socket: WebSocket, mut serial: UnixStream, mut session: Session) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(16 * 1024);
        tokio::select! {
            read = serial.read_buf(&mut buffer) => {
                let bytes = buffer.split().freeze();
                let ended = !matches!(read, Ok(1..));
                let message = if ended { Message::Close(None) } else { Message::Binary(bytes) };
                if socket.send(message).await.is_err() || ended {
                    break;
                }
            }
            () = session.draining() => {
                let away = CloseFrame {
                    code: close_code::AWAY,
                    reason: "the service is being stopped; the machine goes on".into(),
                };
                let _ = socket.send(Message::Close(Some(away))).await;
                break;
            }
            message = socket.recv() => {
                let bytes = match message {
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(Message::Text(text))) => text.into(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    _ => break,
                };
                if serial.write_all(&bytes).await.is_err() {
                    break;
                }
            }
        }
    }
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
    let row = find(&service, account.id, id).await?;
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
