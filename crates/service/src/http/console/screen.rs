//! A machine's screen over a WebSocket, and its keyboard.

use std::sync::Arc;

use abbild_api::{ConsoleKeys, ConsoleKind};
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::ticket::Visitor;
use super::{Entrance, going_away, unreachable};
use crate::Service;
use crate::auth::Caller;
use crate::drain::Session;
use crate::http::droplet::live;
use crate::http::{ApiError, ApiResult, Body, Handshake, PathId};
use crate::vm::{Hypervisor, KEYS};

/// Keys that can be pressed together.
const MAX_KEYS: usize = 8;
/// Of one message to the screen. Viewers send keys, and sometimes a clipboard.
const MAX_RFB_BYTES: usize = 1 << 20;

/// Attaches to the screen
///
/// *Ours.* A WebSocket whose binary messages are the bytes of RFB, the protocol of VNC, as noVNC speaks
/// it; several may be attached. Machines that an earlier version of the service started have a screen
/// after they were switched off and on.
#[utoipa::path(
    get,
    path = "/v2/droplets/{id}/console/vnc",
    tag = "Droplets",
    operation_id = "console_vnc",
    params(
        PathId,
        Entrance,
        Handshake,
    ),
    responses(
        (status = 101, description = "The connection is a WebSocket from here on"),
        (status = 409, description = "The machine is off, or has no screen"),
    ),
)]
pub async fn attach(
    State(service): State<Arc<Service>>,
    visitor: Visitor,
    PathId(id): PathId,
    handshake: Handshake,
) -> ApiResult<Response> {
    let (row, _) = visitor.enter(&service, id, ConsoleKind::Vnc).await?;
    if !visitor.entrance.may_type()? {
        return Err(ApiError::bad_request(
            "`mode` is for the serial console; a viewer of VNC decides itself whether it only looks",
        ));
    }
    let upgrade = handshake.upgrade(MAX_RFB_BYTES)?;
    let hypervisor = &service.region(&row.region)?.hypervisor;
    let screen = hypervisor.screen(row.id).await.map_err(unreachable)?;
    let session = service.drain.session();
    Ok(upgrade
        // What noVNC asks for.
        .protocols(["binary"])
        .on_upgrade(move |socket| bridge(socket, screen, session)))
}

/// Carries bytes both ways until either side ends, or the service.
async fn bridge(mut socket: WebSocket, mut screen: UnixStream, mut session: Session) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(64 * 1024);
        tokio::select! {
            read = screen.read_buf(&mut buffer) => {
                let bytes = buffer.split().freeze();
                let ended = !matches!(read, Ok(1..));
                let message = if ended { Message::Close(None) } else { Message::Binary(bytes) };
                if socket.send(message).await.is_err() || ended {
                    break;
                }
            }
            () = session.draining() => {
                let _ = socket.send(going_away()).await;
                break;
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Binary(bytes))) => {
                    if screen.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                // RFB has no text.
                _ => break,
            },
        }
    }
}

/// Presses keys
///
/// *Ours.* Presses keys of the machine's keyboard together, and lets them go: `ctrl`, `alt`, `delete`, or
/// `alt`, `sysrq` and a letter for Linux' magic SysRq.
#[utoipa::path(
    post,
    path = "/v2/droplets/{id}/console/keys",
    tag = "Droplets",
    operation_id = "press_keys",
    params(PathId),
    request_body = ConsoleKeys,
    responses(
        (status = 204, description = "They were pressed"),
        (status = 409, description = "The machine is off, or cannot be reached"),
    ),
)]
pub async fn keys(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
    Body(request): Body<ConsoleKeys>,
) -> ApiResult<StatusCode> {
    let row = live(service.db.read(), account.id, id).await?;
    if request.keys.is_empty() || request.keys.len() > MAX_KEYS {
        return Err(ApiError::unprocessable(format!(
            "`keys` must name between 1 and {MAX_KEYS} keys"
        )));
    }
    if let Some(unknown) = request
        .keys
        .iter()
        .find(|key| !KEYS.contains(&key.as_str()))
    {
        return Err(ApiError::unprocessable(format!(
            "there is no key `{unknown}`; these are known: {}",
            KEYS.join(", ")
        )));
    }
    let hypervisor = &service.region(&row.region)?.hypervisor;
    hypervisor
        .press_keys(row.id, &request.keys)
        .await
        .map_err(unreachable)?;
    Ok(StatusCode::NO_CONTENT)
}
