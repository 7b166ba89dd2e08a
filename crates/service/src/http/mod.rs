//! The HTTP API: one file per resource, and the router that names every path.
//!
//! Handlers read and move rows and answer at once; long work is left to `jobs`. Objects of other
//! accounts do not exist for a caller.

mod account;
mod action;
mod console;
mod droplet;
mod error;
mod extract;
mod idempotency;
mod image;
mod image_region;
mod image_source;
mod image_view;
mod key;
mod rate;
mod region;
mod related;
mod tag;
pub mod upload;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, Method};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, patch, post};
use tower_http::cors::{Any, CorsLayer};

pub use error::{ApiError, ApiResult};
use extract::{BaseUrl, Body, Language, Paging, PathId, Which, checked_name};
pub use rate::Limiter;

use crate::Service;

/// Larger than any JSON body that makes sense: user data is at most 64 KiB.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Every path of the API.
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v2/account", get(account::show))
        .route("/v2/account/usage", get(usage::show))
        .route("/v2/account/keys", get(key::list).post(key::create))
        .route(
            "/v2/account/keys/{which}",
            get(key::show).put(key::update).delete(key::delete),
        )
        .route("/v2/regions", get(region::list))
        .route("/v2/sizes", get(region::sizes))
        .route("/v2/actions", get(action::list))
        .route("/v2/actions/{id}", get(action::show))
        .route("/v2/images", get(image::list).post(image::create))
        .route(
            "/v2/images/{id}",
            get(image::show).put(image::update).delete(image::delete),
        )
        .route("/v2/images/{id}/report", get(image::report))
        .route(
            "/v2/images/{id}/regions/{slug}",
            delete(image_region::remove),
        )
        .route(
            "/v2/images/{id}/actions",
            get(action::of_image).post(image::act),
        )
        .route(
            "/v2/images/{id}/actions/{action}",
            get(action::of_image_one),
        )
        .route(
            "/v2/droplets",
            get(droplet::list)
                .post(droplet::create)
                .delete(droplet::delete_tagged),
        )
        .route("/v2/droplets/actions", post(droplet::act_tagged))
        .route(
            "/v2/droplets/{id}",
            get(droplet::show).delete(droplet::delete),
        )
        .route(
            "/v2/droplets/{id}/actions",
            get(action::of_droplet).post(droplet::act),
        )
        .route(
            "/v2/droplets/{id}/actions/{action}",
            get(action::of_droplet_one),
        )
        .route("/v2/droplets/{id}/console", get(console::attach))
        .route("/v2/droplets/{id}/console/log", get(console::log))
        .merge(related())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .merge(uploads())
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn_with_state(service.clone(), idempotency::once))
        .layer(from_fn_with_state(service.clone(), rate::limit))
        .layer(cors())
        .layer(from_fn_with_state(service.clone(), upload::announce))
        .layer(from_fn(error::finish))
        .with_state(service)
}

/// Tags, and what existing clients read beside images and droplets.
fn related() -> Router<Arc<Service>> {
    const DESTROY: &str = "/v2/droplets/{id}/destroy_with_associated_resources";
    Router::new()
        .route("/v2/droplets/{id}/snapshots", get(related::snapshots_of))
        .route("/v2/droplets/{id}/backups", get(related::backups_of))
        .route("/v2/droplets/{id}/kernels", get(related::kernels_of))
        .route("/v2/droplets/{id}/neighbors", get(related::neighbors_of))
        .route("/v2/droplets/{id}/firewalls", get(related::firewalls_of))
        .route(DESTROY, get(related::associated))
        .route(
            &format!("{DESTROY}/selective"),
            delete(related::destroy_selective),
        )
        .route(
            &format!("{DESTROY}/dangerous"),
            delete(related::destroy_dangerous),
        )
        .route(&format!("{DESTROY}/status"), get(related::destroy_status))
        .route(&format!("{DESTROY}/retry"), post(related::destroy_retry))
        .route("/v2/tags", get(tag::list).post(tag::create))
        .route("/v2/tags/{name}", get(tag::show).delete(tag::delete))
        .route(
            "/v2/tags/{name}/resources",
            post(tag::link).delete(tag::unlink),
        )
        .route("/v2/snapshots", get(related::snapshots))
        .route(
            "/v2/snapshots/{id}",
            get(related::no_snapshot).delete(related::no_snapshot),
        )
        .route("/v2/firewalls", get(related::firewalls))
}

/// Bodies of uploads are streams of any length.
fn uploads() -> Router<Arc<Service>> {
    Router::new()
        .route("/v2/uploads", post(upload::create))
        .route(
            "/v2/uploads/{id}",
            patch(upload::append)
                .head(upload::head)
                .delete(upload::delete)
                .post(upload::overridden),
        )
        .layer(DefaultBodyLimit::disable())
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
