//! The pool of RTP port pairs: an even port for RTP, the odd one above for RTCP (RFC 3550 section 11).
//!
//! Each local address has a queue of its own. A pair that is given back goes to the end of it, so that packets still on
//! their way to an ended call meet no new one.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// Free and used pairs of every local address.
#[derive(Debug)]
pub(super) struct PortPool {
    first: u16,
    last: u16,
    /// RTP ports of the free pairs, the longest rested first.
    free: HashMap<IpAddr, VecDeque<u16>>,
    in_use: usize,
}

/// No pair of the address could be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl PortPool {
    /// A pool of the pairs that lie wholly in `first..=last`, for each of `addresses` and those that come up later.
    pub(super) fn new(first: u16, last: u16, addresses: &[IpAddr]) -> Self {
        let mut pool = Self {
            first,
            last,
            free: HashMap::new(),
            in_use: 0,
        };
        for address in addresses {
            pool.queue(*address);
        }
        pool
    }

    /// Takes the first free pair for which `claim` succeeds. Pairs it refuses (another process holds them) stay free and
    /// are asked for again when all others had their turn.
    pub(super) fn take<T>(
        &mut self,
        address: IpAddr,
        mut claim: impl FnMut(SocketAddr) -> Option<T>,
    ) -> Result<(SocketAddr, T), Exhausted> {
        let queue = self.queue(address);
        for _ in 0..queue.len() {
            let Some(port) = queue.pop_front() else { break };
            let rtp = SocketAddr::new(address, port);
            match claim(rtp) {
                Some(claimed) => {
                    self.in_use += 1;
                    return Ok((rtp, claimed));
                }
                None => queue.push_back(port),
            }
        }
        Err(Exhausted)
    }

    /// Gives a pair back, by its RTP address.
    pub(super) fn give_back(&mut self, rtp: SocketAddr) {
        self.queue(rtp.ip()).push_back(rtp.port());
        self.in_use = self.in_use.saturating_sub(1);
    }

    /// Pairs taken and not given back.
    pub(super) fn in_use(&self) -> usize {
        self.in_use
    }

    /// Pairs of every address known so far, used ones included.
    pub(super) fn total(&self) -> usize {
        self.in_use + self.free.values().map(VecDeque::len).sum::<usize>()
    }

    fn queue(&mut self, address: IpAddr) -> &mut VecDeque<u16> {
        let (first, last) = (self.first, self.last);
        self.free
            .entry(address)
            .or_insert_with(|| (first..last).filter(|port| port % 2 == 0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn take(pool: &mut PortPool) -> Result<u16, Exhausted> {
        pool.take(LOCAL, |_| Some(())).map(|(rtp, ())| rtp.port())
    }

    #[test]
    fn pairs_begin_at_even_ports_and_lie_wholly_in_the_range() {
        let mut pool = PortPool::new(10_001, 10_006, &[]);
        assert_eq!(
            [take(&mut pool), take(&mut pool), take(&mut pool)],
            [Ok(10_002), Ok(10_004), Err(Exhausted)]
        );
        assert_eq!((pool.in_use(), pool.total()), (2, 2));
    }

    #[test]
    fn a_freed_pair_rests_behind_the_others() {
        let mut pool = PortPool::new(10_000, 10_005, &[LOCAL]);
        assert_eq!(pool.total(), 3);
        assert_eq!(take(&mut pool), Ok(10_000));
        pool.give_back(SocketAddr::new(LOCAL, 10_000));
        assert_eq!(pool.in_use(), 0);
        assert_eq!(
            [take(&mut pool), take(&mut pool), take(&mut pool)],
            [Ok(10_002), Ok(10_004), Ok(10_000)]
        );
    }

    #[test]
    fn a_pair_another_process_holds_is_passed_over() {
        let mut pool = PortPool::new(10_000, 10_003, &[]);
        let taken = pool.take(LOCAL, |rtp| (rtp.port() != 10_000).then_some(()));
        assert_eq!(taken, Ok((SocketAddr::new(LOCAL, 10_002), ())));
        assert_eq!(pool.take(LOCAL, |_| None::<()>), Err(Exhausted));
        assert_eq!(take(&mut pool), Ok(10_000));
    }

    #[test]
    fn the_last_port_may_be_the_highest_there_is() {
        let mut pool = PortPool::new(65_534, 65_535, &[]);
        assert_eq!((take(&mut pool), take(&mut pool)), (Ok(65_534), Err(Exhausted)));
    }
}
