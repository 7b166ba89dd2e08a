//! `/v2/events`: what changes, as it changes, as server-sent events.
//!
//! An event is an object as `GET` shows it, under the number of its change. Changes that follow
//! each other quickly may come as one, because only the present state of an object is kept; so a
//! client that was away for long is told about each object once. The stream ends after some minutes
//! and with the service; every client library for server-sent events reconnects by itself and names
//! the last number it has seen, from which the next stream goes on.
//!
//! One task for all streams looks for changes, so that streams cost nothing while nothing happens,
//! and changes by other processes on the same database are seen as well.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use abbild_api::{ActionOne, Droplet, DropletOne, ImageOne};
use abbild_guest::Lang;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::extract::Parameters;
use super::{ApiError, ApiResult, Language, action, droplet, image_view};
use crate::Service;
use crate::auth::Caller;
use crate::db::change::{self, ChangeRow};
use crate::db::{self, image};

/// How often the database is asked while anybody listens.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long a stream lasts. The token is looked at again when the client comes back.
const LIFE: Duration = Duration::from_secs(600);
/// How long a client waits before it comes back.
const RETRY: Duration = Duration::from_secs(1);
/// A sign of life, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Objects that are loaded at once.
const PAGE: i64 = 100;
/// Streams of one account at a time.
const PER_ACCOUNT: usize = 32;

/// Who listens, and the number of the last change.
#[derive(Debug)]
pub struct Changes {
    last: watch::Sender<i64>,
    streams: Mutex<HashMap<i64, usize>>,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            last: watch::Sender::new(0),
            streams: Mutex::default(),
        }
    }
}

/// A stream that counts towards the limit of its account.
struct Place {
    service: Arc<Service>,
    account: i64,
}

impl Place {
    fn take(service: &Arc<Service>, account: i64) -> ApiResult<Self> {
        let mut streams = service.changes.streams();
        let count = streams.entry(account).or_default();
        if *count >= PER_ACCOUNT {
            let message = format!("the account has {PER_ACCOUNT} streams of events already");
            return Err(ApiError::too_many_requests(message, RETRY.as_secs()));
        }
        *count += 1;
        drop(streams);
        Ok(Self {
            service: service.clone(),
            account,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.service.changes.streams();
        if let Some(count) = streams.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                streams.remove(&self.account);
            }
        }
    }
}

impl Changes {
    fn streams(&self) -> std::sync::MutexGuard<'_, HashMap<i64, usize>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks for changes while anybody listens.
pub async fn look_for_changes(service: Arc<Service>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let last = &service.changes.last;
        if last.receiver_count() == 0 {
            continue;
        }
        match change::last(service.db.read()).await {
            Ok(number) => {
                last.send_if_modified(|known| {
                    let newer = number > *known;
                    *known = number.max(*known);
                    newer
                });
            }
            Err(error) => tracing::error!(%error, "looking for changes failed"),
        }
    }
}

/// What is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Only these kinds of objects, separated by commas: `image`, `droplet`, `action`.
    #[param(example = "image,action")]
    types: Option<String>,
    /// The number of the last change that the client has seen, as `Last-Event-ID`.
    since: Option<i64>,
}

impl Wanted {
    fn types(&self) -> ApiResult<HashSet<&'static str>> {
        let all = ["image", "droplet", "action"];
        let Some(types) = &self.types else {
            return Ok(all.into());
        };
        let known = |name: &str| all.into_iter().find(|known| *known == name.trim());
        let found = types.split(',').map(|name| {
            known(name).ok_or_else(|| {
                let message = format!(
                    "`types`: there is no `{name}`; there are {}",
                    all.join(", ")
                );
                ApiError::unprocessable(message)
            })
        });
        found.collect()
    }
}

/// Follows images, machines and actions live
///
/// *Ours.* Server-sent events: `image`, `droplet` and `action` with the object as `GET` answers it, and
/// `image.deleted`, `droplet.deleted` with its `id`. The first event, `ready`, has no object. Send the id
/// of the last event as `Last-Event-ID` (or `since`) to go on where a stream ended; without it the stream
/// begins now.
#[utoipa::path(
    get,
    path = "/v2/events",
    tag = "Events",
    params(
        Wanted,
        Language,
        ("last-event-id" = Option<i64>, Header, description = "The number of the last change that the client has seen"),
    ),
    responses(
        (status = 200, description = "The stream", content_type = "text/event-stream", body = String),
        (status = 429, description = "The account has too many streams"),
    ),
)]
pub async fn follow(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    Parameters(wanted): Parameters<Wanted>,
    headers: HeaderMap,
) -> ApiResult<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let types = wanted.types()?;
    let place = Place::take(&service, account.id)?;
    let news = service.changes.last.subscribe();
    let named = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let last = match named.or(wanted.since) {
        Some(number) => number,
        None => change::last(service.db.read()).await?,
    };
    let (events, receiver) = mpsc::channel(PAGE as usize);
    let follower = Follower {
        account: account.id,
        lang,
        types,
        last,
        events,
        place,
    };
    tokio::spawn(async move {
        let _ = tokio::time::timeout(LIFE, follower.run(news)).await;
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive))
}

/// One stream.
struct Follower {
    account: i64,
    lang: Lang,
    types: HashSet<&'static str>,
    /// The last change that was sent.
    last: i64,
    events: mpsc::Sender<Result<Event, Infallible>>,
    place: Place,
}

/// Why a stream ends.
enum End {
    /// Nobody listens any more.
    Gone,
    /// An object could not be loaded. The client comes back, and gets it then.
    Failed(ApiError),
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

impl From<sqlx::Error> for End {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Follower {
    async fn run(mut self, mut news: watch::Receiver<i64>) {
        let service = self.place.service.clone();
        let mut session = service.drain.session();
        let closed = self.events.clone();
        let end = tokio::select! {
            end = self.follow(&mut news) => end,
            () = closed.closed() => return,
            () = session.draining() => return,
        };
        if let Err(End::Failed(error)) = end {
            tracing::error!(?error, "a stream of events ends");
        }
    }

    async fn follow(&mut self, news: &mut watch::Receiver<i64>) -> Result<(), End> {
        let ready = json!({"last_event_id": self.last});
        self.send(self.last, "ready", &ready, Some(RETRY)).await?;
        loop {
            let service = self.place.service.clone();
            let rows = change::since(service.db.read(), self.account, self.last, PAGE).await?;
            let more = rows.len() == PAGE as usize;
            self.show(&service, &rows).await?;
            if more {
                continue;
            }
            if news.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Sends the objects that changed, in the order of their changes.
    async fn show(&mut self, service: &Arc<Service>, rows: &[ChangeRow]) -> Result<(), End> {
        let ids = |kind: &str| -> Vec<i64> {
            let of_kind = rows.iter().filter(|row| row.resource_type == kind);
            of_kind.map(|row| row.resource_id).collect()
        };
        let db = service.db.read();
        let mut images = HashMap::new();
        if self.types.contains("image") {
            let mut db = db.acquire().await?;
            let mut live = image::shown(&mut db, self.account, &ids("image")).await?;
            live.retain(|shown| shown.row.deleted_at.is_none());
            let shown = image_view::many_by(&mut db, live, self.lang).await?;
            images.extend(shown.into_iter().map(|image| (image.id.0, image)));
        }
        for row in rows {
            let (id, number) = (row.resource_id, row.number);
            self.last = number;
            match row.resource_type.as_str() {
                kind if !self.types.contains(kind) => {}
                "image" => match images.remove(&id) {
                    Some(image) => {
                        self.send(number, "image", &ImageOne { image }, None)
                            .await?
                    }
                    None => self.send_gone(number, "image.deleted", id).await?,
                },
                "droplet" => match self.droplet(service, id).await? {
                    Some(droplet) => {
                        self.send(number, "droplet", &DropletOne { droplet }, None)
                            .await?;
                    }
                    None => self.send_gone(number, "droplet.deleted", id).await?,
                },
                _ => {
                    if let Some(row) = db::action::find(db, self.account, id).await? {
                        let action = action::to_api(service, row)?;
                        self.send(number, "action", &ActionOne { action }, None)
                            .await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn droplet(&self, service: &Service, id: i64) -> Result<Option<Droplet>, End> {
        let db = service.db.read().acquire().await?;
        Ok(droplet::find(service, db, self.account, id, self.lang).await?)
    }

    async fn send_gone(&self, number: i64, name: &str, id: i64) -> Result<(), End> {
        self.send(number, name, &json!({"id": id}), None).await
    }

    async fn send(
        &self,
        number: i64,
        name: &str,
        data: &impl Serialize,
        retry: Option<Duration>,
    ) -> Result<(), End> {
        let event = Event::default().id(number.to_string()).event(name);
        let event = event.json_data(data).map_err(ApiError::internal)?;
        let event = match retry {
            Some(retry) => event.retry(retry),
            None => event,
        };
        self.events.send(Ok(event)).await.map_err(|_| End::Gone)
    }
}
