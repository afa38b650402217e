//! Network namespaces joined by veth:
//!
//! ```text
//!   carrier 10.200.1.2 ──── 10.200.1.1 gateway 10.200.2.1 ──── 10.200.2.2 far
//! ```
//!
//! With [`Lab::dual_stack`] each network has IPv6 too: 2001:db8:1::/64 and 2001:db8:2::/64, hosts ::1 and ::2 as above.
//!
//! The endpoints' interfaces compute checksums themselves (a veth otherwise leaves them half done, which a program that
//! updates them incrementally must not see) and have GRO on, without which a veth drops frames an XDP program sends it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::panic;
use std::path::Path;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The carrier's address.
pub const CARRIER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 200, 1, 2));
/// The gateway's address towards the carrier.
pub const GATEWAY_TO_CARRIER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 200, 1, 1));
/// The gateway's address towards the far side.
pub const GATEWAY_TO_FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 200, 2, 1));
/// The far side's address.
pub const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 200, 2, 2));
/// The carrier's IPv6 address, in a [`Lab::dual_stack`].
pub const CARRIER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2));
/// The gateway's IPv6 address towards the carrier.
pub const GATEWAY_TO_CARRIER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1));
/// The gateway's IPv6 address towards the far side.
pub const GATEWAY_TO_FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1));
/// The far side's IPv6 address.
pub const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2));
/// A second host in the carrier's network, where [`Lab::neighbour_of_carrier`] has made it.
pub const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 200, 1, 3));
/// The gateway's address towards the machine's own namespace, where [`Lab::reach_from_host`] has made it.
pub const GATEWAY_TO_HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 200, 3, 1));
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 200, 3, 2));

const PREFIX: &str = "vx-";

/// Where `ip netns` keeps them.
const NAMESPACES: &str = "/run/netns";

/// Where a program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the namespace of this process.
    Here,
    /// In a namespace of this name.
    Namespace(String),
}

impl Place {
    /// A command that runs there.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        match self {
            Self::Here => Command::new(program.as_ref()),
            Self::Namespace(name) => {
                let mut command = ip(["netns", "exec", name]);
                command.arg(program.as_ref());
                command
            }
        }
    }

    /// Does `work` there. A socket that it makes stays there, wherever it is used.
    ///
    /// # Errors
    /// If the namespace is gone, or this process is not root.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let namespace = match self {
            Self::Here => return Ok(work()),
            Self::Namespace(name) => fs::File::open(Path::new(NAMESPACES).join(name))?,
        };
        // Namespaces are a thread's own: this one ends with the work.
        thread::scope(|scope| {
            let inside = scope.spawn(|| -> Result<T> {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(work())
            });
            inside.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
        })
    }
}

/// The three namespaces. Dropping it ends what still runs in them and removes them.
#[derive(Debug)]
pub struct Lab {
    /// Where calls come from.
    pub carrier: Place,
    /// Where the gateway runs.
    pub gateway: Place,
    /// Where relayed calls go.
    pub far: Place,
    namespaces: [String; 3],
    host_interface: Option<String>,
}

impl Lab {
    /// Makes the namespaces. Several labs can stand side by side.
    ///
    /// # Errors
    /// Without root, or where the kernel has no namespaces or veth.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_abandoned();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |role| format!("{PREFIX}{}-{number}-{role}", process::id());
        let namespaces = ["carrier", "gateway", "far"].map(name);
        let place = |index: usize| Place::Namespace(namespaces[index].clone());
        let lab = Self {
            carrier: place(0),
            gateway: place(1),
            far: place(2),
            namespaces: namespaces.clone(),
            host_interface: None,
        };
        for name in &lab.namespaces {
            run(&mut ip(["netns", "add", name]))?;
            run(&mut ip(["-n", name, "link", "set", "lo", "up"]))?;
        }
        let [carrier, gateway, far] = &lab.namespaces;
        lab.join((carrier, CARRIER), (gateway, "carrier0", GATEWAY_TO_CARRIER))?;
        lab.join((far, FAR), (gateway, "far0", GATEWAY_TO_FAR))?;
        Ok(lab)
    }

    /// The namespaces with IPv6 beside IPv4.
    ///
    /// # Errors
    /// As [`Self::new`], and where the kernel has no IPv6.
    pub fn dual_stack() -> Result<Self> {
        let lab = Self::new()?;
        let [carrier, gateway, far] = &lab.namespaces;
        for (namespace, interface, address) in [
            (carrier, "eth0", CARRIER_V6),
            (gateway, "carrier0", GATEWAY_TO_CARRIER_V6),
            (gateway, "far0", GATEWAY_TO_FAR_V6),
            (far, "eth0", FAR_V6),
        ] {
            // Nobody else is there whose address it could be.
            let address = format!("{address}/64");
            run(ip(["-n", namespace, "addr", "add", &address, "dev", interface]).arg("nodad"))?;
        }
        for (namespace, gateway) in [(carrier, GATEWAY_TO_CARRIER_V6), (far, GATEWAY_TO_FAR_V6)] {
            let gateway = gateway.to_string();
            run(&mut ip([
                "-n", namespace, "-6", "route", "add", "default", "via", &gateway,
            ]))?;
        }
        Ok(lab)
    }

    /// Gives the carrier's network a second host: [`NEIGHBOUR`], on the same wire.
    ///
    /// # Errors
    /// If it has it already.
    pub fn neighbour_of_carrier(&self) -> Result<()> {
        let address = format!("{NEIGHBOUR}/24");
        run(&mut ip([
            "-n",
            &self.namespaces[0],
            "addr",
            "add",
            &address,
            "dev",
            "eth0",
        ]))
    }

    /// Joins the gateway to the machine's own namespace too, so that a softphone there can call it.
    ///
    /// # Errors
    /// If the addresses are taken.
    pub fn reach_from_host(&mut self) -> Result<()> {
        let gateway = &self.namespaces[1];
        let interface = format!("{PREFIX}{}", process::id());
        run(&mut ip([
            "link", "add", &interface, "type", "veth", "peer", "name", "host0", "netns", gateway,
        ]))?;
        self.host_interface = Some(interface.clone());
        let gateway = &self.namespaces[1];
        run(&mut ip(["addr", "add", &format!("{HOST}/24"), "dev", &interface]))?;
        run(&mut ip(["link", "set", &interface, "up"]))?;
        run(Command::new("ethtool").args(["-K", &interface, "gro", "on", "tx", "off"]))?;
        run(&mut ip([
            "-n",
            gateway,
            "addr",
            "add",
            &format!("{GATEWAY_TO_HOST}/24"),
            "dev",
            "host0",
        ]))?;
        run(&mut ip(["-n", gateway, "link", "set", "host0", "up"]))
    }

    /// One veth: `eth0` with a default route at the endpoint, a named interface at the gateway.
    fn join(&self, endpoint: (&str, IpAddr), gateway: (&str, &str, IpAddr)) -> Result<()> {
        let (namespace, address) = endpoint;
        let (gateway_namespace, interface, gateway_address) = gateway;
        let peer = ["type", "veth", "peer", "name", interface, "netns", gateway_namespace];
        run(ip(["link", "add", "eth0", "netns", namespace]).args(peer))?;
        for (namespace, interface, address) in [
            (namespace, "eth0", address),
            (gateway_namespace, interface, gateway_address),
        ] {
            run(&mut ip([
                "-n",
                namespace,
                "addr",
                "add",
                &format!("{address}/24"),
                "dev",
                interface,
            ]))?;
            run(&mut ip(["-n", namespace, "link", "set", interface, "up"]))?;
        }
        let offloads = ["-K", "eth0", "gro", "on", "tx", "off"];
        run(Place::Namespace(namespace.to_owned()).command("ethtool").args(offloads))?;
        run(&mut ip([
            "-n",
            namespace,
            "route",
            "add",
            "default",
            "via",
            &gateway_address.to_string(),
        ]))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Removing a namespace removes its interfaces, and with them the other ends.
        self.namespaces.iter().for_each(|name| remove(name));
        if let Some(interface) = &self.host_interface {
            let _gone_with_its_peer = ip(["link", "delete", interface]).output();
        }
    }
}

/// Removes what labs of processes that were killed have left behind.
fn remove_abandoned() {
    let Ok(entries) = fs::read_dir(NAMESPACES) else {
        return;
    };
    for name in entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
    {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let owner = owner.and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            remove(&name);
        }
    }
}

/// Ends the programs in a namespace, then removes it: it would live on as long as they do.
fn remove(name: &str) {
    if let Ok(pids) = ip(["netns", "pids", name]).output() {
        for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
            let _may_have_ended = Command::new("kill").args(["-KILL", pid]).output();
        }
    }
    let _may_not_exist = ip(["netns", "delete", name]).output();
}

fn ip<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new("ip");
    command.args(arguments);
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
