//! The vocabulary.

use std::hint::black_box;

use zt_benches::Scenario;
use zt_core::spiffe::{SpiffeId, SpiffeIdRef};

const ID: &str = "spiffe://example.org/ns/shop/sa/cart";

pub fn scenarios() -> Vec<Scenario> {
    vec![
        // Both to a value that owns itself.
        Scenario::new("core/spiffe-id-parse", || SpiffeId::parse(black_box(ID)).is_ok())
            .peer("spiffe", || spiffe::SpiffeId::new(black_box(ID)).is_ok()),
        Scenario::new("core/spiffe-id-borrow", || SpiffeIdRef::parse(black_box(ID)).is_ok())
            .peer_cannot("spiffe", "has no ID that borrows"),
    ]
}
