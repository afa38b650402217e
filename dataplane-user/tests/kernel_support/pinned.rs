//! What outlives the process: BPF file systems, lanes in processes that can be killed, and streams that notice.

use std::ffi::CString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use voxlane_dataplane::kernel::{KernelConfig, KernelLane};

use super::net::Net;
use super::{Call, config, rtp};

const PREFIX: &str = "voxlane-test-";

/// A BPF file system of one test's own. All that is pinned in it goes with it.
pub struct BpfFs(PathBuf);

impl BpfFs {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_abandoned();
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let target = c_path(&directory);
        // SAFETY: C strings that outlive the call; this kind of file system takes no data.
        let result = unsafe { libc::mount(c"bpf".as_ptr(), target.as_ptr(), c"bpf".as_ptr(), 0, std::ptr::null()) };
        assert_eq!(
            result,
            0,
            "mount a BPF file system: {}",
            std::io::Error::last_os_error()
        );
        Self(directory)
    }

    /// Where a gateway pins.
    pub fn pin(&self) -> PathBuf {
        self.0.join("gateway")
    }

    /// What is pinned there.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.pin()).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The directories of maps.
    pub fn maps(&self) -> Vec<String> {
        let names = self.names().into_iter();
        names.filter(|name| name.starts_with('v')).collect()
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(directory: &Path) {
    // SAFETY: a C string that outlives the call.
    unsafe { libc::umount2(c_path(directory).as_ptr(), libc::MNT_DETACH) };
    let _ = fs::remove_dir(directory);
}

/// Removes what tests that were killed have left behind.
fn remove_abandoned() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            remove(&entry.path());
        }
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// A lane on both interfaces of a [`Net`], pinned.
pub fn pinned(pin: PathBuf) -> KernelConfig {
    KernelConfig {
        interfaces: vec!["g0".to_owned(), "g1".to_owned()],
        pin: Some(pin),
        ..config()
    }
}

/// Ports that a worker's sockets would have.
pub const WORKER: &str = "10.200.1.1:10004";

const PIN: &str = "VOXLANE_TEST_PIN";

/// To be called by a test of the name that [`Killed::start`] is given: is the lane, in the process that is to be killed,
/// and in any other does nothing.
pub fn be_killed() {
    let Some(pin) = std::env::var_os(PIN) else {
        return;
    };
    let lane = KernelLane::start(&pinned(pin.into()), |_| {}).unwrap();
    lane.program(&Call::across().pair(), None).unwrap();
    lane.reserve(WORKER.parse().unwrap()).unwrap();
    println!("\nready");
    loop {
        std::thread::park();
    }
}

/// A lane in a process of its own, with [`Call::across`] and [`WORKER`], that can be ended as by a crash.
pub struct Killed(Child);

impl Killed {
    pub fn start(net: &Net, bpf: &BpfFs, test: &'static str) -> Self {
        let pin = bpf.pin();
        let mut child = net.gateway.run(move || {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", test, "--nocapture"])
                .env(PIN, pin)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        });
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(
            lines.map_while(Result::ok).any(|line| line == "ready"),
            "the lane did not start"
        );
        Self(child)
    }

    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Numbered packets from one end of a call to the other, 200 a second, until it is asked whether all have arrived.
pub struct Stream {
    stop: Arc<AtomicBool>,
    arrived: Arc<AtomicUsize>,
    sender: JoinHandle<u16>,
    receiver: JoinHandle<Vec<u16>>,
}

impl Stream {
    /// Starts when the way is known to be open.
    pub fn start(from: &UdpSocket, via: SocketAddr, to: &UdpSocket) -> Self {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        super::net::knock(&from, via, &to, &rtp(0, 0, 1));
        let stop = Arc::new(AtomicBool::new(false));
        let arrived = Arc::new(AtomicUsize::new(0));
        let (sender_stops, receiver_stops, counts) = (Arc::clone(&stop), Arc::clone(&stop), Arc::clone(&arrived));
        let sender = std::thread::spawn(move || {
            let mut sequence = 0;
            while !sender_stops.load(Relaxed) {
                sequence += 1;
                from.send_to(&rtp(0, sequence, 1), via).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
            sequence
        });
        let receiver = std::thread::spawn(move || {
            to.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let mut sequences = Vec::new();
            let mut buffer = [0; 2048];
            loop {
                match to.recv(&mut buffer) {
                    // What has knocked may be late.
                    Ok(_) if buffer[2..4] == [0, 0] => {}
                    Ok(_) => {
                        sequences.push(u16::from_be_bytes([buffer[2], buffer[3]]));
                        counts.fetch_add(1, Relaxed);
                    }
                    Err(_) if receiver_stops.load(Relaxed) => return sequences,
                    Err(_) => {}
                }
            }
        });
        Self {
            stop,
            arrived,
            sender,
            receiver,
        }
    }

    /// Both ways of a call.
    pub fn both_ways(call: &Call, caller: &UdpSocket, callee: &UdpSocket) -> [Self; 2] {
        [
            Self::start(caller, call.caller_side, callee),
            Self::start(callee, call.callee_side, caller),
        ]
    }

    /// Waits until more have arrived.
    pub fn goes_on(&self) {
        let enough = self.arrived.load(Relaxed) + 40;
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.arrived.load(Relaxed) < enough {
            assert!(Instant::now() < deadline, "nothing arrives any more");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it; each packet must have arrived, once and in order.
    pub fn arrives_whole(self) {
        self.stop.store(true, Relaxed);
        let sent = self.sender.join().unwrap();
        let arrived = self.receiver.join().unwrap();
        assert_eq!(arrived, (1..=sent).collect::<Vec<u16>>());
    }
}
