//! kamailio: a carrier's proxy in front of whoever answers.

mod scripts;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::netns::Place;
use crate::process::Process;

/// The username that it asks for.
pub const USERNAME: &str = "acme";
/// Its password.
pub const PASSWORD: &str = "s3cret";
/// The realm.
pub const REALM: &str = "carrier.example";

/// How it takes nonces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonces {
    /// Again and again, with counts that go up.
    Counted,
    /// Once; and it does not say that they are stale then.
    OneTime,
}

/// A proxy at port 5060. Dropping it ends it.
#[derive(Debug)]
pub struct Kamailio {
    process: Process,
    _directory: TempDir,
}

impl Kamailio {
    /// A proxy at `local` that stays in the way of calls (Record-Route), challenges every INVITE and BYE with 407, and sends
    /// what is good on to `next`. `algorithm` is `MD5` or `SHA-256`.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn challenging(
        place: &Place,
        local: IpAddr,
        next: SocketAddr,
        algorithm: &str,
        nonces: Nonces,
    ) -> Result<Self> {
        let listen = SocketAddr::new(local, 5060);
        Self::start(place, listen, |_| {
            Ok(scripts::challenging(listen, next, algorithm, nonces))
        })
    }

    /// A proxy at `local` that sends all to `gateway`, and proves itself with username and password where that asks.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn authenticating(place: &Place, local: IpAddr, gateway: SocketAddr, login: (&str, &str)) -> Result<Self> {
        let listen = SocketAddr::new(local, 5060);
        Self::start(place, listen, |_| Ok(scripts::authenticating(listen, gateway, login)))
    }

    /// A proxy at `listen` that stays in the way of calls, and sends each to the first of these that takes it: to the next where
    /// one says 503, or nothing for a second; where none is left it says 503 itself.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn dispatching(place: &Place, listen: SocketAddr, to: &[SocketAddr]) -> Result<Self> {
        Self::start(place, listen, |directory| {
            // The highest priority is the first that is tried.
            let lines = to.iter().rev().zip(1..);
            let lines = lines.map(|(to, priority)| format!("1 sip:{to} 0 {priority}\n"));
            let list = directory.join("dispatcher.list");
            fs::write(&list, lines.collect::<String>())?;
            Ok(scripts::dispatching(listen, &list))
        })
    }

    /// A registrar at `local` for `number`, which asks for username and password, grants seven seconds, and sends calls
    /// for whatever number to where that one is registered.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn registering(place: &Place, local: IpAddr, number: &str) -> Result<Self> {
        let listen = SocketAddr::new(local, 5060);
        Self::start(place, listen, |_| Ok(scripts::registering(listen, number)))
    }

    fn start(place: &Place, listen: SocketAddr, text: impl FnOnce(&Path) -> Result<String>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("kamailio.cfg");
        fs::write(&config, text(directory.path())?)?;
        let mut command = place.command("kamailio");
        // In the foreground, with its log on standard error and its sockets in a directory of its own.
        command.args(["-DD", "-E", "-m", "16", "-M", "4"]);
        command.arg("-f").arg(&config).arg("-Y").arg(directory.path());
        let mut process = Process::start("kamailio", &mut command)?;
        let place = place.clone();
        let port = format!(":{:04X} ", listen.port());
        process.poll("kamailio to listen", Duration::from_secs(10), |_| {
            let sockets = place.command("cat").arg("/proc/net/udp").output();
            sockets.is_ok_and(|sockets| String::from_utf8_lossy(&sockets.stdout).contains(&port))
        })?;
        Ok(Self {
            process,
            _directory: directory,
        })
    }

    /// What it has logged: a line for each challenge and each request that was let through; where it dispatches, for each
    /// request and each failure.
    pub fn log(&self) -> String {
        self.process.stderr()
    }
}
