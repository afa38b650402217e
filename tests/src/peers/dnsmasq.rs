//! dnsmasq: a DNS server with a zone of a test's own.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;

use crate::netns::Place;
use crate::process::Process;

/// A server at port 5353. Dropping it ends it.
#[derive(Debug)]
pub struct Dnsmasq {
    process: Process,
}

/// Where it listens.
pub const PORT: u16 = 5353;

impl Dnsmasq {
    /// A server at `local` with these records, each as an option of dnsmasq's: `host-record=NAME,ADDRESS`,
    /// `srv-host=NAME,TARGET,PORT,PRIORITY,WEIGHT`, `naptr-record=NAME,ORDER,PREFERENCE,FLAGS,SERVICE,,REPLACEMENT`.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn start(place: &Place, local: IpAddr, records: &[&str]) -> Result<Self> {
        let mut command = place.command("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--log-facility=-",
            "--log-queries",
            "--conf-file=/dev/null",
        ]);
        command.args([
            "--no-resolv",
            "--no-hosts",
            "--no-poll",
            "--pid-file=",
            "--user=root",
            "--bind-interfaces",
        ]);
        // What it does not know it says it does not know, for everything.
        command.args(["--local=/#/", "--except-interface=lo"]);
        command.args([format!("--port={PORT}"), format!("--listen-address={local}")]);
        command.args(records.iter().map(|record| format!("--{record}")));
        let mut process = Process::start("dnsmasq", &mut command)?;
        let place = place.clone();
        process.poll("dnsmasq to listen", Duration::from_secs(10), |_| {
            let sockets = place.command("cat").arg("/proc/net/udp").output();
            // Port 5353 in hexadecimal.
            sockets.is_ok_and(|sockets| String::from_utf8_lossy(&sockets.stdout).contains(":14E9 "))
        })?;
        Ok(Self { process })
    }

    /// What it has logged: a line for each question.
    pub fn log(&self) -> String {
        self.process.stderr()
    }
}
