//! The code of the Workload API is what its `.proto` file says.
//!
//! `ZT_REGENERATE=1 cargo test -p zt-tests --test workload_api_proto` writes it anew.

#![cfg(test)]

use std::fs;
use std::path::Path;

#[test]
fn the_code_of_the_workload_api_is_what_its_proto_file_says() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../zt-identity");
    let files = protox::compile(["workload.proto"], [crate_folder.join("proto")]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        .server_mod_attribute(".", "#[cfg(feature = \"authority\")]")
        .btree_map(".")
        .skip_debug(["X509SVID", "X509SVIDResponse", "JWTSVID", "JWTSVIDResponse"])
        .skip_debug(["WITSVID", "WITSVIDResponse", "ValidateJWTSVIDRequest"])
        .out_dir(folder.path())
        .compile_fds(files)
        .unwrap();
    let generated = fs::read_to_string(folder.path().join("_.rs")).unwrap();
    let committed = crate_folder.join("src/workload_api/proto.rs");
    if std::env::var_os("ZT_REGENERATE").is_some() {
        fs::write(&committed, &generated).unwrap();
    }
    let committed = fs::read_to_string(committed).unwrap();
    assert!(generated == committed, "ZT_REGENERATE=1 writes it anew");
}
