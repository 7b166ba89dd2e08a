//! What the extractors of `super::super::extract` take from a request, described: naming the
//! extractor under `params` describes its parameters.

use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};

use crate::http::conditional::IfMatch;
use crate::http::extract::{
    DEFAULT_PER_PAGE, Handshake, Language, MAX_PAGE, MAX_PER_PAGE, Paging, PathId, Which,
};

fn parameter(name: &str, place: ParameterIn, schema: ObjectBuilder, text: &str) -> Parameter {
    let required = match place {
        ParameterIn::Path => Required::True,
        _ => Required::False,
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(Object::from(schema)))
        .description(Some(text))
        .build()
}

fn integer() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(1))
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// The header by which a `POST` has its effect once.
pub fn idempotency_key() -> Parameter {
    let schema = text().min_length(Some(1)).max_length(Some(255));
    let what = "Chosen by the client: the same request with the same key has its effect once, and is \
                answered alike for 24 hours";
    parameter("idempotency-key", ParameterIn::Header, schema, what)
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let what = "The entity tag (`ETag`) of the image as the client knows it: if it changed since, the \
                    answer is 412 and nothing happens";
        vec![parameter("if-match", ParameterIn::Header, text(), what)]
    }
}

impl IntoParams for Handshake {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let headers = [
            ("connection", "`upgrade`"),
            ("upgrade", "`websocket`"),
            ("sec-websocket-version", "`13`"),
            ("sec-websocket-key", "16 random bytes in Base64"),
        ];
        let header = |(name, what)| {
            let mut header = parameter(name, ParameterIn::Header, text(), what);
            header.required = Required::True;
            header
        };
        headers.map(header).into()
    }
}

impl IntoParams for PathId {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![parameter(
            "id",
            ParameterIn::Path,
            integer(),
            "Its identifier",
        )]
    }
}

impl IntoParams for Which {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let what = "Its identifier, or its fingerprint";
        vec![parameter("which", ParameterIn::Path, text(), what)]
    }
}

impl IntoParams for Paging {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let page = integer().maximum(Some(MAX_PAGE)).default(Some(1.into()));
        let per_page = integer()
            .maximum(Some(MAX_PER_PAGE))
            .default(Some(DEFAULT_PER_PAGE.into()));
        vec![
            parameter("page", ParameterIn::Query, page, "Which page of the list"),
            parameter(
                "per_page",
                ParameterIn::Query,
                per_page,
                "Objects on a page",
            ),
        ]
    }
}

impl IntoParams for Language {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let what = "Language of the texts for people, before `Accept-Language`: `en` or `de`";
        vec![parameter("lang", ParameterIn::Query, text(), what)]
    }
}
