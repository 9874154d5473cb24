//! nginx, with a configuration of the test's own.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::peers::run;

/// How long a loaded machine may take to start it.
const SOON: Duration = Duration::from_secs(30);

/// An nginx that runs in a folder of its own until this is dropped.
#[derive(Debug)]
pub struct Nginx {
    process: Child,
    folder: PathBuf,
}

/// A TCP port of this machine that nobody listens on, by now.
///
/// # Panics
///
/// When there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

impl Nginx {
    /// Starts it with these `server` blocks, and waits until it listens at `port` of the loopback,
    /// or where there is none, on the Unix socket `nginx.sock` of its folder.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(folder: &Path, servers: &str, port: Option<u16>) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {what};\n"))
            .concat();
        // Its workers are whoever the tests are, to read their files.
        let config = format!(
            "user root;\npid nginx.pid;\nerror_log error.log info;\nworker_processes 1;\n\
             events {{}}\nhttp {{\naccess_log off;\n{temporary}{servers}\n}}\n"
        );
        std::fs::write(folder.join("nginx.conf"), config).expect("written");
        let process = command(folder)
            .args(["-g", "daemon off;"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx");
        let nginx = Self { process, folder: folder.to_owned() };
        nginx.wait_for(|| match port {
            Some(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(drop),
            None => UnixStream::connect(nginx.socket()).map(drop),
        });
        nginx
    }

    /// Where it listens if it has no port.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("nginx.sock")
    }

    /// Has it read its configuration and its certificates again.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn reload(&self) {
        run(command(&self.folder).args(["-s", "reload"]), "");
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("error.log")).unwrap_or_default()
    }

    fn wait_for(&self, listens: impl Fn() -> std::io::Result<()>) {
        let began = Instant::now();
        while let Err(error) = listens() {
            assert!(
                began.elapsed() < SOON,
                "nginx does not listen: {}: {}",
                error.kind(),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "error.log"]);
    command
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Asked and not killed, so that its workers go with it.
        let asked = command(&self.folder)
            .args(["-s", "stop"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if asked.is_err_and(|error| error.kind() != ErrorKind::NotFound) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}
