//! Attaches the programs to interfaces: `relay` to XDP, and where departure times are kept `pace` to tc.
//!
//! With pins, a link that an earlier process has left is taken over and its program swapped, without a packet meeting
//! neither.

use std::ffi::CString;
use std::io;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions, TcAttachType};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, Xdp, XdpMode};

use super::error::KernelError;
use super::pins::Pins;
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
    /// Links that are pinned, kept open.
    pub(super) held: Vec<FdLink>,
}

impl Attacher<'_> {
    /// Attaches the program to each interface, as the policy has it.
    pub(super) fn attach_all(&mut self, interfaces: &[String], policy: AttachPolicy) -> Vec<Device> {
        match policy {
            AttachPolicy::Native => self.attach_each(interfaces, AttachMode::Native, None),
            AttachPolicy::Generic => self.attach_each(interfaces, AttachMode::Generic, None),
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
        if let Some(link) = pinned(&pin)
            && let Ok(link) = XdpLink::try_from(link)
        {
            match self
                .program
                .attach_to_link(link)
                .and_then(|id| self.program.take_link(id))
            {
                Ok(link) => {
                    self.held.extend(FdLink::try_from(link));
                    return Ok(());
                }
                Err(error) => {
                    // Of an interface that is gone and whose number another has got, say.
                    tracing::info!(%error, pin = %pin.display(), "a pinned link cannot be taken over; attaching anew");
                    forget(&pin);
                }
            }
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
}

/// Attaches `pace` to an interface's ingress: by TCX, before 6.6 by clsact.
pub(super) fn attach_pace(
    program: &mut SchedClassifier,
    interface: &str,
    pins: Option<&Pins>,
    held: &mut Vec<FdLink>,
) -> Result<(), KernelError> {
    let ifindex = interface_index(interface).unwrap_or_default();
    let pin = pins.map(|pins| pins.link("pace", AttachMode::Native, ifindex));
    if let Some(pin) = &pin
        && let Some(link) = pinned(pin)
        && let Ok(link) = SchedClassifierLink::try_from(link)
    {
        match program.attach_to_link(link).and_then(|id| program.take_link(id)) {
            Ok(link) => {
                held.extend(FdLink::try_from(link));
                return Ok(());
            }
            Err(error) => {
                tracing::info!(%error, pin = %pin.display(), "a pinned link cannot be taken over; attaching anew");
                forget(pin);
            }
        }
    }
    let tcx = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = match program.attach_with_options(interface, TcAttachType::Ingress, tcx) {
        Ok(id) => id,
        Err(_) => {
            // It may be there already.
            if let Err(error) = aya::programs::tc::qdisc_add_clsact(interface) {
                tracing::debug!(%error, interface, "clsact was not added");
            }
            if pins.is_some() {
                // What an earlier process has left: a filter cannot be pinned, it stays by itself.
                remove_filters(interface);
            }
            program.attach_with_options(
                interface,
                TcAttachType::Ingress,
                TcAttachOptions::Netlink(Default::default()),
            )?
        }
    };
    if let Some(pin) = &pin {
        let link = program.take_link(id)?;
        match FdLink::try_from(link) {
            Ok(link) => held.extend(pin_link(link, pin)),
            // A filter of clsact stays without a pin, until `remove_filters`.
            Err(_) => tracing::debug!(interface, "the tc program is attached by clsact"),
        }
    }
    Ok(())
}

/// Takes `pace` off an interface where it is a filter of clsact.
pub(super) fn remove_filters(interface: &str) {
    if let Err(error) = aya::programs::tc::qdisc_detach_program(interface, TcAttachType::Ingress, "pace") {
        // There is none, as a rule.
        tracing::debug!(%error, interface, "no filter was removed");
    }
}

fn pinned(path: &Path) -> Option<FdLink> {
    path.exists()
        .then(|| PinnedLink::from_pin(path).ok().map(FdLink::from))?
}

/// Pins a link; if that is not possible, it ends with the process.
fn pin_link(link: FdLink, path: &Path) -> Option<FdLink> {
    match link.pin(path) {
        Ok(pinned) => Some(pinned.into()),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "cannot pin a link: the program is detached");
            None
        }
    }
}

fn forget(pin: &Path) {
    match std::fs::remove_file(pin) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, path = %pin.display(), "cannot remove a pinned link"),
    }
}

fn in_words(error: &ProgramError) -> String {
    let system = match error {
        ProgramError::SyscallError(error) => Some(&error.io_error),
        _ => None,
    };
    match system.and_then(io::Error::raw_os_error) {
        Some(libc::EBUSY) => "another XDP program is attached".to_owned(),
        Some(libc::EPERM) => "no permission: CAP_NET_ADMIN is needed".to_owned(),
        Some(libc::EOPNOTSUPP) => "the driver has no native XDP".to_owned(),
        _ => match system {
            Some(error) => error.to_string(),
            None => error.to_string(),
        },
    }
}

pub(super) fn interface_name(ifindex: u32) -> Option<String> {
    let mut name: [libc::c_char; libc::IF_NAMESIZE] = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the function asks for.
    let found = unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr()) };
    if found.is_null() {
        return None;
    }
    // SAFETY: the function has written a C string into the buffer.
    let name = unsafe { std::ffi::CStr::from_ptr(name.as_ptr()) };
    name.to_str().ok().map(str::to_owned)
}

pub(super) fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is a C string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
}
