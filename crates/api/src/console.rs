//! The recovery console: what opens it, and what is typed into it.

use serde::{Deserialize, Serialize};

/// One of a machine's consoles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ConsoleKind {
    /// The serial line.
    #[default]
    Serial,
    /// The screen.
    Vnc,
}

/// Body of `POST /v2/droplets/{id}/console/tickets`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"kind": "serial"})))]
pub struct CreateConsoleTicket {
    /// Which console; the serial one when absent.
    #[serde(default)]
    pub kind: ConsoleKind,
}

/// What opens a console once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConsoleTicket {
    /// The console that it opens.
    pub kind: ConsoleKind,
    /// Path of the WebSocket with the ticket in it, for a client that can send no headers.
    pub path: String,
    /// When it is worth nothing any more. RFC 3339, UTC.
    #[cfg_attr(feature = "openapi", schema(format = "date-time"))]
    pub expires_at: String,
}

/// `{"ticket": …}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConsoleTicketOne {
    /// The ticket.
    pub ticket: ConsoleTicket,
}

/// Body of `POST /v2/droplets/{id}/console/keys`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"keys": ["ctrl", "alt", "delete"]})))]
pub struct ConsoleKeys {
    /// Keys that are pressed together, and then let go: at most 8, by QEMU's names.
    pub keys: Vec<String>,
}

/// What the service says on the WebSocket of the serial console, in text messages; binary ones are
/// the console's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ConsoleNotice {
    /// Somebody has the keyboard now.
    Keyboard {
        /// Whether that is the receiver.
        yours: bool,
        /// The e-mail address of the user, or the name of the token.
        holder: String,
    },
    /// The receiver was too slow, and this many pieces of output were left out.
    Lost {
        /// How many.
        pieces: u64,
    },
    /// The machine took no input for a while, and something that the receiver typed was left out.
    Unread {
        /// How much of it, in bytes.
        bytes: u64,
    },
}
