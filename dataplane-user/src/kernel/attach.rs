//! Attaches `relay` to the XDP hook of interfaces.
//!
//! With pins, a link that an earlier process has left is taken over and its program swapped, without a packet meeting
//! neither.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode};

use super::pins::Pins;
use super::unpin::forget;
use crate::media_plane::{AttachMode, AttachPolicy, InterfaceStatus};

/// An interface and how it fared.
pub(super) struct Device {
    /// 0: there is no such interface.
    pub(super) ifindex: u32,
    pub(super) status: InterfaceStatus,
}

/// Attaches `relay` to XDP.
pub(super) struct Attacher<'a> {
    pub(super) program: &'a mut Xdp,
    /// Where links are pinned.
    pub(super) pins: Option<&'a Pins>,
    /// The XDP program that each interface has, by index: what a pinned link must be the link of.
    pub(super) present: HashMap<u32, u32>,
    /// Whether calls of an earlier process would lose packets if their interface changed its mode.
    pub(super) keep_mode: bool,
    /// Links that are pinned, kept open.
    pub(super) held: Vec<FdLink>,
}

impl Attacher<'_> {
    /// Attaches the program to each interface, as the policy has it.
    pub(super) fn attach_all(&mut self, interfaces: &[String], policy: AttachPolicy) -> Vec<Device> {
        match policy {
            AttachPolicy::Native => self.attach_each(interfaces, AttachMode::Native, None),
            AttachPolicy::Generic => self.attach_each(interfaces, AttachMode::Generic, None),
            AttachPolicy::Auto if self.keep_mode && self.is_generic(interfaces) => {
                let note = "as an earlier process had it, whose calls are still there";
                self.attach_each(interfaces, AttachMode::Generic, Some(note))
            }
            AttachPolicy::Auto => {
                let devices = self.attach_each(interfaces, AttachMode::Native, None);
                let refusal = devices
                    .iter()
                    .find(|device| device.ifindex != 0 && device.status.mode == AttachMode::None);
                let Some(refusal) = refusal else {
                    return devices;
                };
                let why = format!(
                    "native mode refused by {}: {}",
                    refusal.status.name,
                    refusal.status.detail.as_deref().unwrap_or("no reason given")
                );
                self.detach_all();
                self.attach_each(interfaces, AttachMode::Generic, Some(&why))
            }
        }
    }

    /// Whether an earlier process has left one of the interfaces in generic mode.
    fn is_generic(&self, interfaces: &[String]) -> bool {
        let pins = self.pins.into_iter();
        let mut pinned = pins.flat_map(|pins| {
            let indices = interfaces.iter().filter_map(|name| interface_index(name));
            indices.map(|ifindex| pins.link("relay", AttachMode::Generic, ifindex))
        });
        pinned.any(|pin| pin.exists())
    }

    /// Takes the program off every interface again.
    fn detach_all(&mut self) {
        self.held.clear();
        if let Some(pins) = self.pins {
            pins.links().iter().for_each(|link| forget(link));
        }
        // Unloading drops the links; the load that follows verified a moment ago.
        if let Err(error) = self.program.unload().and_then(|()| self.program.load()) {
            tracing::warn!(%error, "the XDP relay could not be loaded again for generic mode");
        }
    }

    fn attach_each(&mut self, interfaces: &[String], mode: AttachMode, note: Option<&str>) -> Vec<Device> {
        interfaces.iter().map(|name| self.attach(name, mode, note)).collect()
    }

    fn attach(&mut self, name: &str, mode: AttachMode, note: Option<&str>) -> Device {
        let device = |ifindex, mode, detail| Device {
            ifindex,
            status: InterfaceStatus {
                name: name.to_owned(),
                mode,
                detail,
            },
        };
        // Index 0 marks what no mode could help.
        let Some(ifindex) = interface_index(name) else {
            return device(0, AttachMode::None, Some("there is no such interface".to_owned()));
        };
        match self.attach_to(ifindex, mode) {
            Ok(()) => device(ifindex, mode, note.map(str::to_owned)),
            Err(error) => device(ifindex, AttachMode::None, Some(in_words(&error))),
        }
    }

    fn attach_to(&mut self, ifindex: u32, mode: AttachMode) -> Result<(), ProgramError> {
        let xdp_mode = match mode {
            AttachMode::Generic => XdpMode::Skb,
            AttachMode::Native | AttachMode::None => XdpMode::Driver,
        };
        let Some(pins) = self.pins else {
            return self.program.attach_to_if_index(ifindex, xdp_mode).map(drop);
        };
        let pin = pins.link("relay", mode, ifindex);
        if let Some(link) = self.take_over(ifindex, &pin) {
            self.held.push(link);
            return Ok(());
        }
        let other = match mode {
            AttachMode::Generic => AttachMode::Native,
            AttachMode::Native | AttachMode::None => AttachMode::Generic,
        };
        forget(&pins.link("relay", other, ifindex));
        let id = self.program.attach_to_if_index(ifindex, xdp_mode)?;
        let link = self.program.take_link(id)?;
        if let Ok(link) = FdLink::try_from(link) {
            self.held.extend(pin_link(link, &pin));
        }
        Ok(())
    }

    /// Swaps the program of a pinned link, if there is one and it is the link of this interface: the number may be another
    /// interface's by now, here or in another network namespace.
    fn take_over(&mut self, ifindex: u32, pin: &Path) -> Option<FdLink> {
        let link = pinned(pin)?;
        let program = link.info().map(|info| info.program_id()).ok();
        let is_there = program.is_some() && program == self.present.get(&ifindex).copied();
        let taken = match XdpLink::try_from(link) {
            Ok(link) if is_there => self
                .program
                .attach_to_link(link)
                .and_then(|id| self.program.take_link(id))
                .map_err(|error| error.to_string()),
            Ok(_) | Err(_) => Err("it is of an interface that is gone".to_owned()),
        };
        match taken {
            Ok(link) => FdLink::try_from(link).ok(),
            Err(error) => {
                tracing::info!(error, pin = %pin.display(), "a pinned link cannot be taken over; attaching anew");
                forget(pin);
                None
            }
        }
    }
}

/// The link that is pinned here, if there is one.
pub(super) fn pinned(path: &Path) -> Option<FdLink> {
    match PinnedLink::from_pin(path) {
        Ok(link) => Some(link.into()),
        Err(error) => {
            if path.exists() {
                tracing::warn!(%error, path = %path.display(), "cannot read a pinned link: it is removed");
                forget(path);
            }
            None
        }
    }
}

/// Pins a link; if that is not possible, it ends with the process.
pub(super) fn pin_link(link: FdLink, path: &Path) -> Option<FdLink> {
    match link.pin(path) {
        Ok(pinned) => Some(pinned.into()),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "cannot pin a link: the program is detached");
            None
        }
    }
}

fn in_words(error: &ProgramError) -> String {
    let system = match error {
        ProgramError::SyscallError(error) => Some(&error.io_error),
        _ => None,
    };
    match system.and_then(io::Error::raw_os_error) {
        Some(libc::EBUSY) => {
            "another XDP program is attached (one that a gateway has pinned: voxlane detach)".to_owned()
        }
        Some(libc::EPERM) => "no permission: CAP_NET_ADMIN is needed".to_owned(),
        Some(libc::EOPNOTSUPP) => "the driver has no native XDP".to_owned(),
        _ => match system {
            Some(error) => error.to_string(),
            None => error.to_string(),
        },
    }
}

pub(super) fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is a C string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
}
