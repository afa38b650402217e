//! Both carriers, in one thread: a turn sends what is due, then looks at what has come.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use voxlane_benches::datagrams::{Datagrams, receive_buffer_and_times};

use super::callee::Callee;
use super::caller::Caller;
use super::place::Place;

/// Longest message.
const ROOM: usize = 4096;

/// Rest between two turns: a carrier, too, sends what has come together.
const REST: Duration = Duration::from_micros(200);

/// How long the last calls get to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls hung up in a turn, where all are.
const HUNG_UP: usize = 2;

/// The two carriers.
pub struct Peers {
    pub caller: Caller,
    pub callee: Callee,
    near: UdpSocket,
    far: UdpSocket,
    gateway: [SocketAddr; 2],
    datagrams: Box<Datagrams<ROOM>>,
    chance: Chance,
}

impl Peers {
    pub fn new(place: &Place) -> Result<Self> {
        let [near, far] = place.sockets()?;
        for socket in [&near, &far] {
            socket.set_nonblocking(true)?;
            receive_buffer_and_times(socket)?;
        }
        Ok(Self {
            caller: Caller::new(),
            callee: Callee::default(),
            near,
            far,
            gateway: Place::gateways(),
            datagrams: Box::default(),
            chance: Chance(0x9e37_79b9_7f4a_7c15),
        })
    }

    /// Places calls at this rate, at random times, for so long; those that are due to end do.
    pub fn load(&mut self, rate: f64, time: Duration) -> Result<()> {
        let begin = Instant::now();
        let mut next = self.chance.gap(rate);
        while begin.elapsed() < time {
            let passed = begin.elapsed().as_secs_f64();
            while next <= passed {
                // What it waits for comes after it is sent: the time is taken just before.
                self.caller.place(now()?);
                next += self.chance.gap(rate);
            }
            self.turn()?;
        }
        Ok(())
    }

    /// Places no call until all have ended that are to.
    ///
    /// # Errors
    /// None: calls that do not end are counted by whoever looks at them.
    pub fn settle(&mut self) -> Result<()> {
        let begin = Instant::now();
        while self.caller.over < self.caller.calls().len() && begin.elapsed() < PATIENCE {
            self.turn()?;
        }
        Ok(())
    }

    /// Waits until this many calls are up.
    pub fn wait_for(&mut self, up: usize) -> Result<()> {
        let begin = Instant::now();
        while self.caller.up < up {
            self.turn()?;
            if begin.elapsed() > PATIENCE {
                bail!("{} of {up} calls are up", self.caller.up);
            }
        }
        Ok(())
    }

    /// Hangs all up.
    pub fn hang_up(&mut self) -> Result<()> {
        let mut first = 0;
        while !self.caller.hang_up_some(first, HUNG_UP, now()?) {
            first += HUNG_UP;
            self.turn()?;
        }
        self.settle()
    }

    fn turn(&mut self) -> Result<()> {
        self.caller.hang_up_due(now()?);
        self.send()?;
        thread::sleep(REST);
        let Self {
            caller,
            callee,
            near,
            far,
            datagrams,
            ..
        } = self;
        datagrams.receive(near, |bytes, _, at| caller.hear(bytes, at))?;
        datagrams.receive(far, |bytes, _, at| callee.hear(bytes, at))?;
        self.send()
    }

    fn send(&mut self) -> Result<()> {
        let [near, far] = self.gateway;
        for (socket, sends, to) in [
            (&self.near, &mut self.caller.sends, near),
            (&self.far, &mut self.callee.sends, far),
        ] {
            if !sends.is_empty() {
                let datagrams = sends.iter().map(|datagram| (datagram.as_slice(), to));
                self.datagrams.send(socket, datagrams)?;
                sends.clear();
            }
        }
        Ok(())
    }
}

/// Pseudo-random numbers (xorshift64).
struct Chance(u64);

impl Chance {
    /// Seconds between two calls that come independently of each other at this rate.
    fn gap(&mut self, rate: f64) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let share = ((self.0 >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        -share.ln() / rate
    }
}

/// The clock by which the system notes when a datagram came, ns since 1970.
pub fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}
