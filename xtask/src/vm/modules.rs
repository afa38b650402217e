//! Kernel modules, uncompressed and in the order they are to be loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use super::kernels::Kernel;
use crate::workspace::Workspace;

/// A module's name and its object file.
pub struct Module {
    pub name: String,
    pub object: Vec<u8>,
}

/// These modules and what they depend on. What is part of the kernel itself needs no loading and is left out.
pub fn in_load_order(workspace: &Workspace, kernel: &Kernel, wanted: &[&str]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    index(&kernel.modules.join("kernel"), &mut files)?;
    let builtin = fs::read_to_string(kernel.modules.join("modules.builtin"))?;
    let mut loading = Loading {
        workspace,
        files,
        builtin: builtin.lines().filter_map(|line| name_of(Path::new(line))).collect(),
        seen: BTreeSet::new(),
        order: Vec::new(),
    };
    for name in wanted {
        loading
            .add(name)
            .with_context(|| format!("kernel {}: module {name}", kernel.release))?;
    }
    Ok(loading.order)
}

struct Loading<'a> {
    workspace: &'a Workspace,
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
    seen: BTreeSet<String>,
    order: Vec<Module>,
}

impl Loading<'_> {
    /// Dependencies come first; they form no circle.
    fn add(&mut self, name: &str) -> Result<()> {
        if self.builtin.contains(name) || !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let file = self.files.get(name).context("it has no such module")?;
        let object = read(self.workspace, file)?;
        for dependency in dependencies(&object)? {
            self.add(&dependency)?;
        }
        self.order.push(Module {
            name: name.to_owned(),
            object,
        });
        Ok(())
    }
}

/// Every module below a directory, by name.
fn index(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            index(&path, files)?;
        } else if let Some(name) = name_of(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `veth` of `kernel/drivers/net/veth.ko.xz`. The kernel takes `-` in a file's name for `_`.
fn name_of(file: &Path) -> Option<String> {
    let (name, _) = file.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn read(workspace: &Workspace, file: &Path) -> Result<Vec<u8>> {
    let applet = match file.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => return Ok(fs::read(file)?),
        Some("xz") => "xzcat",
        Some("gz") => "zcat",
        _ => bail!("cannot decompress {}", file.display()),
    };
    let output = workspace
        .command("busybox")
        .arg(applet)
        .arg(file)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start busybox")?;
    ensure!(output.status.success(), "cannot decompress {}", file.display());
    Ok(output.stdout)
}

/// Debian makes `modules.dep` when a kernel is installed. What it is made from is in the modules: a string
/// `depends=name,name` of their section `.modinfo`.
fn dependencies(object: &[u8]) -> Result<Vec<String>> {
    const KEY: &[u8] = b"\0depends=";
    let start = object
        .windows(KEY.len())
        .position(|bytes| bytes == KEY)
        .context("it does not say what it depends on")?
        + KEY.len();
    let value = object[start..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = str::from_utf8(value).context("its dependencies are not text")?;
    Ok(names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dependencies_are_read() {
        assert_eq!(
            name_of(Path::new("kernel/net/8021q/8021q.ko.xz")).as_deref(),
            Some("8021q")
        );
        assert_eq!(name_of(Path::new("a/act-b.ko")).as_deref(), Some("act_b"));
        assert_eq!(name_of(Path::new("modules.order")), None);

        assert_eq!(
            dependencies(b"\0license=GPL\0depends=mrp,garp\0x=").unwrap(),
            ["mrp", "garp"]
        );
        assert_eq!(dependencies(b"\0depends=\0name=veth\0").unwrap(), Vec::<String>::new());
        assert!(dependencies(b"\x7fELF").is_err());
    }
}
