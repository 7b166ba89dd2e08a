//! The URLs of imports: which are taken, and what of them may be shown.
//!
//! The query of a URL may be a secret (a presigned URL), so it is in no log and no answer. What is
//! taken is decided here for the URL of a request and for every redirection alike; the addresses
//! behind a name are looked at when it is resolved ([`super::web`]).

use std::net::IpAddr;

use reqwest::Url;

use super::address::Reach;
use super::config::FetchConfig;

/// Longer URLs are nobody's.
const MAX_URL_BYTES: usize = 8192;

/// What may be fetched.
#[derive(Debug, Clone)]
pub struct Policy {
    config: FetchConfig,
    reach: Reach,
}

impl Policy {
    /// As the operator has set it.
    pub fn new(config: &FetchConfig) -> Self {
        Self {
            config: config.clone(),
            reach: Reach {
                allow: config.allow.clone(),
                deny: config.deny.clone(),
            },
        }
    }

    /// Reads a customer's URL.
    ///
    /// # Errors
    /// With what is wrong with it, for its owner.
    pub fn parse(&self, text: &str) -> Result<Url, String> {
        if text.len() > MAX_URL_BYTES {
            return Err(format!("`url` is longer than {MAX_URL_BYTES} bytes"));
        }
        let mut url = Url::parse(text.trim()).map_err(|e| {
            format!("`url` is not a URL such as https://example.org/image.qcow2: {e}")
        })?;
        self.check(&url).map_err(|why| format!("`url` {why}"))?;
        url.set_fragment(None);
        Ok(url)
    }

    /// Whether `url` may be fetched, as far as it can be told before its host is resolved.
    ///
    /// # Errors
    /// With what is wrong with it, as the end of a sentence.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        if !matches!(url.scheme(), "http" | "https") {
            let scheme = url.scheme();
            return Err(format!(
                "begins with `{scheme}:`; http and https can be fetched"
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a user name or a password, which are not sent; \
                        use a presigned URL for what is not public"
                .to_owned());
        }
        let port = url.port_or_known_default().unwrap_or(0);
        if !self.config.has_port(port) {
            let ports: Vec<_> = self.config.ports.iter().map(ToString::to_string).collect();
            return Err(format!(
                "names the port {port}; the operator permits {}",
                ports.join(", ")
            ));
        }
        if let Some(address) = literal(url) {
            self.check_address(address).map_err(|what| {
                format!("leads to {address}, {what}, which imports do not reach")
            })?;
        }
        Ok(())
    }

    /// Whether `address` may be connected to.
    ///
    /// # Errors
    /// With what it is.
    pub fn check_address(&self, address: IpAddr) -> Result<(), &'static str> {
        self.reach.refusal(address).map_or(Ok(()), Err)
    }
}

/// The address that the host is, in whatever spelling it was written.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let host = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    host.parse().ok()
}

/// Host, and port if it is not the usual one: for logs and for others than the owner.
pub fn origin(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The URL without its query, for its owner.
pub fn shown(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    url[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(toml: &str) -> Policy {
        Policy::new(&toml::from_str(toml).unwrap())
    }

    #[test]
    fn urls_are_taken_or_refused_with_the_reason() {
        let policy = policy("");
        for good in [
            "https://example.org/image.qcow2",
            "HTTP://EXAMPLE.ORG:8080/?X-Amz-Signature=1#part",
            "https://example.org/a%20b/%2e%2e?file",
            "https://8.8.8.8/x",
            "https://[2606:4700::1111]:8443/x",
            "https://bücher.example/x",
        ] {
            assert!(
                policy.parse(good).is_ok(),
                "{good}: {:?}",
                policy.parse(good)
            );
        }
        for (bad, why) in [
            ("image.qcow2", "not a URL"),
            ("", "not a URL"),
            ("file:///etc/passwd", "`file:`"),
            ("ftp://example.org/x", "`ftp:`"),
            ("gopher://127.0.0.1/x", "`gopher:`"),
            ("data:text/plain,x", "`data:`"),
            ("https://user:secret@example.org/x", "password"),
            ("https://user@example.org/x", "user name"),
            ("http://example.org:22/x", "port 22"),
            ("http://example.org:0/x", "port 0"),
            ("http://127.0.0.1/x", "loopback"),
            ("http://2130706433/x", "loopback"),
            ("http://0x7f000001/x", "loopback"),
            ("http://0x7f.1/x", "loopback"),
            ("http://017700000001/x", "loopback"),
            ("http://127.1/x", "loopback"),
            ("http://①②⑦.0.0.1/x", "loopback"),
            ("http://%31%32%37.0.0.1/x", "loopback"),
            ("http://0/x", "unspecified"),
            ("http://[::1]/x", "loopback"),
            ("http://[::ffff:127.0.0.1]/x", "loopback"),
            ("http://[0:0:0:0:0:ffff:7f00:1]/x", "loopback"),
            ("http://[64:ff9b::10.0.0.1]/x", "private"),
            ("http://[::127.0.0.1]/x", "reserved"),
            ("http://169.254.169.254/latest/meta-data", "link-local"),
            ("http://0xa9fea9fe/", "link-local"),
            ("http://[fd00:ec2::254]/", "private"),
            ("http://255.255.255.255/", "broadcast"),
        ] {
            let error = policy.parse(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let long = format!("https://example.org/{}", "x".repeat(MAX_URL_BYTES));
        assert!(policy.parse(&long).is_err());
    }

    #[test]
    fn the_operator_opens_networks_and_ports() {
        let policy = policy("allow = [\"10.0.0.0/8\"]\nports = [443]");
        assert!(policy.parse("https://10.1.2.3/x").is_ok());
        assert!(policy.parse("https://10.1.2.3:8443/x").is_err());
        assert!(policy.parse("https://192.168.0.1/x").is_err());
    }

    #[test]
    fn what_is_shown_has_no_secrets() {
        let url = Url::parse("https://s3.example.org:9000/b/k.img?X-Amz-Signature=secret").unwrap();
        assert_eq!(origin(&url), "s3.example.org:9000");
        assert_eq!(shown(url.as_str()), "https://s3.example.org:9000/b/k.img");
    }
}
