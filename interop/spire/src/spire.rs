//! A SPIRE server and its agent, on loopback, until they are dropped.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::table::Outcome;

/// How long anything may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A trust domain.
pub struct Spire {
    programs: PathBuf,
    folder: PathBuf,
    domain: String,
    port: u16,
    endpoint_port: u16,
    _server: Child,
    agent: Option<Child>,
}

impl Spire {
    /// Starts the server of a trust domain, with a bundle endpoint of `https_spiffe`.
    pub async fn start(programs: &Path, folder: &Path, domain: &str) -> Outcome<Self> {
        let folder = folder.join(domain);
        fs::create_dir_all(folder.join("data")).map_err(text)?;
        let (port, endpoint_port) = (free_port()?, free_port()?);
        let config = include_str!("../server.conf")
            .replace("{folder}", &folder.display().to_string())
            .replace("{domain}", domain)
            .replace("{port}", &port.to_string())
            .replace("{endpoint_port}", &endpoint_port.to_string());
        let server = run(programs, &folder, "spire-server", config, &[])?;
        let (programs, domain) = (programs.to_owned(), domain.to_owned());
        let spire =
            Self { programs, folder, domain, port, endpoint_port, _server: server, agent: None };
        until(async || spire.server(&["healthcheck"]).await).await?;
        Ok(spire)
    }

    /// Starts an agent that is attested by a join token; its name is `/node`. Starting it again
    /// restarts it.
    pub async fn start_agent(&mut self) -> Outcome<()> {
        let mut arguments = Vec::new();
        if let Some(mut agent) = self.agent.take() {
            agent.kill().await.map_err(text)?;
        } else {
            let name = format!("spiffe://{}/node", self.domain);
            let said = self.server(&["token", "generate", "-spiffeID", &name]).await?;
            let token = said.split_whitespace().last().ok_or("no token")?.to_owned();
            arguments = vec!["-joinToken".to_owned(), token];
        }
        fs::write(self.folder.join("root.pem"), self.server(&["bundle", "show"]).await?)
            .map_err(text)?;
        let config = include_str!("../agent.conf")
            .replace("{folder}", &self.folder.display().to_string())
            .replace("{domain}", &self.domain)
            .replace("{port}", &self.port.to_string());
        self.agent = Some(run(&self.programs, &self.folder, "spire-agent", config, &arguments)?);
        let socket = self.agent_socket();
        let program = self.programs.join("spire-agent");
        until(async || {
            command(&program, &["healthcheck", "-socketPath", &socket.display().to_string()]).await
        })
        .await
        .map(|_| ())
    }

    /// Ends the agent as a crash would.
    pub async fn stop_agent(&mut self) -> Outcome<()> {
        match &mut self.agent {
            Some(agent) => agent.kill().await.map_err(text),
            None => Err("there is no agent".into()),
        }
    }

    /// Registers processes of this user as a workload, and returns the name of the entry.
    pub async fn register(&self, path: &str, ttl: u32, federates: &[&str]) -> Outcome<String> {
        self.register_with(path, ttl, federates, None).await
    }

    /// The same, with a hint.
    pub async fn register_with(
        &self,
        path: &str,
        ttl: u32,
        federates: &[&str],
        hint: Option<&str>,
    ) -> Outcome<String> {
        let user = command(Path::new("id"), &["-u"]).await?;
        let selector = format!("unix:uid:{}", user.trim());
        let (node, id) =
            (format!("spiffe://{}/node", self.domain), format!("spiffe://{}{path}", self.domain));
        let ttl = ttl.to_string();
        let mut arguments = vec![
            "entry",
            "create",
            "-output",
            "json",
            "-parentID",
            &node,
            "-spiffeID",
            &id,
            "-selector",
            &selector,
            "-x509SVIDTTL",
            &ttl,
        ];
        let federates: Vec<String> =
            federates.iter().map(|name| format!("spiffe://{name}")).collect();
        for name in &federates {
            arguments.extend(["-federatesWith", name]);
        }
        if let Some(hint) = hint {
            arguments.extend(["-hint", hint]);
        }
        let said = json(&self.server(&arguments).await?)?;
        let entry = &said["results"][0]["entry"]["id"];
        entry.as_str().map(str::to_owned).ok_or_else(|| format!("no entry: {said}"))
    }

    /// Deletes an entry.
    pub async fn delete(&self, entry: &str) -> Outcome<()> {
        self.server(&["entry", "delete", "-entryID", entry]).await.map(|_| ())
    }

    /// The bundle as its administrator sees it, as JSON.
    pub async fn bundle(&self) -> Outcome<String> {
        self.server(&["bundle", "show", "-format", "spiffe"]).await
    }

    /// The ID of the X.509 authority in this slot: `active`, `prepared` or `old`.
    pub async fn authority(&self, slot: &str) -> Outcome<String> {
        let said =
            json(&self.server(&["localauthority", "x509", "show", "-output", "json"]).await?)?;
        let id = &said[slot]["authority_id"];
        id.as_str().map(str::to_owned).ok_or_else(|| format!("no {slot} authority: {said}"))
    }

    /// Says something to the server.
    pub async fn server(&self, arguments: &[&str]) -> Outcome<String> {
        let socket = self.folder.join("server.sock").display().to_string();
        let arguments = [arguments, &["-socketPath", &socket]].concat();
        command(&self.programs.join("spire-server"), &arguments).await
    }

    pub fn domain(&self) -> &str {
        &self.domain
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the Workload API is.
    pub fn agent_socket(&self) -> PathBuf {
        self.folder.join("agent.sock")
    }

    /// Where the bundle is served.
    pub fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}/", self.endpoint_port)
    }
}

fn run(
    programs: &Path,
    folder: &Path,
    program: &str,
    config: String,
    arguments: &[String],
) -> Outcome<Child> {
    let path = folder.join(program).with_extension("conf");
    fs::write(&path, config).map_err(text)?;
    let log = folder.join(program).with_extension("log");
    let log = File::options().create(true).append(true).open(log).map_err(text)?;
    Command::new(programs.join(program))
        .args(["run", "-config"])
        .arg(path)
        .args(arguments)
        .stdout(log.try_clone().map_err(text)?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program}: {error}"))
}

pub async fn command(program: &Path, arguments: &[&str]) -> Outcome<String> {
    let said = Command::new(program).args(arguments).output().await.map_err(text)?;
    let output = String::from_utf8_lossy(&said.stdout).into_owned();
    if said.status.success() {
        return Ok(output);
    }
    // Not all of its arguments: a token may be among them.
    let asked: Vec<_> = arguments.iter().take(3).copied().collect();
    Err(format!("{}: {output}{}", asked.join(" "), String::from_utf8_lossy(&said.stderr)))
}

/// Tries until it succeeds, within the limit.
pub async fn until<T>(attempt: impl AsyncFn() -> Outcome<T>) -> Outcome<T> {
    let begun = Instant::now();
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if begun.elapsed() > LIMIT => return Err(error),
            Err(_) => sleep(Duration::from_millis(200)).await,
        }
    }
}

pub fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    Ok(listener.local_addr().map_err(text)?.port())
}

fn json(said: &str) -> Outcome<Value> {
    serde_json::from_str(said).map_err(|error| format!("{error}: {said}"))
}

pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
