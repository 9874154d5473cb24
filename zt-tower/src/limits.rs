//! What one request may take of a service before it is allowed.
//!
//! | what | the bound | beyond it |
//! |---|---|---|
//! | headers | [`Limits::headers`]: 100 of 32 KiB together | 431, RESOURCE_EXHAUSTED |
//! | a token; a path | [`MAX_TOKEN`](crate::credential::MAX_TOKEN), [`MAX_PATH`](crate::path::MAX_PATH) | 401; 400 |
//! | verifications of one source | [`Limits::rate`]: 1,000 a second after a burst of 2,000 | 503 at once |
//! | verifications at once | [`Limits::verifications`]: 256 | 503 at once |
//! | the time that one of them waits for others | [`Limits::time`]: 6 s | 503 |
//! | the work of a decision | that of the policy engine, which waits for nobody | it denies |
//! | the time that a record waits for room | that of the queue's `BackPressure`: none | 503 |
//!
//! Every 503 has `Retry-After`, and every refusal is recorded. The body of a request and the time of
//! its handler are for the service; `tower-http` has layers for both. The line and the headers of a
//! request are read by the HTTP server before any layer sees them, within its own limits and its own
//! time: what is stated here counts for servers that are more patient.
//!
//! # What is verified at once, and for whom
//!
//! Verifying a credential costs a signature, some 40 µs of a core, or the wait for somebody else. A
//! flood of tokens that are new, or garbage, shall not take that from callers whose tokens are
//! remembered. So a verification begins when, in this order:
//!
//! 1. its source has not used up its rate: [`Limits::rate`], for each peer, or for each address where
//!    there is no peer (of an IPv6 address, its network of 64 bits). Behind a proxy that is
//!    [trusted](crate::forwarded) to speak for its clients each of those is a source, by its address
//!    where that is forwarded, or by its ID: none of them uses up what the others have;
//! 2. there are fewer of them than [`Limits::verifications`].
//!
//! Else the answer is 503 with `Retry-After`, at once. What is [known](crate::demand::VerifyToken::known)
//! is limited by neither, nor is a route that demands no token.
//!
//! Sources are counted in two maps of [`Limits::sources`] places each, one for peers, one for
//! addresses, so that nobody without a certificate takes a place from a peer. Where a map is full,
//! those who find no place share one.
//!
//! # What is waited for
//!
//! Whoever is asked about a credential has a time limit of its own: 5 s for an issuer or an API server,
//! 250 ms for a replay store in Redis, whatever it was given for one of yours. A verification that asks
//! several of them, or one that keeps no limit, ends after [`Limits::time`] all the same, within a
//! quarter of a second: the question is dropped, and with it its place among those at once. That needs
//! no runtime: a thread looks after those who wait, once the first one does.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::HeaderMap;
use zt_core::lease::{Ended, Leases};
use zt_core::spiffe::SpiffeId;
use zt_core::time::{SystemClock, Timestamp};
use zt_identity::possession::eventual::Eventual;

use crate::denial::{Denial, Refusal};

/// Verifications at once unless stated otherwise: those that wait for a replay store or a review; of
/// those that compute there are never more than threads.
pub const DEFAULT_VERIFICATIONS: usize = 256;
/// Verifications a second of one source unless stated otherwise: at 40 µs each, 4 % of a core.
pub const DEFAULT_RATE: u32 = 1_000;
/// Verifications that a source may do at once after a while without any, unless stated otherwise.
pub const DEFAULT_BURST: u32 = 2_000;
/// Sources that are told apart unless stated otherwise: about a megabyte.
pub const DEFAULT_SOURCES: usize = 10_000;

/// Headers of a request unless stated otherwise, each value counted: as many as hyper reads.
pub const DEFAULT_HEADERS: usize = 100;
/// Bytes of their names and values together unless stated otherwise: 32 KiB, twice the longest token.
pub const DEFAULT_HEADER_BYTES: usize = 32 * 1024;
/// How long a verification may wait for others unless stated otherwise: 6 s, a little more than any of
/// those others are given by themselves, so that these tell first which of them it was.
pub const DEFAULT_TIME: Duration = Duration::from_secs(6);

/// How often those who wait are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often the places of those who have been quiet are given to others.
const SWEEP: Duration = Duration::from_secs(1);
const SECOND: u64 = 1_000_000;

/// The limits of a layer; clones of the layer share what they count.
///
/// ```
/// use zt_tower::limits::Limits;
///
/// let limits = Limits::default().headers(50, 16 * 1024).verifications(64).rate(100, 500);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    headers: usize,
    header_bytes: usize,
    time: Duration,
    verifications: usize,
    rate: Rate,
    sources: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    // INVARIANT: at least one.
    interval: Duration,
    // How far ahead of its rate a source may be.
    ahead: Duration,
}

impl Rate {
    fn new(per_second: u32, burst: u32) -> Self {
        let per_second = u64::from(per_second).clamp(1, SECOND);
        let interval = Duration::from_micros(SECOND.checked_div(per_second).unwrap_or(SECOND));
        Self { interval, ahead: interval.saturating_mul(burst.saturating_sub(1)) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            headers: DEFAULT_HEADERS,
            header_bytes: DEFAULT_HEADER_BYTES,
            time: DEFAULT_TIME,
            verifications: DEFAULT_VERIFICATIONS,
            rate: Rate::new(DEFAULT_RATE, DEFAULT_BURST),
            sources: DEFAULT_SOURCES,
        }
    }
}

impl Limits {
    /// At most so many headers, each value counted, and so many bytes of their names and values
    /// together; [`DEFAULT_HEADERS`] and [`DEFAULT_HEADER_BYTES`] by default. RFC 6585 §5 has the
    /// answer to more: 431.
    #[must_use]
    pub const fn headers(self, count: usize, bytes: usize) -> Self {
        Self { headers: count, header_bytes: bytes, ..self }
    }

    /// Lets a verification wait for others for this long, all of them together; [`DEFAULT_TIME`] by
    /// default. What is known at once waits for nobody.
    #[must_use]
    pub const fn time(self, at_most: Duration) -> Self {
        Self { time: at_most, ..self }
    }

    /// At most this many verifications at once; [`DEFAULT_VERIFICATIONS`] by default, at least 1.
    #[must_use]
    pub fn verifications(self, at_once: usize) -> Self {
        Self { verifications: at_once.max(1), ..self }
    }

    /// At most so many verifications a second for each source, and so many at once after a while
    /// without any; [`DEFAULT_RATE`] and [`DEFAULT_BURST`] by default, at least 1 of each. A route
    /// that demands DPoP proofs verifies one with every request.
    #[must_use]
    pub fn rate(self, per_second: u32, burst: u32) -> Self {
        Self { rate: Rate::new(per_second, burst), ..self }
    }

    /// Tells this many peers, and as many addresses, apart; [`DEFAULT_SOURCES`] by default.
    #[must_use]
    pub const fn sources(self, count: usize) -> Self {
        Self { sources: count, ..self }
    }
}

/// Counts by [`Limits`]. A clone is the same one.
#[derive(Clone, Debug)]
pub(crate) struct Limiter(Arc<State>);

#[derive(Debug)]
struct State {
    limits: Limits,
    at_once: AtomicUsize,
    peers: Mutex<Sources<SpiffeId>>,
    addresses: Mutex<Sources<IpAddr>>,
    waiting: Leases,
}

/// A verification that is going on, until this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Verification(Limiter);

impl Drop for Verification {
    fn drop(&mut self) {
        self.0.0.at_once.fetch_sub(1, Ordering::Release);
    }
}

impl Limiter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(State {
            limits,
            at_once: AtomicUsize::new(0),
            peers: Mutex::default(),
            addresses: Mutex::default(),
            waiting: Leases::new(SystemClock, LOOK),
        }))
    }

    /// Whether a request has no more headers than it may.
    pub(crate) fn check_headers(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let limits = &self.0.limits;
        if headers.len() > limits.headers {
            return Err(Refusal::new(Denial::HeadersTooLarge, "headers_too_many"));
        }
        let bytes = headers.iter().fold(0_usize, |bytes, (name, value)| {
            bytes.saturating_add(name.as_str().len()).saturating_add(value.len())
        });
        if bytes > limits.header_bytes {
            return Err(Refusal::new(Denial::HeadersTooLarge, "headers_too_large"));
        }
        Ok(())
    }

    /// The same answer, where it comes in time. One that does not is dropped.
    pub(crate) fn in_time<T: Send + 'static>(
        &self,
        mut answer: Eventual<Result<T, Refusal>>,
    ) -> Eventual<Result<T, Refusal>> {
        let (began, at_most) = (Instant::now(), self.0.limits.time);
        let in_time = move |_: Timestamp| match began.elapsed() < at_most {
            true => Ok(()),
            false => Err(Ended::Expired),
        };
        let late = Refusal::new(Denial::Unavailable, "verification_timeout");
        // What nobody would end does not begin.
        let Ok(lease) = self.0.waiting.grant(in_time) else { return Eventual::ready(Err(late)) };
        let mut ending = lease.ended();
        Eventual::pending(async move {
            poll_fn(|cx| match Pin::new(&mut answer).poll(cx) {
                Poll::Ready(answer) => Poll::Ready(answer),
                Poll::Pending => Pin::new(&mut ending).poll(cx).map(|_| Err(late.clone())),
            })
            .await
        })
    }

    /// Begins a verification for a request of this workload, or from this address.
    pub(crate) fn begin(
        &self,
        workload: Option<&SpiffeId>,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Verification, Refusal> {
        let limits = &self.0.limits;
        let in_time = match (workload, address) {
            (Some(workload), _) => admit(&self.0.peers, workload, limits, now),
            (None, Some(address)) => admit(&self.0.addresses, &network(address), limits, now),
            (None, None) => true,
        };
        if !in_time {
            return Err(Refusal::new(Denial::Unavailable, "verifications_of_source"));
        }
        let began = self.0.at_once.fetch_update(Ordering::Acquire, Ordering::Relaxed, |at_once| {
            at_once.checked_add(1).filter(|at_once| *at_once <= limits.verifications)
        });
        match began {
            Ok(_) => Ok(Verification(self.clone())),
            Err(_) => Err(Refusal::new(Denial::Unavailable, "verifications_at_once")),
        }
    }
}

/// One host, or what is given to one customer.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

fn admit<K: Hash + Eq + Clone>(
    sources: &Mutex<Sources<K>>,
    source: &K,
    limits: &Limits,
    now: Timestamp,
) -> bool {
    sources.lock().unwrap_or_else(PoisonError::into_inner).admit(source, limits, now)
}

/// How far ahead of their rate sources are: when each would be at zero again (the generic cell rate
/// algorithm).
#[derive(Debug)]
struct Sources<K> {
    known: HashMap<K, Timestamp>,
    others: Timestamp,
    swept: Timestamp,
}

impl<K> Default for Sources<K> {
    fn default() -> Self {
        Self { known: HashMap::new(), others: Timestamp::EPOCH, swept: Timestamp::EPOCH }
    }
}

impl<K: Hash + Eq + Clone> Sources<K> {
    fn admit(&mut self, source: &K, limits: &Limits, now: Timestamp) -> bool {
        if let Some(even) = self.known.get_mut(source) {
            return take(even, limits.rate, now);
        }
        if self.known.len() >= limits.sources {
            self.sweep(now);
        }
        if self.known.len() >= limits.sources {
            return take(&mut self.others, limits.rate, now);
        }
        take(self.known.entry(source.clone()).or_insert(now), limits.rate, now)
    }

    /// Forgets those who have all of their burst again.
    fn sweep(&mut self, now: Timestamp) {
        if now.since(self.swept) >= SWEEP || self.swept > now {
            self.swept = now;
            self.known.retain(|_, even| *even > now);
        }
    }
}

fn take(even: &mut Timestamp, rate: Rate, now: Timestamp) -> bool {
    let ahead = even.since(now);
    if ahead > rate.ahead.saturating_add(rate.interval) {
        // Nobody gets so far ahead: the clock was set back.
        *even = now;
    } else if ahead > rate.ahead {
        return false;
    }
    *even = (*even).max(now).saturating_add(rate.interval);
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn address(last: u8) -> Option<IpAddr> {
        Some([10, 0, 0, last].into())
    }

    fn began(limiter: &Limiter, from: Option<IpAddr>, now: Timestamp) -> Result<(), &'static str> {
        limiter.begin(None, from, now).map(drop).map_err(|refusal| refusal.reason())
    }

    #[test]
    fn a_source_has_its_burst_and_then_its_rate() {
        let limiter = Limiter::new(Limits::default().rate(10, 3));
        let at = |millis| NOW.saturating_add(Duration::from_millis(millis));
        let outcome = [0, 0, 0, 0, 99, 100, 150, 200].map(|n| began(&limiter, address(1), at(n)));
        let refused = Err("verifications_of_source");
        assert_eq!(outcome, [Ok(()), Ok(()), Ok(()), refused, refused, Ok(()), refused, Ok(())]);
        assert_eq!(began(&limiter, address(2), at(200)), Ok(()), "another is another");
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out() {
        let limiter = Limiter::new(Limits::default().rate(1, 1));
        assert!(began(&limiter, address(1), NOW).is_ok());
        let yesterday = NOW.saturating_sub(Duration::from_secs(24 * 3_600));
        assert!(began(&limiter, address(1), yesterday).is_ok());
        assert!(began(&limiter, address(1), yesterday).is_err());
    }

    #[test]
    fn those_who_find_no_place_share_one_until_others_are_quiet() {
        let limiter = Limiter::new(Limits::default().rate(1, 1).sources(2));
        assert!(began(&limiter, address(1), NOW).is_ok());
        assert!(began(&limiter, address(2), NOW).is_ok());
        assert!(began(&limiter, address(3), NOW).is_ok());
        assert!(began(&limiter, address(4), NOW).is_err(), "its place is that of 3");
        let later = NOW.saturating_add(Duration::from_secs(2));
        assert!(began(&limiter, address(4), later).is_ok());
        assert!(began(&limiter, address(3), later).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let limiter = Limiter::new(Limits::default().rate(1, 1));
        let from = |text: &str| Some(text.parse().unwrap());
        assert!(began(&limiter, from("2001:db8::1"), NOW).is_ok());
        assert!(began(&limiter, from("2001:db8::2:1"), NOW).is_err());
        assert!(began(&limiter, from("2001:db8:0:1::1"), NOW).is_ok());
        assert!(began(&limiter, from("::ffff:10.0.0.1"), NOW).is_ok());
        assert!(began(&limiter, address(1), NOW).is_err());
    }

    #[test]
    fn there_are_so_many_verifications_at_once_and_no_more() {
        let limiter = Limiter::new(Limits::default().verifications(2));
        let one = limiter.begin(None, address(1), NOW).unwrap();
        let _two = limiter.begin(None, address(2), NOW).unwrap();
        assert_eq!(began(&limiter, address(3), NOW), Err("verifications_at_once"));
        drop(one);
        assert_eq!(began(&limiter, address(3), NOW), Ok(()));
    }

    proptest! {
        #[test]
        fn no_source_does_more_than_burst_and_rate(
            rate in 1_u32..100, burst in 1_u32..20,
            steps in prop::collection::vec(0_u64..100_000, 1..200),
        ) {
            let limiter = Limiter::new(Limits::default().rate(rate, burst));
            let (mut now, mut done) = (NOW, 0_u128);
            for step in steps {
                now = now.saturating_add(Duration::from_micros(step));
                if began(&limiter, address(1), now).is_ok() {
                    done = done.saturating_add(1);
                }
                let interval = u128::from(1_000_000_u32.checked_div(rate).unwrap());
                let elapsed = now.since(NOW).as_micros().checked_div(interval).unwrap();
                prop_assert!(done <= elapsed.saturating_add(burst.into()));
            }
        }
    }
}
