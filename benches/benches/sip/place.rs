//! Where it happens: the gateway alone on the last core, in a namespace between those of two carriers, and all else on the
//! other cores.
//!
//! On its core the gateway goes before everything that is not real-time, as if that were kept away from there (`isolcpus`).
//! The carriers' thread goes before everything on its core, so that it sends when it says it does. What arrives at a namespace
//! is taken in by whoever sends it: each side does the network's part of the other's receiving.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use voxlane_benches::cores::{self, THIS_THREAD};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{self, Lab};
use voxlane_tests::process::resident;
use voxlane_tests::reports::Status;

/// Addresses, as the lab has them.
pub const CALLER: IpAddr = netns::CARRIER;
pub const GATEWAY_TO_CALLER: IpAddr = netns::GATEWAY_TO_CARRIER;
pub const CALLEE: IpAddr = netns::FAR;
const GATEWAY_TO_CALLEE: IpAddr = netns::GATEWAY_TO_FAR;

const SIP: u16 = 5060;

/// What both carriers offer and answer. Nobody sends media.
pub const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 10.200.1.2\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 101\r\n\
                       a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n";

/// The gateway's defaults, but for: room for all calls, however busy its processor is, and calls that go on though nobody
/// sends media.
const CONFIG: &str = r#"
[sip]
listen = ["udp:0.0.0.0:5060"]
max_calls = 20000

[overload]
cpu = "off"
delay = "off"

[media]
ports = "10000-29999"
pin = "off"
media_timeout = "off"

[[trunk]]
name = "caller"
allow = ["10.200.1.0/24"]
codecs = ["PCMU", "PCMA", "G722"]

[[trunk]]
name = "callee"
allow = ["10.200.2.0/24"]
proxy = "10.200.2.2:5060"
codecs = ["PCMU", "PCMA", "G722"]

[[tenant]]
name = "demo"

[[did]]
number = "+15551234"
tenant = "demo"
trunk = "callee"
caller_id = "+15550100"
"#;

/// The gateway and what is around it.
pub struct Place {
    pub gateway: Gateway,
    lab: Lab,
    /// The gateway's core.
    pub core: usize,
    /// Where this thread was allowed to run before.
    all: libc::cpu_set_t,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Both were otherwise before.
        let _ = cores::schedule(THIS_THREAD, libc::SCHED_OTHER, 0);
        let _ = cores::keep_to(THIS_THREAD, &self.all);
    }
}

impl Place {
    /// A gateway that has just started. The thread that asks stays off its core until the place is gone; so do the threads it
    /// starts.
    pub fn new() -> Result<Self> {
        let binary = std::env::var_os("VOXLANE_BIN").map(PathBuf::from);
        let binary = binary.context("VOXLANE_BIN names no gateway; `cargo xtask bench sip` builds one")?;
        let all = cores::allowed()?;
        let core = match cores::numbers(&all)[..] {
            [_, .., last] => last,
            _ => bail!("carriers need a core beside the gateway's"),
        };
        let lab = Lab::new()?;
        // It takes over where this thread may run.
        cores::keep_to(THIS_THREAD, &cores::set_of(&[core]))?;
        let gateway = Gateway::start_with(&binary, &lab.gateway, CONFIG);
        cores::keep_to(THIS_THREAD, &cores::without(all, core))?;
        let place = Self {
            gateway: gateway?,
            lab,
            core,
            all,
        };
        for thread in place.threads()? {
            let id = thread.file_name().and_then(|id| id.to_str()?.parse().ok());
            cores::schedule(id.context("a thread without a number")?, libc::SCHED_FIFO, 1)?;
        }
        cores::schedule(THIS_THREAD, libc::SCHED_FIFO, 1)?;
        ensure!(
            place.gateway.status()?.plane.kernel.is_some(),
            "there is no kernel lane: {}",
            place.gateway.log()
        );
        Ok(place)
    }

    /// A socket of either carrier.
    pub fn sockets(&self) -> Result<[UdpSocket; 2]> {
        let near = self.lab.carrier.enter(|| UdpSocket::bind((CALLER, SIP)))??;
        let far = self.lab.far.enter(|| UdpSocket::bind((CALLEE, SIP)))??;
        Ok([near, far])
    }

    /// Where the carriers send to.
    pub fn gateways() -> [SocketAddr; 2] {
        [GATEWAY_TO_CALLER, GATEWAY_TO_CALLEE].map(|address| SocketAddr::new(address, SIP))
    }

    /// How long all of the gateway's threads were on its core so far, as the system counts it: system calls included.
    pub fn busy(&self) -> Result<Duration> {
        self.threads()?.iter().map(|thread| on_core(thread)).sum()
    }

    /// The memory the gateway has in use now, bytes.
    pub fn memory(&self) -> Result<f64> {
        Ok(resident(self.gateway.id())? as f64)
    }

    /// What the gateway says of itself.
    pub fn status(&self) -> Result<Status> {
        self.gateway.status()
    }

    fn process(&self) -> PathBuf {
        Path::new("/proc").join(self.gateway.id().to_string())
    }

    fn threads(&self) -> Result<Vec<PathBuf>> {
        let tasks = fs::read_dir(self.process().join("task"))?;
        Ok(tasks
            .map(|task| task.map(|task| task.path()))
            .collect::<Result<_, _>>()?)
    }
}

/// How long a thread was on a core so far.
pub fn on_core(thread: &Path) -> Result<Duration> {
    let stat = fs::read_to_string(thread.join("schedstat"))?;
    let nanoseconds = stat.split_whitespace().next().context("an empty schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
