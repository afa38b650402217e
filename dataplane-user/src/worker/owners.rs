//! Whose the ports are at which frames arrive: asked for each packet, so it is found by port, of which a worker has few.

use std::net::SocketAddr;

use mio::Token;

/// Ports there are.
const PORTS: usize = 1 << 16;

/// Descriptors of residents, by the addresses at which packets for them arrive.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// For each port, the place of the newest entry after which it is searched, and one more; nothing before there is any.
    first: Vec<u32>,
    entries: Vec<Entry>,
}

/// Of an address.
#[derive(Debug)]
struct Entry {
    local: SocketAddr,
    owner: Token,
    /// The next of the same port, as in `first`.
    next: u32,
}

impl Owners {
    /// What arrives at `local` belongs to `owner` from now on.
    pub(super) fn insert(&mut self, local: SocketAddr, owner: Token) {
        if self.first.is_empty() {
            self.first = vec![0; PORTS];
        }
        if let Some(place) = self.place(local) {
            self.entries[place].owner = owner;
            return;
        }
        let first = &mut self.first[usize::from(local.port())];
        self.entries.push(Entry {
            local,
            owner,
            next: *first,
        });
        // An address and a port is had by no more than there are.
        *first = u32::try_from(self.entries.len()).unwrap_or(0);
    }

    /// Whose `local` is, if it has ever been anybody's.
    pub(super) fn get(&self, local: SocketAddr) -> Option<Token> {
        self.place(local).map(|place| self.entries[place].owner)
    }

    fn place(&self, local: SocketAddr) -> Option<usize> {
        let mut next = *self.first.get(usize::from(local.port()))?;
        loop {
            let place = usize::try_from(next).ok()?.checked_sub(1)?;
            let entry = self.entries.get(place)?;
            if entry.local == local {
                return Some(place);
            }
            next = entry.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As a map does, on many addresses with few ports.
        #[test]
        fn each_address_has_the_owner_it_was_given_last(given in prop::collection::vec((0u8..4, 0u16..6, any::<bool>(), 0usize..100), 0..60)) {
            let mut owners = Owners::default();
            let mut expected = HashMap::new();
            let address = |host: u8, port: u16, v6: bool| match v6 {
                true => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, u16::from(host)], 65_530 + port)),
                false => SocketAddr::from(([192, 0, 2, host], 65_530 + port)),
            };
            for (host, port, v6, owner) in given {
                owners.insert(address(host, port, v6), Token(owner));
                expected.insert(address(host, port, v6), Token(owner));
            }
            for host in 0..4 {
                for port in 0..6 {
                    for v6 in [false, true] {
                        let local = address(host, port, v6);
                        prop_assert_eq!(owners.get(local), expected.get(&local).copied());
                    }
                }
            }
        }
    }
}
