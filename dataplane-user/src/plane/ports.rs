//! The pool of RTP port pairs: an even port for RTP, the odd one above for RTCP (RFC 3550 section 11).
//!
//! Each local address has a queue of its own. A pair that is given back goes to the end of it, so that packets still on
//! their way to an ended call meet no new one.

use std::collections::{HashMap, VecDeque};
use std::io;
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

/// Why no pair could be had.
#[derive(Debug)]
pub(super) enum Refusal {
    /// All are in use, here or by other processes.
    Exhausted,
    /// The system refuses the address: it is not one of this host, say.
    Address(io::Error),
}

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

    /// Takes the first free pair that `claim` gets. Pairs that are in use elsewhere stay free here, and are asked for again
    /// when all others had their turn.
    pub(super) fn take<T>(
        &mut self,
        address: IpAddr,
        mut claim: impl FnMut(SocketAddr) -> io::Result<T>,
    ) -> Result<(SocketAddr, T), Refusal> {
        let queue = self.queue(address);
        for _ in 0..queue.len() {
            let Some(port) = queue.pop_front() else { break };
            let rtp = SocketAddr::new(address, port);
            match claim(rtp) {
                Ok(claimed) => {
                    self.in_use += 1;
                    return Ok((rtp, claimed));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => queue.push_back(port),
                Err(error) => {
                    queue.push_front(port);
                    return Err(Refusal::Address(error));
                }
            }
        }
        Err(Refusal::Exhausted)
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

    /// Pairs of every address known so far, used ones included; those of one address while none is known.
    pub(super) fn total(&self) -> usize {
        even_ports(self.first, self.last).count() * self.free.len().max(1)
    }

    fn queue(&mut self, address: IpAddr) -> &mut VecDeque<u16> {
        let (first, last) = (self.first, self.last);
        self.free
            .entry(address)
            .or_insert_with(|| even_ports(first, last).collect())
    }
}

/// RTP ports of a range: the even ones whose successor lies in it.
fn even_ports(first: u16, last: u16) -> impl Iterator<Item = u16> {
    (first..last).filter(|port| port % 2 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// The port of the next pair; `None` if all are in use.
    fn take(pool: &mut PortPool) -> Option<u16> {
        match pool.take(LOCAL, |_| Ok(())) {
            Ok((rtp, ())) => Some(rtp.port()),
            Err(Refusal::Exhausted) => None,
            Err(Refusal::Address(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn pairs_begin_at_even_ports_and_lie_wholly_in_the_range() {
        let mut pool = PortPool::new(10_001, 10_006, &[]);
        assert_eq!(
            [take(&mut pool), take(&mut pool), take(&mut pool)],
            [Some(10_002), Some(10_004), None]
        );
        assert_eq!((pool.in_use(), pool.total()), (2, 2));
    }

    #[test]
    fn a_freed_pair_rests_behind_the_others() {
        let mut pool = PortPool::new(10_000, 10_005, &[LOCAL]);
        assert_eq!(pool.total(), 3);
        assert_eq!(take(&mut pool), Some(10_000));
        pool.give_back(SocketAddr::new(LOCAL, 10_000));
        assert_eq!(pool.in_use(), 0);
        assert_eq!(
            [take(&mut pool), take(&mut pool), take(&mut pool)],
            [Some(10_002), Some(10_004), Some(10_000)]
        );
    }

    #[test]
    fn a_pair_another_process_holds_is_passed_over() {
        let mut pool = PortPool::new(10_000, 10_003, &[]);
        let in_use = || io::Error::from(io::ErrorKind::AddrInUse);
        let (taken, ()) = pool
            .take(LOCAL, |rtp| if rtp.port() == 10_000 { Err(in_use()) } else { Ok(()) })
            .unwrap();
        assert_eq!(taken, SocketAddr::new(LOCAL, 10_002));
        assert!(matches!(
            pool.take(LOCAL, |_| Err::<(), _>(in_use())),
            Err(Refusal::Exhausted)
        ));
        assert_eq!(take(&mut pool), Some(10_000));
    }

    #[test]
    fn the_last_port_may_be_the_highest_there_is() {
        let mut pool = PortPool::new(65_534, 65_535, &[]);
        assert_eq!((take(&mut pool), take(&mut pool)), (Some(65_534), None));
    }

    #[test]
    fn an_address_that_is_not_ours_is_no_lack_of_ports() {
        let mut pool = PortPool::new(10_000, 10_003, &[]);
        let elsewhere = || io::Error::from(io::ErrorKind::AddrNotAvailable);
        assert!(matches!(
            pool.take(LOCAL, |_| Err::<(), _>(elsewhere())),
            Err(Refusal::Address(_))
        ));
        assert_eq!((pool.in_use(), pool.total(), take(&mut pool)), (0, 2, Some(10_000)));
    }
}
