//! The HTTP API: one file per resource, and the router that names every path.
//!
//! Handlers read and move rows and answer at once; long work is left to `jobs`. Objects of other
//! accounts do not exist for a caller.

mod account;
mod action;
mod audit;
mod conditional;
mod console;
mod droplet;
mod error;
mod events;
mod export;
mod extract;
mod health;
mod idempotency;
mod image;
mod image_create;
mod image_region;
mod image_source;
mod image_view;
mod key;
mod linger;
pub mod metrics;
mod observe;
mod oidc;
mod openapi;
pub mod peer;
mod probe;
mod rate;
mod region;
mod related;
mod session;
mod snapshot;
mod tag;
mod token;
pub mod upload;
mod usage;
mod user;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, Method};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower_http::cors::{Any, CorsLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use action::timestamp;
pub use audit::to_api as audit_to_api;
pub use error::{ApiError, ApiResult};
pub use events::{Changes, look_for_changes};
pub use export::EXPORTS;
pub use extract::{BaseUrl, checked_name};
use extract::{Body, Handshake, Language, Paging, PathId, Which};
pub use observe::RequestId;
pub use rate::Limiter;
pub use token::to_api as token_to_api;
pub use user::{checked_email, to_api as user_to_api};

use crate::Service;

/// Of an answer with a secret: nothing on the way may keep it, nor does an `Idempotency-Key`.
const NO_STORE: NoStore = [(CACHE_CONTROL, "no-store")];
type NoStore = [(HeaderName, &'static str); 1];

/// Larger than any JSON body that makes sense: user data is at most 64 KiB.
const MAX_BODY_BYTES: usize = 1 << 20;

/// The API: its routes, their description, and what surrounds them.
pub fn router(service: Arc<Service>) -> Router {
    let (routes, document) = described();
    routes
        .merge(openapi::serve(document))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn_with_state(service.clone(), crate::audit::watch))
        .layer(from_fn_with_state(service.clone(), idempotency::once))
        .layer(from_fn_with_state(service.clone(), rate::limit))
        .layer(cors())
        .layer(from_fn_with_state(service.clone(), upload::announce))
        .route("/metrics", get(metrics::show))
        .layer(from_fn(error::finish))
        .merge(health())
        .layer(from_fn(linger::layer))
        .layer(from_fn(observe::observe))
        .with_state(service)
}

/// The description of the API as JSON.
pub fn document() -> serde_json::Result<String> {
    described().1.to_pretty_json()
}

/// Every route, and the description of all.
fn described() -> (Router<Arc<Service>>, OpenApi) {
    let (routes, mut document) = OpenApiRouter::with_openapi(openapi::frame())
        .merge(routes())
        .merge(upload::routes())
        .split_for_parts();
    openapi::complete(&mut document);
    (routes, document)
}

/// For those who watch the service: no part of the API, and neither limited nor answered like it.
fn health() -> Router<Arc<Service>> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
}

/// Every path of the API with JSON bodies. Handlers that are not described do not get in.
fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default()
        .routes(routes!(account::show))
        .routes(routes!(usage::show))
        .routes(routes!(key::list, key::create))
        .routes(routes!(key::show, key::update, key::delete))
        .routes(routes!(region::list))
        .routes(routes!(region::sizes))
        .routes(routes!(events::follow))
        .routes(routes!(action::list))
        .routes(routes!(action::show))
        .routes(routes!(image::list, image_create::create))
        .routes(routes!(image::show, image::update, image::delete))
        .routes(routes!(image::report))
        .routes(routes!(probe::show))
        .routes(routes!(probe::log))
        .routes(routes!(probe::screenshot))
        .routes(routes!(export::export))
        .routes(routes!(image_region::remove))
        .routes(routes!(action::of_image, image::act))
        .routes(routes!(action::of_image_one))
        .routes(routes!(
            droplet::list,
            droplet::create::create,
            droplet::delete_tagged
        ))
        .routes(routes!(droplet::act::act_tagged))
        .routes(routes!(droplet::show, droplet::delete))
        .routes(routes!(action::of_droplet, droplet::act::act))
        .routes(routes!(action::of_droplet_one))
        .routes(routes!(console::attach))
        .routes(routes!(console::log))
        .routes(routes!(console::ticket::create))
        .routes(routes!(console::screen::attach))
        .routes(routes!(console::screen::keys))
        .merge(administration())
        .merge(related())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// Who may do what, and who did.
fn administration() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default()
        .routes(routes!(session::show, session::create, session::delete))
        .routes(routes!(session::methods))
        .routes(routes!(oidc::begin))
        .routes(routes!(oidc::end))
        .routes(routes!(session::list))
        .routes(routes!(session::revoke))
        .routes(routes!(session::change_password))
        .routes(routes!(token::list, token::create))
        .routes(routes!(token::show, token::delete))
        .routes(routes!(user::list, user::create))
        .routes(routes!(user::show, user::update, user::delete))
        .routes(routes!(audit::list))
}

/// Tags, and what existing clients read beside images and droplets.
fn related() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default()
        .routes(routes!(tag::list, tag::create))
        .routes(routes!(tag::show, tag::delete))
        .routes(routes!(tag::link, tag::unlink))
        .routes(routes!(snapshot::of_droplet))
        .routes(routes!(related::backups_of))
        .routes(routes!(related::kernels_of))
        .routes(routes!(related::neighbors_of))
        .routes(routes!(related::firewalls_of))
        .routes(routes!(related::associated))
        .routes(routes!(related::destroy_selective))
        .routes(routes!(related::destroy_dangerous))
        .routes(routes!(related::destroy_status))
        .routes(routes!(related::destroy_retry))
        .routes(routes!(snapshot::list))
        .routes(routes!(snapshot::show, snapshot::delete))
        .routes(routes!(related::firewalls))
}

/// Lets pages of other origins use the API; they need a token all the same.
fn cors() -> CorsLayer {
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    let exposed = [
        "content-disposition",
        "content-range",
        "etag",
        "idempotency-replayed",
        "location",
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "retry-after",
        "tus-checksum-algorithm",
        "tus-extension",
        "tus-max-size",
        "tus-resumable",
        "tus-version",
        "upload-concat",
        "upload-defer-length",
        "upload-expires",
        "upload-length",
        "upload-metadata",
        "upload-offset",
        "x-request-id",
    ];
    // Named one by one: a wildcard would not cover `authorization`.
    let allowed = [
        "accept-language",
        "authorization",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "if-range",
        "last-event-id",
        "range",
        "tus-resumable",
        "upload-checksum",
        "upload-concat",
        "upload-defer-length",
        "upload-length",
        "upload-metadata",
        "upload-offset",
        "x-http-method-override",
        "x-request-id",
    ];
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(methods)
        .allow_headers(allowed.map(HeaderName::from_static))
        .expose_headers(exposed.map(HeaderName::from_static))
        .max_age(Duration::from_secs(3600))
}
