//! Rate limits: how many requests a token, or an address without one, may make.
//!
//! Requests are counted in two windows, an hour and a minute, each of which begins with the first
//! request after the end of the last. Every answer says in `ratelimit-limit`, `-remaining` and
//! `-reset` (unix seconds) how the hour stands; a request beyond either window is refused with 429,
//! these headers tell of the window that is used up, and `retry-after` of the seconds until it
//! ends. Refused requests are not counted. A request is one request however long its body is, so an
//! upload costs one for each `PATCH`.
//!
//! Counts are kept in memory, by process: a restart forgets them. An unknown token counts for its
//! address, so neither guessing tokens nor inventing them gives anybody further requests.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::ApiError;
use super::peer::Peer;
use crate::auth;
use crate::config::Limits;
use crate::{Service, db};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Addresses that are counted one by one; all further ones share a count until some are forgotten.
const MAX_ADDRESSES: usize = 50_000;
/// Seconds between two searches for counts whose windows are over.
const FORGET_EVERY: i64 = 60;

/// Who is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    /// A known token or session, by its SHA-256.
    Token([u8; 32]),
    /// Without one: an IPv4 address, or the first 64 bits of an IPv6 address, because that is what
    /// one customer gets.
    Address(IpAddr),
    /// Addresses beyond those that are remembered.
    Others,
}

impl Client {
    fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// A number of requests in a time.
#[derive(Debug, Clone, Copy)]
struct Limit {
    requests: u32,
    seconds: i64,
}

/// What is left of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    limit: u32,
    remaining: u32,
    /// Unix seconds.
    reset: i64,
}

/// What was used of a window.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    began: i64,
    requests: u32,
}

#[derive(Debug, Default)]
struct Counts {
    by_client: HashMap<Client, [Used; 2]>,
    addresses: usize,
    forgot_at: i64,
}

/// Counts requests.
#[derive(Debug)]
pub struct Limiter {
    /// The longest window first; none of them means no limits.
    limits: Vec<Limit>,
    counts: Mutex<Counts>,
}

impl Limiter {
    /// With the operator's limits; 0 requests stand for no limit.
    pub fn new(limits: &Limits) -> Self {
        let limits = [
            (limits.requests_per_hour, 3600),
            (limits.requests_per_minute, 60),
        ];
        Self {
            limits: limits
                .into_iter()
                .filter(|(requests, _)| *requests > 0)
                .map(|(requests, seconds)| Limit { requests, seconds })
                .collect(),
            counts: Mutex::default(),
        }
    }

    /// Whether requests of this token have been counted lately: then it need not be looked up.
    fn knows(&self, client: Client) -> bool {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.by_client.contains_key(&client)
    }

    /// Counts a request of `client` at `now`, or refuses it: `Err` with the window that is used up.
    fn count(&self, client: Client, now: i64) -> Result<Option<Standing>, Standing> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let used = counts.of(client, now, self.longest());
        for (limit, used) in self.limits.iter().zip(used.iter_mut()) {
            // A clock that was set back begins a window, too.
            let over = now >= used.began + limit.seconds || now < used.began;
            if used.requests == 0 || over {
                *used = Used {
                    began: now,
                    requests: 0,
                };
            }
            if used.requests >= limit.requests {
                return Err(standing(*limit, *used));
            }
        }
        for used in used.iter_mut() {
            used.requests += 1;
        }
        let first = self.limits.first().zip(used.first());
        Ok(first.map(|(limit, used)| standing(*limit, *used)))
    }

    fn longest(&self) -> i64 {
        self.limits.first().map_or(0, |limit| limit.seconds)
    }
}

impl Counts {
    fn of(&mut self, mut client: Client, now: i64, longest: i64) -> &mut [Used; 2] {
        let new = !self.by_client.contains_key(&client);
        if new && matches!(client, Client::Address(_)) {
            if self.addresses >= MAX_ADDRESSES {
                self.forget(now, longest);
            }
            if self.addresses >= MAX_ADDRESSES {
                client = Client::Others;
            } else {
                self.addresses += 1;
            }
        } else if new {
            self.forget(now, longest);
        }
        self.by_client.entry(client).or_default()
    }

    /// Drops counts whose windows are over, unless that was tried a moment ago.
    fn forget(&mut self, now: i64, longest: i64) {
        if (self.forgot_at..self.forgot_at + FORGET_EVERY).contains(&now) {
            return;
        }
        self.forgot_at = now;
        self.by_client
            .retain(|_, used| used.iter().any(|used| now < used.began + longest));
        let is_address = |client: &&Client| matches!(client, Client::Address(_));
        self.addresses = self.by_client.keys().filter(is_address).count();
    }
}

fn standing(limit: Limit, used: Used) -> Standing {
    Standing {
        limit: limit.requests,
        remaining: limit.requests.saturating_sub(used.requests),
        reset: used.began + limit.seconds,
    }
}

/// The layer that counts every request of the API.
pub async fn limit(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/v2/") {
        return next.run(request).await;
    }
    let (client, request) = match who(&service, request).await {
        Ok(known) => known,
        Err(error) => return error.into_response(),
    };
    let now = db::now();
    let (mut response, standing) = match service.limiter.count(client, now) {
        Ok(standing) => (next.run(request).await, standing),
        Err(used_up) => (refusal(used_up, now).into_response(), Some(used_up)),
    };
    if let Some(standing) = standing {
        write(response.headers_mut(), standing);
    }
    response
}

/// Who makes the request. A token is looked up when it is seen for the first time.
async fn who(service: &Arc<Service>, request: Request) -> Result<(Client, Request), ApiError> {
    let (mut parts, body) = request.into_parts();
    let token = auth::proof_digest(&mut parts, service).await;
    let token = token.map(Client::Token);
    let client = match token {
        Some(token) if service.limiter.knows(token) => Some(token),
        Some(token) => auth::identify(&mut parts, service)
            .await
            .is_ok()
            .then_some(token),
        None => None,
    };
    let client = match client {
        Some(client) => client,
        None => {
            let Peer(address) = Peer::from_request_parts(&mut parts, service).await?;
            Client::at(address)
        }
    };
    Ok((client, Request::from_parts(parts, body)))
}

fn refusal(used_up: Standing, now: i64) -> ApiError {
    let seconds = used_up.reset.saturating_sub(now).max(1);
    let unit = if used_up.limit == 1 {
        "request"
    } else {
        "requests"
    };
    ApiError::too_many_requests(
        format!(
            "API rate limit exceeded: {} {unit} were made; try again in {seconds} s.",
            used_up.limit
        ),
        seconds.unsigned_abs(),
    )
}

fn write(headers: &mut HeaderMap, standing: Standing) {
    headers.insert(LIMIT, HeaderValue::from(standing.limit));
    headers.insert(REMAINING, HeaderValue::from(standing.remaining));
    headers.insert(RESET, HeaderValue::from(standing.reset));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(hour: u32, minute: u32) -> Limiter {
        Limiter::new(&Limits {
            requests_per_hour: hour,
            requests_per_minute: minute,
            ..Limits::default()
        })
    }

    const A: Client = Client::Token([1; 32]);
    const B: Client = Client::Token([2; 32]);

    #[test]
    fn a_window_counts_down_and_begins_again() {
        let limiter = limiter(3, 0);
        for remaining in [2, 1, 0] {
            let standing = limiter.count(A, 100).unwrap().unwrap();
            assert_eq!((standing.limit, standing.remaining), (3, remaining));
            assert_eq!(standing.reset, 3700);
        }
        assert_eq!(limiter.count(A, 3699).unwrap_err().remaining, 0);
        assert_eq!(limiter.count(B, 3699).unwrap().unwrap().remaining, 2);
        assert_eq!(limiter.count(A, 3700).unwrap().unwrap().remaining, 2);
    }

    #[test]
    fn the_minute_refuses_while_the_hour_has_room_and_refusals_cost_nothing() {
        let limiter = limiter(5, 2);
        limiter.count(A, 0).unwrap();
        limiter.count(A, 1).unwrap();
        let used_up = limiter.count(A, 2).unwrap_err();
        assert_eq!((used_up.limit, used_up.reset), (2, 60));
        assert_eq!(limiter.count(A, 60).unwrap().unwrap().remaining, 2);
        limiter.count(A, 61).unwrap();
        limiter.count(A, 120).unwrap();
        assert_eq!(limiter.count(A, 121).unwrap_err().limit, 5);
    }

    #[test]
    fn no_limits_mean_no_headers() {
        let limiter = limiter(0, 0);
        for _ in 0..10 {
            assert_eq!(limiter.count(A, 0), Ok(None));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let limiter = limiter(1, 0);
        limiter.count(A, 1_000_000).unwrap();
        limiter.count(A, 5).unwrap();
    }

    #[test]
    fn addresses_of_one_customer_count_together_and_memory_is_bounded() {
        let at = |text: &str| Client::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::2:3"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));

        let limiter = limiter(1, 0);
        let number = |n: usize| Client::at(std::net::Ipv4Addr::from(n as u32).into());
        for n in 0..MAX_ADDRESSES {
            limiter.count(number(n), 0).unwrap();
        }
        limiter.count(number(MAX_ADDRESSES), 1).unwrap();
        limiter.count(number(MAX_ADDRESSES + 1), 1).unwrap_err();
        limiter.count(A, 1).unwrap();
        let size = || limiter.counts.lock().unwrap().by_client.len();
        assert_eq!(size(), MAX_ADDRESSES + 2, "the rest together, and a token");
        limiter.count(number(MAX_ADDRESSES + 1), 3600).unwrap();
        assert_eq!(size(), 3, "what is over is forgotten");
    }
}
