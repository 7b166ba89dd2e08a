//! Where a request comes from, also behind proxies: the address of the client, and whether it
//! speaks TLS.
//!
//! The one source that cannot be forged is the connection itself. Only if it comes from one of the
//! operator's `trusted_proxies` is the one configured header read, from its end towards its
//! beginning: each proxy appends the address that it saw, so the last address that is not itself a
//! trusted proxy is the client, and what stands before it is what the client claims.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};

use super::ApiError;
use crate::Service;
use crate::config::{Config, ForwardedHeader};
use crate::server::Secure;

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

/// Whether the client speaks TLS: with us, or with the trusted proxy that it reached first.
pub fn is_secure(config: &Config, extensions: &Extensions, headers: &HeaderMap) -> bool {
    if extensions.get::<Secure>().is_some() {
        return true;
    }
    let connection = extensions.get::<ConnectInfo<SocketAddr>>();
    connection.is_some_and(|ConnectInfo(connection)| {
        proxied_tls(connection.ip().to_canonical(), config, headers)
    })
}

fn is_trusted(config: &Config, address: IpAddr) -> bool {
    let mut networks = config.trusted_proxies.iter();
    networks.any(|network| network.contains(&address))
}

fn client(connection: IpAddr, config: &Config, headers: &HeaderMap) -> IpAddr {
    way(connection, config, headers).0
}

/// The client, and how many trusted proxies are between it and us.
fn way(connection: IpAddr, config: &Config, headers: &HeaderMap) -> (IpAddr, usize) {
    let (mut client, mut proxies) = (connection, 0);
    let mut claimed = forwarded(config.forwarded_header, headers)
        .into_iter()
        .rev();
    while is_trusted(config, client) {
        // Where a proxy wrote something that is no address, it is the last that is known.
        let Some(Some(before)) = claimed.next() else {
            break;
        };
        client = before;
        proxies += 1;
    }
    (client, proxies)
}

/// What the proxy that the client reached says of the scheme. A proxy that writes one value over
/// what it got, as most do for `X-Forwarded-Proto`, speaks for the whole way.
fn proxied_tls(connection: IpAddr, config: &Config, headers: &HeaderMap) -> bool {
    if !is_trusted(config, connection) {
        return false;
    }
    let schemes = schemes(config.forwarded_header, headers);
    let (_, proxies) = way(connection, config, headers);
    let back = proxies.clamp(1, schemes.len().max(1));
    let scheme = schemes.iter().rev().nth(back - 1);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// The schemes that proxies list, in order; empty where one says nothing.
fn schemes(header: ForwardedHeader, headers: &HeaderMap) -> Vec<String> {
    let lines = |name| headers.get_all(name).into_iter();
    match header {
        ForwardedHeader::XForwardedFor => lines("x-forwarded-proto")
            .flat_map(|line| line.to_str().unwrap_or("").split(','))
            .map(|scheme| scheme.trim().to_owned())
            .collect(),
        ForwardedHeader::Forwarded => lines(header.name())
            .flat_map(|line| unquoted(line.to_str().unwrap_or(""), ','))
            .map(|element| parameter(&element, "proto").unwrap_or_default())
            .collect(),
    }
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
            .map(|element| address(&parameter(&element, "for")?))
            .collect(),
    }
}

/// A parameter of one element of a `Forwarded` header (RFC 7239, section 4).
fn parameter(element: &str, wanted: &str) -> Option<String> {
    unquoted(element, ';')
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
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

    fn config(header: ForwardedHeader) -> Config {
        Config {
            trusted_proxies: ["10.0.0.0/8", "fd00::/8"]
                .map(|n| n.parse().unwrap())
                .into(),
            forwarded_header: header,
            ..Config::default()
        }
    }

    fn of(connection: &str, header: ForwardedHeader, lines: &[&'static str]) -> String {
        let config = config(header);
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

    fn tls(connection: &str, header: ForwardedHeader, given: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        proxied_tls(connection.parse().unwrap(), &config(header), &headers)
    }

    #[test]
    fn a_trusted_proxy_says_whether_the_client_speaks_tls() {
        let x = ForwardedHeader::XForwardedFor;
        let https = ("x-forwarded-proto", "https");
        let client = ("x-forwarded-for", "198.51.100.1");
        assert!(tls("10.0.0.1", x, &[https, client]));
        assert!(tls("10.0.0.1", x, &[https]));
        assert!(!tls("192.0.2.1", x, &[https, client]), "not trusted");
        assert!(!tls("10.0.0.1", x, &[client]), "says nothing");
        assert!(!tls(
            "10.0.0.1",
            x,
            &[("x-forwarded-proto", "https, http"), client]
        ));
        let two = ("x-forwarded-for", "198.51.100.1, 10.0.0.2");
        assert!(tls(
            "10.0.0.1",
            x,
            &[("x-forwarded-proto", "https, http"), two]
        ));
        assert!(tls("10.0.0.1", x, &[https, two]));

        let f = ForwardedHeader::Forwarded;
        let forwarded = |value| [("forwarded", value), https];
        assert!(tls(
            "10.0.0.1",
            f,
            &forwarded("for=198.51.100.1;proto=https")
        ));
        assert!(tls(
            "10.0.0.1",
            f,
            &forwarded("for=198.51.100.1;Proto=\"HTTPS\", for=10.0.0.2;proto=http")
        ));
        assert!(!tls("10.0.0.1", f, &forwarded("for=198.51.100.1")));
    }
}
