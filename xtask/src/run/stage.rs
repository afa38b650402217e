//! Where the calls take place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;
use voxlane_tests::netns::{self, Lab, Place};

use crate::steps;
use crate::workspace::is_root;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The port of the gateway's embedded defaults.
const SIP: u16 = 5060;

/// Whether others than the lab's own softphones will call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Guests {
    /// Only those of the lab.
    None,
    /// Softphones on this machine.
    FromHost,
}

/// Where carrier, gateway and far end are.
pub enum Stage {
    /// Three network namespaces joined by veth.
    Namespaces(Lab),
    /// All on 127.0.0.1.
    Loopback,
}

impl Stage {
    /// Makes namespaces as root; takes loopback otherwise, or where the kernel has no namespaces.
    pub fn set(guests: Guests) -> Self {
        if !is_root() {
            steps::note("not root: on loopback, where there is no XDP; `sudo` shows the kernel lane");
            return Self::Loopback;
        }
        match Self::namespaces(guests) {
            Ok(stage) => stage,
            Err(error) => {
                steps::note(&format!(
                    "no network namespaces, so on loopback in the worker lane: {error:#}"
                ));
                Self::Loopback
            }
        }
    }

    fn namespaces(guests: Guests) -> Result<Self> {
        let mut lab = Lab::new()?;
        if guests == Guests::FromHost
            && let Err(error) = lab.reach_from_host()
        {
            steps::note(&format!("the lab cannot be reached from this machine: {error:#}"));
        }
        Ok(Self::Namespaces(lab))
    }

    /// A word for it in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Namespaces(_) => "namespaces",
            Self::Loopback => "loopback",
        }
    }

    /// A phrase for it.
    pub fn description(&self) -> &'static str {
        match self {
            Self::Namespaces(_) => "three network namespaces joined by veth",
            Self::Loopback => "loopback, worker lane only",
        }
    }

    /// Where the gateway runs.
    pub fn gateway(&self) -> &Place {
        match self {
            Self::Namespaces(lab) => &lab.gateway,
            Self::Loopback => &Place::Here,
        }
    }

    /// Where calls come from.
    pub fn carrier(&self) -> &Place {
        match self {
            Self::Namespaces(lab) => &lab.carrier,
            Self::Loopback => &Place::Here,
        }
    }

    /// Where relayed calls go.
    pub fn far(&self) -> &Place {
        match self {
            Self::Namespaces(lab) => &lab.far,
            Self::Loopback => &Place::Here,
        }
    }

    /// The caller's own address.
    pub fn carrier_address(&self) -> IpAddr {
        match self {
            Self::Namespaces(_) => netns::CARRIER,
            Self::Loopback => LOOPBACK,
        }
    }

    /// The gateway as the carrier sees it.
    pub fn gateway_address(&self) -> SocketAddr {
        let address = match self {
            Self::Namespaces(_) => netns::GATEWAY_TO_CARRIER,
            Self::Loopback => LOOPBACK,
        };
        SocketAddr::new(address, SIP)
    }

    /// Where the far end waits for calls. On loopback the gateway has the usual port.
    pub fn far_address(&self) -> SocketAddr {
        match self {
            Self::Namespaces(_) => SocketAddr::new(netns::FAR, SIP),
            Self::Loopback => SocketAddr::new(LOOPBACK, 5070),
        }
    }

    /// The gateway as softphones on this machine reach it.
    pub fn address_for_guests(&self) -> IpAddr {
        match self {
            Self::Namespaces(_) => netns::GATEWAY_TO_HOST,
            Self::Loopback => LOOPBACK,
        }
    }
}
