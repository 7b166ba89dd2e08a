//! Ports of a machine's address that lead into its guest.

use serde::{Deserialize, Serialize};

/// What a forwarded port carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A port that leads into the guest. There is one for each port and protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Forward {
    /// Of the machine's address.
    pub port: u16,
    /// Of the guest.
    pub guest_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl Forward {
    /// To the port of the same number when `guest_port` is absent.
    #[must_use]
    pub fn new(port: u16, guest_port: Option<u16>, protocol: Protocol) -> Self {
        Self {
            port,
            guest_port: guest_port.unwrap_or(port),
            protocol,
        }
    }

    /// Whether both are about the same port of the machine's address.
    #[must_use]
    pub fn is_at(&self, port: u16, protocol: Protocol) -> bool {
        self.port == port && self.protocol == protocol
    }
}
