//! The API's description as an OpenAPI document, and the page that shows it.
//!
//! A route is described where it is written: `#[utoipa::path]` over the handler says what is its
//! own (path, tag, parameters, body, what it answers), and the router only takes handlers that are
//! described (`super::routes`). What is true of many operations is added here by [`complete`], so
//! that a new route cannot forget it: the error body, the errors that follow from having a token, a
//! path parameter or a body, and an operation id made of tag and handler.
//!
//! `docs/openapi.json` is the document as of this commit; the example `openapi` writes it.

mod parameters;

use abbild_api::ErrorBody;
use abbild_api::upload::PATH;
use axum::Router;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, Ref, RefOr, Response, Schema};
use utoipa::{Modify, OpenApi, PartialSchema, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Where the document is served.
const DOCUMENT: &str = "/v2/openapi.json";
/// Where the page is served.
const PAGE: &str = "/docs";

/// The document without its paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Abbild",
        description = include_str!("introduction.md"),
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/", description = "The service that this document comes from")),
    components(schemas(ErrorBody)),
    modifiers(&Token),
    security(("token" = []), ("session" = [])),
    tags(
        (name = "Account", description = "Who the token belongs to."),
        (name = "Session", description = "Logging in with a browser: a cookie in place of a token."),
        (name = "Tokens", description = "What programs prove with that they may use the account."),
        (name = "Users", description = "Who can log in to the account, and what they may do."),
        (name = "Audit log", description = "Who did what, to what, from where and when."),
        (name = "SSH keys", description = "The public keys that machines are made with."),
        (name = "Regions", description = "The places that images are kept in and machines run in."),
        (name = "Sizes", description = "The sizes of machines."),
        (name = "Images", description = "What is uploaded, checked, kept in regions, and booted."),
        (name = "Image actions", description = "What was asked of an image, and how far it is."),
        (name = "Uploads", description = include_str!("uploads.md")),
        (name = "Droplets", description = "The virtual machines."),
        (name = "Droplet actions", description = "What was asked of a machine, and how far it is."),
        (name = "Tags", description = "Names under which images and machines are grouped."),
        (
            name = "Snapshots and firewalls",
            description = "There are none; clients ask for them all the same."
        ),
        (name = "Events", description = "What changes, as it changes."),
        (name = "Actions", description = "Every long step of the account, while it runs and after."),
    )
)]
struct Frame;

/// How requests prove who they are from.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A token of the account: `Authorization: Bearer abb_…`",
            ))
            .build();
        if let Some(components) = &mut document.components {
            components.add_security_scheme("token", SecurityScheme::Http(scheme));
            let cookie = ApiKeyValue::with_description(
                "abbild_session",
                "The cookie that logging in sets, in place of a token; \
                 `__Host-abbild_session` where the service is reached by TLS",
            );
            let scheme = SecurityScheme::ApiKey(ApiKey::Cookie(cookie));
            components.add_security_scheme("session", scheme);
        }
    }
}

/// What the routes are added to.
pub fn frame() -> utoipa::openapi::OpenApi {
    Frame::openapi()
}

/// The document and the page on it.
pub fn serve<S: Clone + Send + Sync + 'static>(document: utoipa::openapi::OpenApi) -> Router<S> {
    let config = Config::default()
        .doc_expansion("none")
        .display_request_duration(true)
        .filter(true)
        .use_base_layout();
    SwaggerUi::new(PAGE)
        .url(DOCUMENT, document)
        .config(config)
        .into()
}

/// The schema of a body that is bytes, of whatever kind.
pub enum Binary {}

impl PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(format));
        schema.into()
    }
}

impl ToSchema for Binary {}

/// An error that follows from what an operation takes.
struct Usual {
    status: &'static str,
    /// Of the response among the components.
    name: &'static str,
    description: &'static str,
    follows: fn(&Operation) -> bool,
}

const USUAL: [Usual; 8] = [
    Usual {
        status: "400",
        name: "BadRequest",
        description: "The request could not be read: a parameter, a header or the body is malformed.",
        follows: |operation| {
            operation.request_body.is_some()
                || has(operation, &ParameterIn::Query)
                || has(operation, &ParameterIn::Header)
        },
    },
    Usual {
        status: "401",
        name: "Unauthorized",
        description: "There is no token, or it is not known.",
        follows: is_closed,
    },
    Usual {
        status: "403",
        name: "Forbidden",
        description: "The token lacks a scope, which the message names, or the account is disabled.",
        follows: is_closed,
    },
    Usual {
        status: "404",
        name: "NotFound",
        description: "It does not exist, or belongs to another account.",
        follows: |operation| has(operation, &ParameterIn::Path),
    },
    Usual {
        status: "413",
        name: "PayloadTooLarge",
        description: "The body is larger than may be sent.",
        follows: |operation| operation.request_body.is_some(),
    },
    Usual {
        status: "422",
        name: "UnprocessableEntity",
        description: "The request was understood and is wrong; the message says what and why.",
        follows: |operation| operation.request_body.is_some(),
    },
    Usual {
        status: "429",
        name: "TooManyRequests",
        description: "More requests than the limits allow; `retry-after` says when to go on.",
        follows: |_| true,
    },
    Usual {
        status: "500",
        name: "ServerError",
        description: "The service failed; its operator finds the cause under the request id.",
        follows: |_| true,
    },
];

/// Whether one has to prove who one is.
fn is_closed(operation: &Operation) -> bool {
    let open = SecurityRequirement::default();
    let ways = operation.security.as_ref();
    ways.is_none_or(|ways| !ways.contains(&open))
}

fn has(operation: &Operation, place: &ParameterIn) -> bool {
    let parameters = operation.parameters.iter().flatten();
    let mut here = parameters.filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(&parameter.parameter_in),
        RefOr::Ref(_) => None,
    });
    here.any(|other| other == place)
}

/// Adds what follows from what each operation says of itself.
pub fn complete(document: &mut utoipa::openapi::OpenApi) {
    let components = document.components.get_or_insert_default();
    for usual in &USUAL {
        let mut response = Response::new(usual.description);
        add_error_body(&mut response);
        let name = usual.name.to_owned();
        components.responses.insert(name, RefOr::T(response));
    }
    for (path, item) in &mut document.paths.paths {
        // The bytes of uploads have offsets, by which they can be sent again.
        let is_bytes = path.starts_with(PATH) && path != PATH;
        if let Some(post) = item.post.as_mut().filter(|_| !is_bytes) {
            add_idempotency_key(post);
        }
        for operation in operations(item) {
            name(operation);
            add_errors(operation);
        }
    }
}

/// A `POST` can be sent again, see `super::idempotency`.
fn add_idempotency_key(post: &mut Operation) {
    let parameters = post.parameters.get_or_insert_default();
    parameters.push(RefOr::T(parameters::idempotency_key()));
    let conflict = "The first request with this `idempotency-key` runs, or its answer is not kept";
    let responses = &mut post.responses.responses;
    responses
        .entry("409".to_owned())
        .or_insert_with(|| RefOr::T(Response::new(conflict)));
    // With another request the same key is wrong.
    responses
        .entry("422".to_owned())
        .or_insert_with(|| RefOr::Ref(Ref::from_response_name("UnprocessableEntity")));
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.head,
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ]
    .into_iter()
    .flatten()
}

/// Handlers are called alike in every module, and ids of operations are unique: `images_list`.
fn name(operation: &mut Operation) {
    let tag = operation.tags.as_deref().and_then(<[String]>::first);
    if let (Some(tag), Some(id)) = (tag, &mut operation.operation_id) {
        *id = format!("{tag}_{id}").to_lowercase().replace(' ', "_");
    }
}

/// The errors that follow from what an operation takes, unless it describes them itself; and the
/// body of every error.
fn add_errors(operation: &mut Operation) {
    for usual in &USUAL {
        if (usual.follows)(operation) {
            let responses = &mut operation.responses.responses;
            responses
                .entry(usual.status.to_owned())
                .or_insert_with(|| RefOr::Ref(Ref::from_response_name(usual.name)));
        }
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.starts_with(['4', '5'])
            && response.content.is_empty()
        {
            add_error_body(response);
        }
    }
}

fn add_error_body(response: &mut Response) {
    let content = Content::new(Some(Ref::from_schema_name("ErrorBody")));
    let json = "application/json".to_owned();
    response.content.insert(json, RefOr::T(content));
}
