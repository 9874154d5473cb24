//! The vocabulary.

use std::hint::black_box;

use zt_benches::Scenario;
use zt_core::spiffe::{SpiffeId, SpiffeIdRef};

const ID: &str = "spiffe://example.org/ns/shop/sa/cart";

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("core/spiffe-id-parse", || SpiffeIdRef::parse(black_box(ID)).is_ok())
            .peer("spiffe", || spiffe::SpiffeId::new(black_box(ID)).is_ok()),
        // Both to a value that owns itself.
        Scenario::new("core/spiffe-id-owned", || SpiffeId::parse(black_box(ID)).is_ok())
            .peer("spiffe", || spiffe::SpiffeId::new(black_box(ID)).is_ok()),
    ]
}
