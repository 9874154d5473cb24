//! Who may be in a handshake, so that those who never finish one keep nobody out.
//!
//! 1. One source has no more than its share of handshakes under way: the next of it is refused.
//! 2. When all places are taken, the source with the most gives up the one that has waited longest.
//!
//! A source is an IPv4 address, or the first 64 bits of an IPv6 address: whoever has one of those
//! has all of them.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The handshakes that are under way.
#[derive(Clone)]
pub(super) struct Handshakes {
    most: usize,
    most_of_a_source: usize,
    under_way: Arc<Mutex<UnderWay>>,
}

#[derive(Default)]
struct UnderWay {
    next: u64,
    count: usize,
    // The oldest of a source first.
    of_source: HashMap<IpAddr, BTreeMap<u64, oneshot::Sender<()>>>,
}

/// A place, until it is dropped.
pub(super) struct Place {
    under_way: Arc<Mutex<UnderWay>>,
    source: IpAddr,
    number: u64,
    // Closed when the place is given to another.
    pub(super) lost: oneshot::Receiver<()>,
}

impl Handshakes {
    pub(super) fn new(most: usize, most_of_a_source: usize) -> Self {
        Self { most, most_of_a_source, under_way: Arc::default() }
    }

    /// A place for a handshake with a peer at this address, if its source has not too many.
    pub(super) fn enter(&self, from: SocketAddr) -> Option<Place> {
        let source = source(from.ip());
        let mut under_way = lock(&self.under_way);
        let of_this = under_way.of_source.get(&source).map_or(0, BTreeMap::len);
        if of_this >= self.most_of_a_source {
            return None;
        }
        if under_way.count >= self.most {
            under_way.give_up_one();
        }
        let number = under_way.next;
        under_way.next = number.wrapping_add(1);
        let (keep, lost) = oneshot::channel();
        under_way.of_source.entry(source).or_default().insert(number, keep);
        under_way.count = under_way.count.saturating_add(1);
        Some(Place { under_way: Arc::clone(&self.under_way), source, number, lost })
    }
}

impl UnderWay {
    fn give_up_one(&mut self) {
        let heaviest = self.of_source.iter().max_by_key(|(_, places)| places.len());
        let Some(source) = heaviest.map(|(source, _)| *source) else { return };
        let oldest = self.of_source.get(&source).and_then(|places| places.keys().next().copied());
        if let Some(number) = oldest {
            self.leave(source, number);
        }
    }

    fn leave(&mut self, source: IpAddr, number: u64) {
        let Some(places) = self.of_source.get_mut(&source) else { return };
        if places.remove(&number).is_some() {
            self.count = self.count.saturating_sub(1);
        }
        if places.is_empty() {
            self.of_source.remove(&source);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.under_way).leave(self.source, self.number);
    }
}

fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn at(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 1)
    }

    fn is_lost(place: &mut Place) -> bool {
        place.lost.try_recv() == Err(TryRecvError::Closed)
    }

    #[test]
    fn a_source_has_no_more_than_its_share() {
        let handshakes = Handshakes::new(8, 2);
        let (first, _second) =
            (handshakes.enter(at("192.0.2.1")), handshakes.enter(at("192.0.2.1")));
        assert!(first.is_some() && handshakes.enter(at("192.0.2.1")).is_none());
        assert!(handshakes.enter(at("::ffff:192.0.2.1")).is_none());
        assert!(handshakes.enter(at("192.0.2.2")).is_some());
        drop(first);
        assert!(handshakes.enter(at("192.0.2.1")).is_some());
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        let handshakes = Handshakes::new(8, 1);
        let _first = handshakes.enter(at("2001:db8::1")).unwrap();
        assert!(handshakes.enter(at("2001:db8::2:3:4:5")).is_none());
        assert!(handshakes.enter(at("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn when_all_places_are_taken_the_source_with_the_most_gives_up_its_oldest() {
        let handshakes = Handshakes::new(4, 4);
        let mut lone = handshakes.enter(at("192.0.2.1")).unwrap();
        let mut flood: Vec<_> =
            (0..3).map(|_| handshakes.enter(at("192.0.2.9")).unwrap()).collect();
        let _other = handshakes.enter(at("192.0.2.2")).unwrap();
        assert!(!is_lost(&mut lone));
        assert_eq!(flood.iter_mut().map(is_lost).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(lock(&handshakes.under_way).count, 4);
    }

    #[test]
    fn nothing_stays_of_those_who_left() {
        let handshakes = Handshakes::new(4, 4);
        drop((0..4).map(|n| handshakes.enter(at(&format!("192.0.2.{n}")))).collect::<Vec<_>>());
        let under_way = lock(&handshakes.under_way);
        assert!(under_way.of_source.is_empty() && under_way.count == 0);
    }
}
