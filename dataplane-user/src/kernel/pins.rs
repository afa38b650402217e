//! What outlives the process: maps and links pinned in a directory of the BPF file system.
//!
//! ```text
//! ROOT/v2-10000-20000/FLOWS      maps, by the layout of their types and the port range they are for
//!                    /STATES …
//!     /relay-native-3            links: program, mode, interface
//!     /pace-tcx-3
//! ```
//!
//! A gateway that starts takes over the maps of its own layout and range; of others it carries over the flows it can
//! read. Either way it then swaps the programs in the links: every packet meets the old program or the new one.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use voxlane_common::flow::LAYOUT;

use super::attach::{interface_name, remove_filters};
use super::error::KernelError;
use crate::media_plane::AttachMode;

/// `BPF_FS_MAGIC`
const BPF_FS: u64 = 0xcafe_4a11;

/// A directory of pins.
#[derive(Debug)]
pub(super) struct Pins {
    root: PathBuf,
    maps: PathBuf,
}

/// Maps that an earlier process has pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Earlier {
    pub(super) directory: PathBuf,
    pub(super) layout: u32,
    pub(super) ports: (u16, u16),
}

impl Pins {
    /// The pins under `root`, which is made if need be, for this layout and a range of ports.
    pub(super) fn open(root: &Path, ports: (u16, u16)) -> Result<Self, KernelError> {
        let failed = |source| KernelError::Pin {
            path: root.to_owned(),
            source,
        };
        fs::create_dir_all(root).map_err(failed)?;
        if !is_bpf_fs(root).map_err(failed)? {
            let text = "it is not in a BPF file system; mount one: mount -t bpf bpf /sys/fs/bpf";
            return Err(failed(io::Error::other(text)));
        }
        let maps = root.join(name_of(LAYOUT, ports));
        fs::create_dir_all(&maps).map_err(failed)?;
        Ok(Self {
            root: root.to_owned(),
            maps,
        })
    }

    /// Where a map is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.maps.join(name)
    }

    /// Where the link of a program on an interface is pinned.
    pub(super) fn link(&self, program: &str, mode: AttachMode, ifindex: u32) -> PathBuf {
        let mode = match mode {
            AttachMode::Native => "native",
            AttachMode::Generic => "generic",
            AttachMode::None => "none",
        };
        self.root.join(format!("{program}-{mode}-{ifindex}"))
    }

    /// Every link pinned here.
    pub(super) fn links(&self) -> Vec<PathBuf> {
        entries(&self.root).filter(|path| !path.is_dir()).collect()
    }

    /// Maps of other layouts or ranges.
    pub(super) fn earlier(&self) -> Vec<Earlier> {
        entries(&self.root)
            .filter(|path| path.is_dir() && *path != self.maps)
            .filter_map(|directory| {
                let (layout, ports) = parse(directory.file_name()?.to_str()?)?;
                Some(Earlier {
                    directory,
                    layout,
                    ports,
                })
            })
            .collect()
    }

    /// Removes everything.
    pub(super) fn remove_all(&self) {
        if let Err(error) = detach(&self.root) {
            tracing::warn!(%error, "cannot remove what the kernel lane has pinned");
        }
    }
}

impl Earlier {
    /// Where a map is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Unpins the maps.
    pub(super) fn remove(&self) {
        if let Err(error) = remove_maps(&self.directory, &mut Vec::new()) {
            tracing::warn!(directory = %self.directory.display(), %error, "cannot remove maps of an earlier process");
        }
    }
}

/// Removes everything that was pinned under `root`: the programs are detached, links first, then the maps are gone.
/// Returns what was removed; nothing if there was nothing.
///
/// # Errors
/// If something could not be removed. What could be is.
pub fn detach(root: &Path) -> Result<Vec<PathBuf>, KernelError> {
    let mut removed = Vec::new();
    let failed = |path: &Path, source| KernelError::Pin {
        path: path.to_owned(),
        source,
    };
    let (directories, links): (Vec<PathBuf>, Vec<PathBuf>) = entries(root).partition(|path| path.is_dir());
    for link in links {
        if let Some(interface) = interface_of(&link) {
            remove_filters(&interface);
        }
        fs::remove_file(&link).map_err(|error| failed(&link, error))?;
        removed.push(link);
    }
    for directory in directories {
        // Anything else is somebody else's.
        let ours = directory.file_name().and_then(|name| name.to_str()).and_then(parse);
        if ours.is_some() {
            remove_maps(&directory, &mut removed).map_err(|error| failed(&directory, error))?;
        }
    }
    match fs::remove_dir(root) {
        Ok(()) => removed.push(root.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(root, error)),
    }
    Ok(removed)
}

/// The interface that a link is pinned for.
fn interface_of(link: &Path) -> Option<String> {
    let (_, ifindex) = link.file_name()?.to_str()?.rsplit_once('-')?;
    interface_name(ifindex.parse().ok()?)
}

fn remove_maps(directory: &Path, removed: &mut Vec<PathBuf>) -> io::Result<()> {
    for map in entries(directory) {
        fs::remove_file(&map)?;
        removed.push(map);
    }
    fs::remove_dir(directory)
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

fn name_of(layout: u32, (first, last): (u16, u16)) -> String {
    format!("v{layout}-{first}-{last}")
}

fn parse(name: &str) -> Option<(u32, (u16, u16))> {
    let mut parts = name.strip_prefix('v')?.splitn(3, '-');
    let layout = parts.next()?.parse().ok()?;
    let first = parts.next()?.parse().ok()?;
    let last = parts.next()?.parse().ok()?;
    Some((layout, (first, last)))
}

fn is_bpf_fs(path: &Path) -> io::Result<bool> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: integers and arrays of them, for which zero is a value.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string and the structure is there, both for the whole call.
    if unsafe { libc::statfs(path.as_ptr(), &mut found) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(found.f_type as u64 & 0xffff_ffff == BPF_FS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_maps_say_what_they_are_for() {
        assert_eq!(parse(&name_of(7, (10_000, 20_000))), Some((7, (10_000, 20_000))));
        for other in ["v7-10000", "7-1-2", "vx-1-2", "v1-1-70000", "relay-native-3"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn detaching_nothing_is_no_error() {
        assert_eq!(
            detach(Path::new("/nonexistent/voxlane")).unwrap(),
            Vec::<PathBuf>::new()
        );
    }
}
