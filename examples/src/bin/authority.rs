//! An authority for development: it writes an identity for each name, renews it, and revokes it
//! when it is told to. In production this is SPIRE, or whatever else attests workloads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use zt_core::spiffe::TrustDomain;
use zt_core::time::{Clock, SystemClock};
use zt_examples::{Outcome, chain};
use zt_identity::authority::Authority;
use zt_identity::x509_identity::X509Identity;

const USAGE: &str = "\
usage: authority FOLDER NAME...

Writes FOLDER/NAME/{svid,key,bundle,crl}.pem for each name, the identity spiffe://example.org/NAME,
and renews them every 15 minutes. On standard input it takes lines: revoke NAME";

/// Certificates live for an hour.
const RENEWAL: Duration = Duration::from_secs(15 * 60);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (folder, names) = (arguments.next(), arguments.collect::<Vec<_>>());
    let Some(folder) = folder.filter(|_| !names.is_empty()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(folder.into(), names) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("authority: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(folder: PathBuf, names: Vec<String>) -> Outcome<()> {
    let authority = Authority::new(TrustDomain::from_name("example.org")?, SystemClock.now())?;
    let mut desk = Desk { authority, folder, names, revoked: Vec::new() };
    desk.renew()?;
    for name in &desk.names {
        println!("{} is spiffe://example.org/{name}", desk.folder.join(name).display());
    }

    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    loop {
        match lines.recv_timeout(RENEWAL) {
            Ok(line) => match line.strip_prefix("revoke ") {
                Some(name) => {
                    if let Err(error) = desk.revoke(name) {
                        eprintln!("authority: {name:?} is not revoked: {}", chain(&*error));
                    }
                }
                None => eprintln!("authority: {line:?} is not known"),
            },
            Err(RecvTimeoutError::Timeout) => desk.renew()?,
            // Nobody says anything any more; identities are renewed all the same.
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(RENEWAL);
                desk.renew()?;
            }
        }
    }
}

struct Desk {
    authority: Authority,
    folder: PathBuf,
    names: Vec<String>,
    /// Certificates, in DER.
    revoked: Vec<Vec<u8>>,
}

impl Desk {
    fn renew(&self) -> Outcome<()> {
        let now = SystemClock.now();
        for name in &self.names {
            let request = self.authority.request(&format!("/{name}")).at(now);
            request.write_to_folder(self.folder.join(name))?;
        }
        self.publish()
    }

    /// Who is revoked gets no other identity.
    fn revoke(&mut self, name: &str) -> Outcome<()> {
        let folder = self.folder.join(name);
        let (chain, key) = (fs::read(folder.join("svid.pem"))?, fs::read(folder.join("key.pem"))?);
        let identity = X509Identity::from_pem(&chain, &key)?;
        self.revoked.extend(identity.chain().first().map(|leaf| leaf.to_vec()));
        self.publish()?;
        self.names.retain(|other| other != name);
        println!("{name} is revoked");
        Ok(())
    }

    /// The list is in every folder, with a greater number each time it grows.
    fn publish(&self) -> Outcome<()> {
        let mut list = self.authority.crl().at(SystemClock.now());
        for certificate in &self.revoked {
            list = list.revoking(certificate)?;
        }
        let list = list.numbered(u64::try_from(self.revoked.len())? + 1).pem()?;
        for name in &self.names {
            replace(&self.folder.join(name).join("crl.pem"), &list)?;
        }
        Ok(())
    }
}

/// In one step, so that nobody reads half of it.
fn replace(path: &Path, text: &str) -> Outcome<()> {
    let new = path.with_extension("pem.new");
    fs::write(&new, text)?;
    Ok(fs::rename(new, path)?)
}
