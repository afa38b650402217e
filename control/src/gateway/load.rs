//! How much the gateway has to do, as its shell measures it.

use std::fs;
use std::time::{Duration, Instant};

use crate::guard::overload::Measured;

/// Over how long processors are measured at least.
const PERIOD: Duration = Duration::from_secs(1);
/// Ticks in a second, as the kernel tells them to everybody (USER_HZ).
const TICKS: f64 = 100.0;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Load {
    /// When processors were looked at last, and what was seen.
    at: Instant,
    process: Option<u64>,
    host: Option<Host>,
    processors: f64,
    last: Measured,
    /// Since when there have been more messages than a batch holds each time.
    full_since: [Option<Instant>; 2],
}

/// Where messages wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// The socket of datagrams.
    Datagrams,
    /// What has come on connections.
    Streams,
}

/// Ticks of the host's processors since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Host {
    busy: u64,
    all: u64,
}

impl Load {
    /// Begins to measure.
    pub fn new(now: Instant) -> Self {
        Self {
            at: now,
            process: process(),
            host: host(),
            processors: std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64),
            last: Measured::default(),
            full_since: [None; 2],
        }
    }

    /// A batch of messages was full: more of them wait.
    pub fn full(&mut self, queue: Queue, now: Instant) {
        self.since(queue).get_or_insert(now);
    }

    /// No more messages wait.
    pub fn drained(&mut self, queue: Queue) {
        *self.since(queue) = None;
    }

    fn since(&mut self, queue: Queue) -> &mut Option<Instant> {
        let [datagrams, streams] = &mut self.full_since;
        match queue {
            Queue::Datagrams => datagrams,
            Queue::Streams => streams,
        }
    }

    /// What holds now. `late` is how much later this is asked than was wanted.
    pub fn measure(&mut self, now: Instant, late: Duration) -> Measured {
        let passed = now.saturating_duration_since(self.at);
        if passed >= PERIOD {
            let (process, host) = (process(), host());
            let used = self
                .process
                .zip(process)
                .map(|(before, now)| now.saturating_sub(before));
            let all = passed.as_secs_f64() * TICKS * self.processors;
            self.last.cpu = used.map(|used| used as f64 / all);
            self.last.host_cpu = self.host.zip(host).and_then(|(before, now)| now.share_since(before));
            (self.at, self.process, self.host) = (now, process, host);
        }
        let oldest = self.full_since.into_iter().flatten().min();
        let waiting = oldest.map(|since| now.saturating_duration_since(since));
        self.last.delay = late.max(waiting.unwrap_or_default());
        self.last
    }
}

impl Host {
    fn share_since(self, before: Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        Some(self.busy.saturating_sub(before.busy) as f64 / all as f64)
    }
}

/// Ticks that the process has taken.
fn process() -> Option<u64> {
    of_process(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// `utime` and `stime` of proc_pid_stat(5): fields 14 and 15, counted from behind the name, which may hold anything.
fn of_process(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

fn host() -> Option<Host> {
    of_host(&fs::read_to_string("/proc/stat").ok()?)
}

/// The first line of proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
fn of_host(stat: &str) -> Option<Host> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map_while(|field| field.parse().ok())
        .collect();
    let all: u64 = fields.iter().sum();
    let idle = fields.get(3)? + fields.get(4).copied().unwrap_or(0);
    Some(Host { busy: all - idle, all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1 1";
        assert_eq!(of_process(stat), Some(300));
        assert_eq!(of_process("7 (a"), None);
        let before = of_host("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3 4").unwrap();
        assert_eq!(before, Host { busy: 200, all: 1000 });
        let now = of_host("cpu  150 0 100 750 100 0 0 0 0 0\n").unwrap();
        assert_eq!(now.share_since(before), Some(0.5));
        assert_eq!(before.share_since(before), None);
    }

    #[test]
    fn messages_wait_as_long_as_batches_are_full() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut load = Load::new(start);
        load.full(Queue::Datagrams, at(100));
        load.full(Queue::Datagrams, at(200));
        load.drained(Queue::Streams);
        assert_eq!(
            load.measure(at(500), Duration::from_millis(1)).delay,
            Duration::from_millis(400)
        );
        load.drained(Queue::Datagrams);
        assert_eq!(
            load.measure(at(600), Duration::from_millis(1)).delay,
            Duration::from_millis(1)
        );
        // Processors are measured once a second has passed.
        assert_eq!(load.measure(at(700), Duration::ZERO).cpu, None);
        assert!(load.measure(at(1500), Duration::ZERO).cpu.is_some());
    }
}
