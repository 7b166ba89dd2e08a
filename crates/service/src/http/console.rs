//! The recovery console: a machine's serial line over a WebSocket, and the log kept of it.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
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
use crate::vm::Hypervisor;

/// The most of a log that one answer carries.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// `GET /v2/droplets/{id}/console`: binary messages are console bytes, in both directions.
pub async fn attach(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
    upgrade: WebSocketUpgrade,
) -> ApiResult<Response> {
    let row = find(&service, account.id, id).await?;
    let region = service.region(&row.region)?;
    let serial =
        region.hypervisor.console(row.id).await.map_err(|error| {
            ApiError::conflict(format!("the console cannot be reached: {error}"))
        })?;
    Ok(upgrade.on_upgrade(move |socket| bridge(socket, serial)))
}

async fn find(service: &Service, account: i64, id: i64) -> ApiResult<DropletRow> {
    droplet::find(service.db.read(), account, id)
        .await?
        .ok_or_else(ApiError::not_found)
}

/// Carries bytes both ways until either side ends.
async fn bridge(mut socket: WebSocket, mut serial: UnixStream) {
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
#[derive(Debug, Deserialize)]
pub struct Tail {
    /// Bytes from the end; everything, up to a bound, when absent.
    tail: Option<u64>,
}

/// `GET /v2/droplets/{id}/console/log`: the bytes that the console printed.
pub async fn log(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
    Query(tail): Query<Tail>,
) -> ApiResult<Response> {
    let row = find(&service, account.id, id).await?;
    let bytes = tail.tail.unwrap_or(MAX_LOG_BYTES).min(MAX_LOG_BYTES);
    let region = service.region(&row.region)?;
    let log = region
        .hypervisor
        .console_log(row.id, bytes)
        .await
        .map_err(anyhow::Error::from)?;
    Ok(([(CONTENT_TYPE, "text/plain")], log).into_response())
}
