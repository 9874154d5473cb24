//! All scenarios. Their names are stable: `<area>/<case>`.

mod core;

fn main() {
    zt_benches::main(core::scenarios());
}
