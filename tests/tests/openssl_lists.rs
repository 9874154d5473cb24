//! Revocation lists that openssl writes, and ours as openssl reads them.

use std::fs;
use std::path::Path;
use std::process::Command;

use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_identity::authority::Authority;
use zt_identity::bundle::{BundleSet, X509Bundle};
use zt_identity::revocation::{Revocation, RevocationError, RevocationLists};
use zt_identity::x509_svid::{X509SvidError, X509SvidVerifier};
use zt_tests::peers::{present, run};

const CONFIG: &str = "
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
certificate = root.pem
private_key = root.key
serial = serial
crlnumber = crlnumber
default_md = sha256
default_days = 1
default_crl_days = 1
crl_extensions = crl
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
[crl]
authorityKeyIdentifier = keyid
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
subjectAltName = URI:spiffe://example.org
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
subjectAltName = URI:spiffe://example.org/a
";

fn openssl(folder: &Path, arguments: &str) {
    run(Command::new("openssl").args(arguments.split(' ')).current_dir(folder), "");
}

#[test]
fn a_list_that_openssl_writes_is_obeyed() {
    if !present(&[&["openssl", "version"]]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("config"), CONFIG).unwrap();
    fs::write(at("index"), "").unwrap();
    fs::write(at("serial"), "00f1").unwrap();
    fs::write(at("crlnumber"), "00ff").unwrap();
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config config";
    let run = |arguments: &str| openssl(folder.path(), arguments);
    run(&format!(
        "req -x509 {curve} -extensions root -subj /CN=r -days 2 -keyout root.key -out root.pem"
    ));
    for name in ["gone", "stays"] {
        run(&format!(
            "req -new {curve} -reqexts leaf -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        run(&format!("ca -config config -batch -notext -in {name}.csr -out {name}.pem"));
    }
    run("ca -config config -revoke gone.pem -crl_reason keyCompromise");
    run("ca -config config -gencrl -out crl.pem");
    run("crl -in crl.pem -outform DER -out crl.der");

    let now = SystemClock.now();
    let domain = TrustDomain::from_name("example.org").unwrap();
    let root = X509Bundle::from_pem(domain.clone(), &fs::read(at("root.pem")).unwrap(), now);
    let bundles = BundleSet::new().with(root.unwrap());
    for file in ["crl.pem", "crl.der"] {
        let lists = RevocationLists::from_file(&fs::read(at(file)).unwrap()).unwrap();
        assert_eq!(lists.iter().map(|list| list.number().to_vec()).collect::<Vec<_>>(), [[0xff]]);
        let bundles = bundles.clone().with_revocation_lists(lists);
        let verify = |name: &str| {
            let pem = fs::read(at(name)).unwrap();
            let chain = [rustls_pki_types::pem::PemObject::from_pem_slice(&pem).unwrap()];
            let verifier = X509SvidVerifier::new().with_revocation(Revocation::Required);
            verifier.verify(&chain, &bundles, now).map(drop)
        };
        let revoked = X509SvidError::Revocation(RevocationError::Revoked { position: 0 });
        assert_eq!(verify("gone.pem"), Err(revoked), "{file}");
        assert_eq!(verify("stays.pem"), Ok(()), "{file}");
    }
}

#[test]
fn openssl_reads_and_verifies_our_list() {
    if !present(&[&["openssl", "version"]]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let domain = TrustDomain::from_name("example.org").unwrap();
    let authority = Authority::new(domain, SystemClock.now()).unwrap();
    authority.write_to_folder(folder.path(), "/a").unwrap();
    let list = authority.crl().revoking_serials([vec![0, 0xf1], vec![7]]).numbered(0x80);
    fs::write(folder.path().join("crl.pem"), list.pem().unwrap()).unwrap();
    let output = Command::new("openssl")
        .args(["crl", "-in", "crl.pem", "-CAfile", "bundle.pem", "-noout", "-text"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("verify OK"), "{said}");
    for part in ["Version 2", "Serial Number: F1", "Serial Number: 07", "X509v3 CRL Number"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
