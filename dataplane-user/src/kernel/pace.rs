//! Attaches `pace` to the tc ingress of every interface that has `relay`: by TCX, a link like any other; before
//! Linux 6.6 by clsact, whose filters stay until somebody removes them.

use std::ffi::{CStr, c_char};
use std::fmt;
use std::str::FromStr;

use aya::programs::links::FdLink;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcAttachType, TcHandle,
};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier};

use super::attach::{interface_index, pin_link, pinned};
use super::pins::Pins;
use super::unpin::forget;
use crate::media_plane::AttachMode;

/// A filter of `clsact`: where the program is without a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clsact {
    pub(super) ifindex: u32,
    priority: u16,
    handle: u32,
}

impl Clsact {
    fn of(ifindex: u32, link: &SchedClassifierLink) -> Result<Self, ProgramError> {
        Ok(Self {
            ifindex,
            priority: link.priority()?,
            handle: link.handle()?.into(),
        })
    }

    /// The filter; `None` if its interface is gone, and the filter with it.
    fn link(self) -> Option<SchedClassifierLink> {
        let interface = interface_name(self.ifindex)?;
        let handle = TcHandle::from(self.handle);
        SchedClassifierLink::attached(&interface, TcAttachType::Ingress, self.priority, handle, None).ok()
    }

    /// Removes the filter, if it is there.
    pub(super) fn detach(self) {
        // As aya has it, when it is dropped.
        drop(self.link());
    }
}

impl fmt::Display for Clsact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ifindex,
            priority,
            handle,
        } = self;
        write!(f, "pace-clsact-{ifindex}-{priority}-{handle}")
    }
}

impl FromStr for Clsact {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.strip_prefix("pace-clsact-").ok_or(())?.splitn(3, '-');
        let mut next = || parts.next()?.parse::<u32>().ok();
        let (Some(ifindex), Some(priority), Some(handle)) = (next(), next(), next()) else {
            return Err(());
        };
        Ok(Self {
            ifindex,
            priority: priority.try_into().map_err(|_| ())?,
            handle,
        })
    }
}

/// Attaches the program to an interface; with pins, in place of that of an earlier process, if there is one.
pub(super) fn attach(
    program: &mut SchedClassifier,
    interface: &str,
    pins: Option<&Pins>,
    held: &mut Vec<FdLink>,
) -> Result<(), ProgramError> {
    let ifindex = interface_index(interface).unwrap_or_default();
    let Some(pins) = pins else {
        return anew(program, interface).map(drop);
    };
    let pin = pins.link("pace", AttachMode::Native, ifindex);
    if let Some(link) = pinned(&pin) {
        let taken = match is_there(&link, interface).then(|| SchedClassifierLink::try_from(link)) {
            Some(Ok(link)) => program.attach_to_link(link).and_then(|id| program.take_link(id)).ok(),
            // Of an interface that is gone and whose number another has got, say.
            Some(Err(_)) | None => None,
        };
        if let Some(link) = taken {
            held.extend(FdLink::try_from(link));
            return Ok(());
        }
        tracing::info!(pin = %pin.display(), "a pinned link cannot be taken over; attaching anew");
        forget(&pin);
    }
    for place in pins.clsacts().into_iter().filter(|place| place.ifindex == ifindex) {
        let taken = place.link().map(|link| {
            let id = program.attach_to_link(link)?;
            program.take_link(id)
        });
        match taken {
            Some(Ok(link)) => {
                // Dropping it would remove the filter.
                std::mem::forget(link);
                return Ok(());
            }
            Some(Err(error)) => tracing::info!(%error, interface, "a tc filter cannot be taken over; attaching anew"),
            None => {}
        }
        pins.remove_clsact(place);
    }
    let id = anew(program, interface)?;
    let link = program.take_link(id)?;
    match Clsact::of(ifindex, &link) {
        // Without a note of it, nobody would ever remove it: it goes with this process.
        Ok(place) => match pins.note(place) {
            Ok(()) => std::mem::forget(link),
            Err(error) => {
                tracing::warn!(%error, interface, "the tc program cannot outlive the process: it is detached")
            }
        },
        Err(_) => {
            if let Ok(link) = FdLink::try_from(link) {
                held.extend(pin_link(link, &pin));
            }
        }
    }
    Ok(())
}

/// Whether the link is one of this interface.
fn is_there(link: &FdLink, interface: &str) -> bool {
    let Ok(info) = link.info() else {
        return false;
    };
    SchedClassifier::query_tcx(interface, TcAttachType::Ingress)
        .is_ok_and(|(_, programs)| programs.iter().any(|program| program.id() == info.program_id()))
}

fn anew(program: &mut SchedClassifier, interface: &str) -> Result<SchedClassifierLinkId, ProgramError> {
    let tcx = TcAttachOptions::TcxOrder(LinkOrder::default());
    program
        .attach_with_options(interface, TcAttachType::Ingress, tcx)
        .or_else(|_| {
            // It may be there already.
            if let Err(error) = aya::programs::tc::qdisc_add_clsact(interface) {
                tracing::debug!(%error, interface, "clsact was not added");
            }
            let netlink = TcAttachOptions::Netlink(NlOptions::default());
            program.attach_with_options(interface, TcAttachType::Ingress, netlink)
        })
}

fn interface_name(ifindex: u32) -> Option<String> {
    let mut name = [0 as c_char; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size the function asks for, and outlives the call.
    if unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr()) }.is_null() {
        return None;
    }
    // SAFETY: the function has written a C string into the buffer, which outlives this borrow.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    name.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_where_the_filter_is() {
        let place = Clsact {
            ifindex: 3,
            priority: 49_152,
            handle: 1,
        };
        assert_eq!(place.to_string().parse(), Ok(place));
        for other in ["pace-native-3", "pace-clsact-3", "pace-clsact-3-70000-1"] {
            assert_eq!(other.parse::<Clsact>(), Err(()), "{other}");
        }
    }
}
