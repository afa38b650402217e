//! What outlives the process: maps and links pinned in a directory of the BPF file system.
//!
//! ```text
//! ROOT/v3-10000-20000/FLOWS      maps, by the layout of their types and the port range they are for
//!                    /STATES …
//!     /relay-native-3            links: program, mode, interface
//!     /pace-native-3
//!     /pace-clsact-3-49152-1/    not a link, which kernels before 6.6 have not for tc: where the program is
//! ```
//!
//! A gateway that starts takes over the maps of its own layout and range; of others it carries over the flows it can
//! read. Either way it then swaps the programs in the links: every packet meets the old program or the new one.
//!
//! The directory is locked (flock) while a process has it, so that it is one gateway's at a time.

use std::ffi::CString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use voxlane_common::flow::LAYOUT;

use super::error::KernelError;
use super::pace::Clsact;
use super::unpin::{self, forget};
use crate::media_plane::AttachMode;

/// `BPF_FS_MAGIC`
const BPF_FS: u64 = 0xcafe_4a11;

/// The programs whose links are pinned.
const PROGRAMS: [&str; 2] = ["relay", "pace"];

/// A directory of pins.
#[derive(Debug)]
pub(super) struct Pins {
    root: PathBuf,
    maps: PathBuf,
    /// Unlocked when closed.
    _lock: File,
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
    ///
    /// # Errors
    /// [`KernelError::InUse`] if another process has them.
    pub(super) fn open(root: &Path, ports: (u16, u16)) -> Result<Self, KernelError> {
        let failed = |source| failed(root, source);
        let lock = loop {
            // Before anything is made in another.
            require_bpf_fs(root)?;
            fs::create_dir_all(root).map_err(failed)?;
            match lock(root)? {
                Some(lock) => break lock,
                // `voxlane detach` has removed it in this moment.
                None => continue,
            }
        };
        Ok(Self {
            root: root.to_owned(),
            maps: root.join(name_of(LAYOUT, ports)),
            _lock: lock,
        })
    }

    /// Makes the directory of the maps, if need be.
    pub(super) fn make_maps(&self) -> Result<(), KernelError> {
        fs::create_dir_all(&self.maps).map_err(|source| failed(&self.maps, source))
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

    /// Whether an earlier process has left anything.
    pub(super) fn is_empty(&self) -> bool {
        entries(&self.root).all(|path| !is_ours(&path))
    }

    /// Every link pinned here.
    pub(super) fn links(&self) -> Vec<PathBuf> {
        entries(&self.root).filter(|path| is_link(path)).collect()
    }

    /// Where the tc program is attached without a link.
    pub(super) fn clsacts(&self) -> Vec<Clsact> {
        entries(&self.root).filter_map(|path| clsact(&path)).collect()
    }

    /// Notes that the tc program is attached without a link.
    pub(super) fn note(&self, place: Clsact) -> io::Result<()> {
        fs::create_dir_all(self.root.join(place.to_string()))
    }

    /// Takes the tc program off where it is attached without a link.
    pub(super) fn remove_clsact(&self, place: Clsact) {
        if let Err(error) = remove_clsact(&self.root.join(place.to_string()), place) {
            tracing::warn!(%error, %place, "cannot remove the tc program of an earlier process");
        }
    }

    /// Maps of other layouts or ranges.
    pub(super) fn earlier(&self) -> Vec<Earlier> {
        entries(&self.root)
            .filter(|path| *path != self.maps)
            .filter_map(|directory| {
                let (layout, ports) = parse(name(&directory)?)?;
                Some(Earlier {
                    directory,
                    layout,
                    ports,
                })
            })
            .collect()
    }

    /// Removes the maps of this layout and range.
    pub(super) fn remove_maps(&self) {
        if let Err(error) = remove_maps(&self.maps, &mut Vec::new()) {
            tracing::warn!(directory = %self.maps.display(), %error, "cannot remove maps of an earlier process");
        }
    }

    /// Removes everything but the directory itself.
    pub(super) fn clear(&self) {
        if let Err(error) = clear(&self.root) {
            tracing::warn!(%error, "cannot remove what the kernel lane has pinned");
        }
    }

    /// Removes links, and filters that stand for links, of which nothing was taken over.
    pub(super) fn remove_links_but(&self, taken: impl Fn(u32) -> bool) {
        for path in self
            .links()
            .into_iter()
            .filter(|path| !interface_of(path).is_some_and(&taken))
        {
            tracing::info!(pin = %path.display(), "its interface is not of the kernel lane any more: detached");
            forget(&path);
        }
        for place in self.clsacts().into_iter().filter(|place| !taken(place.ifindex)) {
            self.remove_clsact(place);
        }
    }

    /// Removes everything.
    pub(super) fn remove_all(&self) {
        if let Err(error) = remove_all(&self.root) {
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
/// [`KernelError::InUse`] if a running gateway has it; [`KernelError::Pin`] if it is not in a BPF file system, or if
/// something could not be removed. What could be is.
pub fn detach(root: &Path) -> Result<Vec<PathBuf>, KernelError> {
    if !root.exists() {
        return Ok(Vec::new());
    }
    // Files elsewhere are no pins, whatever their names.
    require_bpf_fs(root)?;
    // Unlocked only when all is removed.
    let _lock = lock(root)?;
    remove_all(root)
}

/// [`detach`] for who has the lock.
fn remove_all(root: &Path) -> Result<Vec<PathBuf>, KernelError> {
    let mut removed = clear(root)?;
    match fs::remove_dir(root) {
        Ok(()) => removed.push(root.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // Anything else in there is somebody else's.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
        Err(error) => return Err(failed(root, error)),
    }
    Ok(removed)
}

/// Removes everything that is ours in `root`.
fn clear(root: &Path) -> Result<Vec<PathBuf>, KernelError> {
    let mut removed = Vec::new();
    let mut refused = None;
    let mut paths: Vec<PathBuf> = entries(root).filter(|path| is_ours(path)).collect();
    // Links first: what would the maps be for afterwards?
    paths.sort_by_key(|path| (path.is_dir(), path.clone()));
    for path in paths {
        let result = match clsact(&path) {
            Some(place) => remove_clsact(&path, place).map(|()| removed.push(path.clone())),
            None if path.is_dir() => remove_maps(&path, &mut removed),
            None => unpin::remove(&path).map(|()| removed.push(path.clone())),
        };
        if let Err(error) = result {
            refused.get_or_insert_with(|| failed(&path, error));
        }
    }
    refused.map_or(Ok(removed), Err)
}

fn remove_maps(directory: &Path, removed: &mut Vec<PathBuf>) -> io::Result<()> {
    for map in entries(directory) {
        fs::remove_file(&map)?;
        removed.push(map);
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Takes the program off, then removes the note of it. That it was off already, with its interface say, is as good.
fn remove_clsact(note: &Path, place: Clsact) -> io::Result<()> {
    place.detach();
    fs::remove_dir(note)
}

/// Locks a directory for this process; `None` if it was removed meanwhile.
fn lock(root: &Path) -> Result<Option<File>, KernelError> {
    let failed = |source| failed(root, source);
    let directory = match File::open(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    match directory.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(KernelError::InUse(root.to_owned())),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let locked = directory.metadata().map_err(failed)?;
    let still_there = fs::metadata(root).is_ok_and(|found| (found.dev(), found.ino()) == (locked.dev(), locked.ino()));
    Ok(still_there.then_some(directory))
}

fn failed(path: &Path, source: io::Error) -> KernelError {
    KernelError::Pin {
        path: path.to_owned(),
        source,
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// Whether a gateway has made it. Others may have pins in the same directory.
fn is_ours(path: &Path) -> bool {
    is_link(path) || clsact(path).is_some() || name(path).and_then(parse).is_some()
}

fn is_link(path: &Path) -> bool {
    interface_of(path).is_some() && !path.is_dir()
}

/// The interface that a link is of, by its name: program, mode, interface.
fn interface_of(link: &Path) -> Option<u32> {
    let mut parts = name(link)?.splitn(3, '-');
    let program = parts.next()?;
    let _mode = parts.next().filter(|mode| *mode == "native" || *mode == "generic")?;
    let interface = parts.next()?.parse().ok()?;
    PROGRAMS.contains(&program).then_some(interface)
}

fn clsact(path: &Path) -> Option<Clsact> {
    name(path)?.parse().ok()
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

/// # Errors
/// [`KernelError::Pin`] if this directory, or where it would be made, is not in a BPF file system.
fn require_bpf_fs(root: &Path) -> Result<(), KernelError> {
    let failed = |source| failed(root, source);
    let there = root.ancestors().find(|path| path.exists()).unwrap_or(root);
    if !is_bpf_fs(there).map_err(failed)? {
        let text = "it is not in a BPF file system; mount one: mount -t bpf bpf /sys/fs/bpf";
        return Err(failed(io::Error::other(text)));
    }
    Ok(())
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
    fn what_others_have_pinned_is_left_alone() {
        for other in ["tc", "relays-1", "relay-x", "relay-native-x", "cilium", "v1-1-70000"] {
            assert!(!is_ours(&Path::new("/nonexistent").join(other)), "{other}");
        }
        for ours in ["relay-native-3", "pace-clsact-3-49152-1", "v3-10000-20000"] {
            assert!(is_ours(&Path::new("/nonexistent").join(ours)), "{ours}");
        }
    }

    #[test]
    fn files_elsewhere_are_left_alone_whatever_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let files = ["relay-native-3", "v1-2-3/FLOWS"].map(|name| directory.path().join(name));
        fs::create_dir(directory.path().join("v1-2-3")).unwrap();
        for file in &files {
            fs::write(file, "precious").unwrap();
        }
        let error = detach(directory.path()).unwrap_err();
        assert!(matches!(error, KernelError::Pin { .. }), "{error}");
        assert!(files.iter().all(|file| file.exists()));
    }

    #[test]
    fn detaching_nothing_is_no_error() {
        assert_eq!(
            detach(Path::new("/nonexistent/voxlane")).unwrap(),
            Vec::<PathBuf>::new()
        );
    }
}
