//! A network namespace as a thread: sockets made there stay there and can be used from any thread, so a test of what is
//! inside a process is written in one place, as one story. (For programs, see [`crate::netns`].)

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, gettid};

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace. It ends with this value and the sockets made in it.
pub struct Namespace {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    tid: Pid,
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Namespace {
    /// A namespace with nothing but its loopback interface, in which nobody speaks unasked.
    ///
    /// # Panics
    /// Without root.
    pub fn new() -> Self {
        let (jobs, todo) = channel::<Job>();
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            let entered = unshare(CloneFlags::CLONE_NEWNET).map(|()| gettid());
            if tell.send(entered).is_ok() {
                todo.into_iter().for_each(|job| job());
            }
        });
        let entered = told.recv().expect("the thread says how it went before it ends");
        let namespace = Self {
            jobs: Some(jobs),
            thread: Some(thread),
            tid: entered.expect("a network namespace can be made (as root)"),
        };
        // Duplicate address detection would keep IPv6 addresses from use, and its frames, router solicitations and the like
        // would be counted beside those of the test.
        namespace.run(|| {
            for scope in ["all", "default"] {
                for (key, value) in [
                    ("accept_dad", "0"),
                    ("router_solicitations", "0"),
                    ("addr_gen_mode", "1"),
                ] {
                    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/{key}"), value);
                }
            }
        });
        namespace.sh("ip link set lo up");
        namespace
    }

    /// Runs `job` in the namespace.
    ///
    /// # Panics
    /// If the job does.
    pub fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (tell, told) = channel();
        let job: Job = Box::new(move || drop(tell.send(job())));
        let jobs = self.jobs.as_ref().expect("there from `new` to `drop`");
        jobs.send(job).expect("no job before this one panicked");
        told.recv().expect("the job did not panic")
    }

    /// Runs commands, one a line, in the namespace.
    ///
    /// # Panics
    /// If one fails.
    pub fn sh(&self, commands: &str) {
        let lines = commands.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        self.run(move || {
            // A process for each line of `ip` is most of the time of a test in an emulated machine.
            let of_ip = |line: &String| line.strip_prefix("ip ").map(str::to_owned);
            for lines in lines.chunk_by(|one, next| of_ip(one).is_some() && of_ip(next).is_some()) {
                match lines {
                    [line] => run(line, ""),
                    lines => {
                        let batch: Vec<String> = lines.iter().filter_map(of_ip).collect();
                        run("ip -batch -", &batch.join("\n"));
                    }
                }
            }
        });
    }

    /// The thread that is in it.
    pub fn thread_id(&self) -> i32 {
        self.tid.as_raw()
    }

    /// Moves an interface of this namespace to another one.
    pub fn give(&self, interface: &str, to: &Self) {
        self.sh(&format!("ip link set {interface} netns {}", to.tid));
    }

    /// Hardware address and index of an interface.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn interface(&self, name: &str) -> ([u8; 6], u32) {
        let name = name.to_owned();
        self.run(move || {
            let arguments = ["-o", "link", "show", "dev", &name];
            let output = Command::new("ip").args(arguments).output().expect("ip can be run");
            let line = String::from_utf8_lossy(&output.stdout);
            interface_of(&line).unwrap_or_else(|| panic!("{name}: no such interface: {line}"))
        })
    }
}

/// Runs one command to its end.
fn run(line: &str, input: &str) {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("the line is not empty"));
    command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect(line);
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read has its reasons; dropped here, the other one sees its end.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().expect(line);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {complaint}\n{input}");
}

/// Hardware address and index in a line `7: a0@a1: <…> … link/ether 02:00:00:00:01:09 brd …`.
fn interface_of(line: &str) -> Option<([u8; 6], u32)> {
    let index = line.split(':').next()?.parse().ok()?;
    let address = line.split("link/ether ").nth(1)?.split(' ').next()?;
    let octets: Option<Vec<u8>> = address
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16).ok())
        .collect();
    Some((octets?.try_into().ok()?, index))
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has shown itself in the job that caused it.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_read_from_what_ip_prints() {
        let line = "7: a0@a1: <UP> mtu 1500 qdisc noqueue \\    link/ether 02:00:00:00:01:09 brd ff:ff:ff:ff:ff:ff";
        assert_eq!(interface_of(line), Some(([2, 0, 0, 0, 1, 9], 7)));
        assert_eq!(interface_of("Device \"a9\" does not exist."), None);
    }
}
