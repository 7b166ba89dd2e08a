//! Where a request comes from: the address of the client, also behind proxies.
//!
//! The one source that cannot be forged is the connection itself. Only if it comes from one of the
//! operator's `trusted_proxies` is the one configured header read, from its end towards its
//! beginning: each proxy appends the address that it saw, so the last address that is not itself a
//! trusted proxy is the client, and what stands before it is what the client claims.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::ApiError;
use crate::Service;
use crate::config::{Config, ForwardedHeader};

/// The address of the client; an IPv4 address is always written as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub IpAddr);

impl FromRequestParts<Arc<Service>> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, ApiError> {
        let ConnectInfo(connection) = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .ok_or_else(|| ApiError::internal("the address of the connection is not known"))?;
        let connection = connection.ip().to_canonical();
        Ok(Self(client(connection, &service.config, &parts.headers)))
    }
}

fn client(connection: IpAddr, config: &Config, headers: &HeaderMap) -> IpAddr {
    let trusted = |address: IpAddr| {
        config
            .trusted_proxies
            .iter()
            .any(|net| net.contains(&address))
    };
    let mut client = connection;
    let mut claimed = forwarded(config.forwarded_header, headers)
        .into_iter()
        .rev();
    while trusted(client) {
        // Where a proxy wrote something that is no address, it is the last that is known.
        let Some(Some(before)) = claimed.next() else {
            break;
        };
        client = before;
    }
    client
}

/// The addresses that `header` lists, in order; `None` for what is not one, such as `unknown`.
fn forwarded(header: ForwardedHeader, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers
        .get_all(header.name())
        .into_iter()
        .map(|line| line.to_str().unwrap_or(""));
    match header {
        ForwardedHeader::XForwardedFor => lines
            .flat_map(|line| line.split(','))
            .map(|entry| address(entry.trim()))
            .collect(),
        ForwardedHeader::Forwarded => lines
            .flat_map(|line| unquoted(line, ','))
            .map(|element| forwarded_for(&element))
            .collect(),
    }
}

/// The `for` of one element of a `Forwarded` header (RFC 7239, section 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    unquoted(element, ';')
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))
        .and_then(|(_, value)| address(value.trim().trim_matches('"')))
}

/// Splits at `separator` where it is not within quotation marks.
fn unquoted(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '"';
        if c == separator && !quoted {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(connection: &str, header: ForwardedHeader, lines: &[&'static str]) -> String {
        let config = Config {
            trusted_proxies: ["10.0.0.0/8", "fd00::/8"]
                .map(|n| n.parse().unwrap())
                .into(),
            forwarded_header: header,
            ..Config::default()
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header.name(), HeaderValue::from_static(line));
        }
        let connection: IpAddr = connection.parse().unwrap();
        client(connection.to_canonical(), &config, &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let x = ForwardedHeader::XForwardedFor;
        assert_eq!(of("192.0.2.1", x, &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(of("10.0.0.1", x, &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("::ffff:10.0.0.1", x, &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("10.0.0.1", x, &[]), "10.0.0.1");
    }

    #[test]
    fn what_the_client_claims_is_not_believed() {
        let x = ForwardedHeader::XForwardedFor;
        assert_eq!(
            of("10.0.0.1", x, &["1.1.1.1, 198.51.100.1"]),
            "198.51.100.1"
        );
        assert_eq!(
            of("10.0.0.1", x, &["1.1.1.1", "198.51.100.1:4711, 10.0.0.2"]),
            "198.51.100.1"
        );
        assert_eq!(of("10.0.0.1", x, &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(of("10.0.0.1", x, &["1.1.1.1, unknown"]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", x, &["1.1.1.1,"]), "10.0.0.1");
    }

    #[test]
    fn the_standard_header_is_read_when_it_is_configured() {
        let f = ForwardedHeader::Forwarded;
        assert_eq!(
            of(
                "fd00::1",
                f,
                &[r#"for=1.1.1.1, proto=https;For="[2001:db8::1]:4711";by="a,b""#]
            ),
            "2001:db8::1"
        );
        assert_eq!(of("10.0.0.1", f, &["for=198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("10.0.0.1", f, &["for=_hidden"]), "10.0.0.1");
    }
}
