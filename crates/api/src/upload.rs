//! Resumable uploads: tus 1.0.0 at `/v2/uploads`.
//!
//! `POST` with `Upload-Length` makes one, `PATCH` appends, `HEAD` tells how far it is, `DELETE`
//! gives it up. An upload becomes an image by `POST /v2/images` with its id, before or after its
//! last byte. `PUT` with a name instead of an id makes one in a single request.

use serde::{Deserialize, Serialize};

/// The protocol version in the `Tus-Resumable` header.
pub const TUS_VERSION: &str = "1.0.0";

/// The extensions that `OPTIONS` announces.
pub const TUS_EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,checksum,\
                                  checksum-trailer,expiration,termination,concatenation";

/// How `Upload-Concat` begins for an upload that is made of parts; their URLs follow.
pub const TUS_CONCAT_FINAL: &str = "final;";

/// Content type of a `PATCH`.
pub const OFFSET_OCTET_STREAM: &str = "application/offset+octet-stream";

/// Collection path.
pub const PATH: &str = "/v2/uploads";

/// One upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Upload {
    /// Identifier.
    pub id: String,
    /// The name that the client of a `PUT` chose.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub name: Option<String>,
    /// Bytes that it will have; null while that is not known.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub length: Option<u64>,
    /// Bytes that are here and safe.
    pub received: u64,
    /// Whether that is all of it.
    pub complete: bool,
}

/// `{"upload": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UploadOne {
    /// The upload.
    pub upload: Upload,
}
