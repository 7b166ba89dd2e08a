//! Resumable uploads: tus 1.0.0 at `/v2/uploads`.
//!
//! `POST` with `Upload-Length` makes one, `PATCH` appends, `HEAD` tells how far it is, `DELETE`
//! gives it up. An upload becomes an image by `POST /v2/images` with its id, before or after its
//! last byte.

/// The protocol version in the `Tus-Resumable` header.
pub const TUS_VERSION: &str = "1.0.0";

/// The extensions that `OPTIONS` announces.
pub const TUS_EXTENSIONS: &str = "creation,termination,expiration";

/// Content type of a `PATCH`.
pub const OFFSET_OCTET_STREAM: &str = "application/offset+octet-stream";

/// Collection path.
pub const PATH: &str = "/v2/uploads";
