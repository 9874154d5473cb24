//! All scenarios. Their names are stable: `<area>/<case>`.

mod core;
mod identity;
mod load;
mod path;
mod policy;
mod possession;
mod tls;
mod token;

fn main() {
    jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default().expect("the first");
    let areas = [
        core::scenarios,
        policy::scenarios,
        path::scenarios,
        load::scenarios,
        token::scenarios,
        possession::scenarios,
        identity::scenarios,
        tls::scenarios,
    ];
    zt_benches::main(areas.iter().flat_map(|area| area()).collect());
}
